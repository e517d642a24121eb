//! Golden values of the literature's scorers, for tests.

use serde_json::Value;
use std::path::Path;

/// The cases of `key` in the golden file; at least one.
pub(super) fn goldens(key: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/scorers/goldens.json");
    let text = std::fs::read_to_string(path).unwrap();
    let all: Value = serde_json::from_str(&text).unwrap();
    let cases = all[key].as_array().unwrap().clone();
    assert!(!cases.is_empty());
    cases
}

/// The texts of a list, of a list of lists, or of a single text.
pub(super) fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(values) => values.iter().flat_map(texts).collect(),
        other => panic!("no text: {other}"),
    }
}

/// Fails if `found` is not `wanted[name]` to a millionth.
pub(super) fn assert_golden(found: f64, wanted: &Value, name: &str, case: &Value) {
    let wanted = wanted[name].as_f64().unwrap();
    assert!(
        (found - wanted).abs() < 1e-6,
        "{name} is {found}, not {wanted}: {case}"
    );
}

/// Fails if the best of `compat(output, right answer)` is not what HELMET's `calculate_metrics` calls `name`, in any case.
pub(super) fn assert_calculated(name: &str, compat: fn(&str, &str) -> f64) {
    for case in goldens("calculate_metrics") {
        let output = case["prediction"].as_str().unwrap();
        let answers = texts(&case["answers"]);
        let scores = answers.iter().map(|answer| compat(output, answer));
        let found = scores.fold(0.0, f64::max);
        assert_golden(found, &case["metrics"], name, &case);
    }
}
