//! `prulong rescore` as a shell sees it: the golden file's answers, an evaluation's own, and bad input.

use crate::cli_eval::Desk;
use assert_cmd::cargo::cargo_bin_cmd;
use serde_json::{Value, json};
use std::path::Path;

fn rescore(words: &[&str]) -> (i32, String, String) {
    let output = cargo_bin_cmd!("prulong")
        .arg("rescore")
        .args(words)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code().unwrap(),
        text(output.stdout),
        text(output.stderr),
    )
}

/// Writes `lines` and gives the file's name.
fn file(folder: &tempfile::TempDir, lines: &[Value]) -> String {
    let path = folder.path().join("answers.jsonl");
    let lines: Vec<String> = lines.iter().map(Value::to_string).collect();
    std::fs::write(&path, lines.join("\n")).unwrap();
    path.to_str().unwrap().to_owned()
}

fn object(words: &[&str]) -> Value {
    let (code, out, err) = rescore(&[words, &["--json"]].concat());
    assert_eq!(code, 0, "{err}");
    serde_json::from_str(&out).unwrap()
}

fn goldens(key: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/scorers/goldens.json");
    let all: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    all[key].as_array().unwrap().clone()
}

/// Mean of `name` over the golden cases.
fn golden_mean(cases: &[Value], name: &str) -> f64 {
    let values = cases
        .iter()
        .map(|case| case["metrics"][name].as_f64().unwrap());
    let count = u32::try_from(cases.len()).unwrap();
    values.sum::<f64>() / f64::from(count)
}

#[test]
fn means_are_those_of_the_python_scorers() {
    let folder = tempfile::tempdir().unwrap();
    let cases = goldens("calculate_metrics");
    let lines: Vec<Value> = cases
        .iter()
        .map(|case| json!({"output": case["prediction"], "answers": case["answers"]}))
        .collect();
    let names = [
        "exact_match",
        "f1",
        "substring_exact_match",
        "rougeL_f1",
        "rougeL_recall",
        "rougeLsum_f1",
        "rougeLsum_recall",
    ];
    let found = object(&[&file(&folder, &lines), "--metrics", &names.join(",")]);
    let group = &found["groups"][0];
    assert_eq!(found["schema"], "prulong.rescore/1");
    assert_eq!(
        (&group["of"], &group["num_items"]),
        (&Value::Null, &cases.len().into())
    );
    assert_eq!(group["scores"].as_object().unwrap().len(), names.len());
    for name in names {
        let score = &group["scores"][name];
        let (mean, golden) = (
            score["compat"]["mean"].as_f64().unwrap(),
            golden_mean(&cases, name),
        );
        assert!((mean - golden).abs() < 1e-6, "{name}: {mean}, not {golden}");
        assert!(
            score["strict"]["mean"].as_f64().unwrap() <= mean + 1e-12,
            "{name}"
        );
        assert_eq!(score["num_items"], cases.len());
    }
}

#[test]
fn routes_are_scored_by_the_metrics_of_procedures() {
    let folder = tempfile::tempdir().unwrap();
    let cases = goldens("path_traversal");
    let route = |case: &Value| json!({"output": case["prediction"], "gold": {"kind": "route", "text": case["reference"]}});
    let lines: Vec<Value> = cases.iter().map(route).collect();
    let found = object(&[&file(&folder, &lines)]);
    let scores = found["groups"][0]["scores"].as_object().unwrap();
    let names: Vec<&String> = scores.keys().collect();
    assert_eq!(names, ["accuracy", "partial_accuracy", "extraction_rate"]);
    for (name, score) in scores {
        let mean = score["compat"]["mean"].as_f64().unwrap();
        assert!(
            (mean - golden_mean(&cases, name)).abs() < 1e-6,
            "{name}: {mean}"
        );
    }
}

#[test]
fn a_prefix_marks_the_answer_and_metrics_have_other_names() {
    let folder = tempfile::tempdir().unwrap();
    let answer = json!({"output": "cat\nlabel: dogs", "answer": "cat"});
    let name = file(&folder, &[answer]);
    for (extra, compat, strict) in [
        (&[][..], 0.5, 0.5),
        (&["--prefix", "label:"], 0.5, 0.0),
        (&["--prefix", "label:", "--prefix-only"], 0.0, 0.0),
    ] {
        let all = [&[name.as_str(), "--metrics", "ROUGEL"], extra].concat();
        let score = &object(&all)["groups"][0]["scores"]["rougeL_f1"];
        let mean = |of: &str| score[of]["mean"].as_f64().unwrap();
        let far = |of: &str, wanted: f64| (mean(of) - wanted).abs() > 1e-12;
        assert!(
            !far("compat", compat) && !far("strict", strict),
            "{extra:?}: {score}"
        );
    }
}

