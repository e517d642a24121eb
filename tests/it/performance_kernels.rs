//! `examples/performance/kernels.rs`: a row where a result is stored, "not measured" where none is.

use crate::performance::{kernels, results};
use std::path::Path;

/// A run of `rope` and its twin on a device.
fn run(commit: &str, device: &str, ours_ms: [f64; 3]) -> serde_json::Value {
    serde_json::json!({
        "commit": commit,
        "is_clean": true,
        "device": device,
        "results": [
            {"case": "kernel/rope/8192x4096", "samples_ms": ours_ms, "gb_per_s": 3104.6, "roofline_share": 0.914},
            {"case": "kernel/rope/8192x4096/aten", "samples_ms": [0.2, 0.4, 0.2], "gb_per_s": 700.0, "roofline_share": 0.2},
        ],
    })
}

fn table(folder: &Path) -> String {
    kernels::table(&results::load(folder).unwrap().kernels)
}

#[test]
fn a_kernel_has_a_row_for_each_device_where_it_was_measured_else_one_that_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let unmeasured = "not measured | not measured | not measured | not measured | not measured | not measured | not measured |";
    let before = table(folder.path());
    assert_eq!(
        before.matches(unmeasured).count(),
        before.lines().count() - 2
    );

    let runs = serde_json::json!([
        run("1111111aaaa", "GPU A", [0.5, 0.5, 0.5]),
        run("2222222bbbb", "GPU A", [0.1, 0.1, 0.05]),
    ]);
    let store = |name: &str, runs: serde_json::Value| {
        std::fs::write(folder.path().join(name), runs.to_string()).unwrap();
    };
    store("kernels-gpu-a.json", runs);
    store(
        "kernels-gpu-b.json",
        serde_json::json!([run("3333333cccc", "GPU B", [0.1, 0.2, 0.1])]),
    );
    let after = table(folder.path());
    let rows: Vec<_> = after
        .lines()
        .filter(|row| row.starts_with("| `rope`"))
        .collect();
    assert_eq!(
        rows,
        [
            "| `rope` | 8192x4096 | GPU A | 100.0 us | 3105 | 91 % | 4.00 [2.00, 4.00] | `2222222` |",
            "| `rope` | 8192x4096 | GPU B | 100.0 us | 3105 | 91 % | 2.00 [2.00, 2.00] | `3333333` |",
        ]
    );
    assert_eq!(
        after.matches(unmeasured).count(),
        before.matches(unmeasured).count() - 1
    );
}
