//! `examples/performance/table.rs`: ratios of what one run measured on both sides, and of stored comparisons.

use crate::performance::results::{Case, Stored};
use crate::performance::{results, table};
use serde_json::json;

fn case(name: &str, cpu_ms: [f64; 3]) -> Case {
    let case = json!({"case": name, "samples_ms": cpu_ms, "cpu_ms": cpu_ms, "threads": 2, "tokens_per_s": 10.0});
    serde_json::from_value(case).unwrap()
}

/// Rows behind the header, with single spaces.
fn rows(cases: &[Case], stored: &Stored) -> Vec<String> {
    let text = table::table(cases, stored);
    let words = |row: &str| row.split_whitespace().collect::<Vec<_>>().join(" ");
    text.lines().skip(1).map(words).collect()
}

#[test]
fn attention_and_kernels_are_compared_with_what_the_same_run_measured() {
    let cases = [
        case("attention/32/4096/full/cpu-fused", [1.0, 2.0, 4.0]),
        case("attention/32/4096/full/cpu-flash", [2.0, 2.0, 2.0]),
        case("attention/32/4096/sampled/cpu-fused", [1.0; 3]),
        case("attention/32/4096/sampled/cpu-flash", [2.0; 3]),
        case("attention/32/4096/sampled/cpu-flash-unskipped", [3.0; 3]),
        case("attention/64/4096/full/cpu-fused", [1.0; 3]),
        case("kernel/rope/6x1024", [1.0; 3]),
        case("kernel/rope/6x1024/aten", [4.0; 3]),
        case("pack", [1.0; 3]),
    ];
    assert_eq!(
        rows(&cases, &Stored::default()),
        [
            "attention/32/4096/full/cpu-fused 10.0 - - 1.00 [0.50, 2.00] cpu-flash (this run)",
            "attention/32/4096/full/cpu-flash 10.0 - - -",
            "attention/32/4096/sampled/cpu-fused 10.0 - - 2.00 [2.00, 2.00] cpu-flash (this run)",
            "3.00 [3.00, 3.00] cpu-flash-unskipped (this run)",
            "attention/32/4096/sampled/cpu-flash 10.0 - - -",
            "attention/32/4096/sampled/cpu-flash-unskipped 10.0 - - -",
            "attention/64/4096/full/cpu-fused 10.0 - - -",
            "kernel/rope/6x1024 10.0 - - 4.00 [4.00, 4.00] aten (this run)",
            "kernel/rope/6x1024/aten 10.0 - - -",
            "pack 10.0 - - -",
        ]
    );
}

/// A stored prompt of 2,048 tokens under `mask`, the peer's prefill `prefill` times ours.
fn prompt(commit: &str, prefill: f64) -> serde_json::Value {
    let ratio = |median: f64| json!({"median": median, "p10": median, "p90": median, "n": 2});
    json!({
        "commit": commit,
        "is_clean": true,
        "device": "Some CPU, AVX512",
        "results": [{
            "case": {"shape": "124m", "method": "mask", "num_tokens": 2048, "num_new_tokens": 64, "dtype": "f32", "threads": 1},
            "chunk_len": 1024,
            "peer": {"backend": "kvpress"},
            "prefill_ratio_cpu": ratio(prefill),
            "decode_ratio_cpu": ratio(3.0),
            "kv_bytes": 1,
            "peer_kv_bytes": 2,
        }],
    })
}

#[test]
fn a_prompt_has_the_last_stored_ratio_of_its_shape_method_and_length() {
    let folder = tempfile::tempdir().unwrap();
    let runs = json!([prompt("1111111aaaa", 0.5), prompt("2222222bbbb", 0.875)]);
    std::fs::write(
        folder.path().join("infer-cpu-avx512.json"),
        runs.to_string(),
    )
    .unwrap();
    let stored = results::load(folder.path()).unwrap();
    let cases = [
        case("infer/124m/mask/2048", [1.0; 3]),
        case("infer/124m/mask/8192", [1.0; 3]),
        case("infer/124m/full/2048", [1.0; 3]),
        case("infer/tiny/mask/2048", [1.0; 3]),
    ];
    let place = "(stored: chunk 1024, 64 decoded; AVX512, 2222222)";
    assert_eq!(
        rows(&cases, &stored),
        [
            format!("infer/124m/mask/2048 10.0 - - 0.88 / 3.00 kvpress, prefill / decode {place}"),
            "infer/124m/mask/8192 10.0 - - -".to_owned(),
            "infer/124m/full/2048 10.0 - - -".to_owned(),
            "infer/tiny/mask/2048 10.0 - - -".to_owned(),
        ]
    );
}