#[test]
fn tables_show_both_scores_and_n() {
    let folder = tempfile::tempdir().unwrap();
    let answers =
        ["1234567", "12345678"].map(|text| json!({"output": text, "answers": ["1234567"]}));
    let name = file(&folder, &answers);
    let (code, out, err) = rescore(&[&name, "--metrics", "substring_exact_match"]);
    assert_eq!(code, 0, "{err}");
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[0], format!("{name}: 2 answers"));
    let row: Vec<&str> = lines[2].split_whitespace().collect();
    let expected = [
        "substring_exact_match",
        "100.0",
        "(100.0-100.0)",
        "50.0",
        "(0.0-100.0)",
        "2",
    ];
    assert_eq!(row, expected);
    let (code, list, _) = rescore(&["--list"]);
    assert_eq!(code, 0);
    assert!(
        list.contains("\npartial_accuracy       route, trace, countdown, travel"),
        "{list}"
    );
    let listed = object(&["--list"]);
    assert_eq!(listed.as_array().unwrap().len(), list.lines().count() - 1);
}

#[test]
fn a_run_folder_has_the_scores_that_were_stored() {
    let desk = Desk::new();
    let tasks = [
        "--task",
        "json_kv,copy_table",
        "--lengths",
        "256",
        "--mask",
        "mask",
    ];
    let run = desk.path("run");
    let folder = run.to_str().unwrap();
    let (code, _, err) = desk.eval_over(&[&tasks[..], &["--run-dir", folder]].concat());
    assert_eq!(code, Some(0), "{err}");
    let results: Value =
        serde_json::from_slice(&std::fs::read(run.join("results.json")).unwrap()).unwrap();
    let found = object(&[folder]);
    assert_eq!(found["num_different"], 0);
    assert!(found["num_compared"].as_u64().unwrap() > 10);
    let groups = found["groups"].as_array().unwrap();
    assert_eq!(groups.len(), 2 * 2, "two tasks, two methods");
    for group in groups {
        let tasks = results["parts"][0]["tasks"].as_array().unwrap();
        let task = tasks
            .iter()
            .find(|of| of["task"]["name"] == group["of"]["task"])
            .unwrap();
        let methods = task["methods"].as_array().unwrap();
        let method = methods
            .iter()
            .find(|of| of["name"] == group["of"]["method"])
            .unwrap();
        for (metric, score) in method["summary"]["scores"].as_object().unwrap() {
            for scoring in ["compat", "strict"] {
                assert_eq!(group["scores"][metric][scoring], score[scoring], "{metric}");
            }
        }
    }
    let (code, out, _) = rescore(&[folder]);
    assert_eq!(code, 0);
    assert!(
        out.contains(": full: ") && out.contains("stored scores are the same"),
        "{out}"
    );
    let (code, out, err) = rescore(&[folder, "--prefix", "Answer:"]);
    assert_eq!((code, &*out), (2, ""), "{err}");
    assert!(
        err.contains("predictions.jsonl:1: it is an answer to `json_kv`")
            && err.contains("leave out --prefix"),
        "{err}"
    );

    let path = run.join("predictions.jsonl");
    let text = std::fs::read_to_string(&path).unwrap();
    let changed = text.replacen(r#""strict":0.0"#, r#""strict":1.0"#, 1);
    assert_ne!(text, changed);
    std::fs::write(&path, changed).unwrap();
    let (code, out, err) = rescore(&[folder]);
    assert_eq!(code, 1, "{err}");
    assert!(!out.is_empty());
    assert!(err.contains("no[rescore.differ]"), "{err}");
    assert!(err.contains("predictions.jsonl:"), "{err}");
}

#[test]
fn bad_input_is_named_with_file_and_line() {
    let folder = tempfile::tempdir().unwrap();
    let good = json!({"output": "a", "answers": ["b"]});
    let check = |lines: &str, extra: &[&str], part: &str| {
        let path = folder.path().join("bad.jsonl");
        std::fs::write(&path, lines).unwrap();
        let (code, out, err) = rescore(&[&[path.to_str().unwrap()], extra].concat());
        assert_eq!(code, 2, "{lines}: {err}");
        assert!(out.is_empty(), "{out}");
        assert!(err.contains(part), "{lines}: {err}");
    };
    check(
        &format!("{good}\n{{\"output\": \"a"),
        &[],
        "bad.jsonl:2: cut off JSON",
    );
    check(
        &format!("{good}\n\n{{\"output\" 1}}\n"),
        &[],
        "bad.jsonl:3: broken JSON",
    );
    check(
        r#"{"output": "a"}"#,
        &[],
        "bad.jsonl:1: it has no right answer",
    );
    check(
        r#"{"output": "a", "answers": []}"#,
        &[],
        "bad.jsonl:1: its list of right answers is empty",
    );
    check("", &[], "holds no answers");
    check(
        &good.to_string(),
        &["--metrics", "row_f1"],
        "bad.jsonl:1: `row_f1` cannot score",
    );
    check(
        &good.to_string(),
        &["--metrics", "exact_mach"],
        "'exact_match'",
    );
    check(&good.to_string(), &["--prefix-only"], "--prefix");
    let (code, _, err) = rescore(&[folder.path().to_str().unwrap()]);
    assert_eq!(code, 2);
    assert!(err.contains("[rescore.no_predictions]"), "{err}");
    let (code, _, err) = rescore(&["nowhere.jsonl", "--json"]);
    assert_eq!(code, 2);
    assert!(err.contains(r#""code":"rescore.unreadable""#), "{err}");
    assert_eq!(rescore(&[]).0, 2);
}
