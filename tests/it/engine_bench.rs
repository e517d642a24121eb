//! `benches/engine.rs`: every kind of case still runs and reports what it measured.

use crate::engine::Case;
use std::collections::BTreeSet;

#[test]
fn every_case_of_the_quick_mode_reports_time_speed_and_memory() {
    let cases = Case::all(true);
    let names: BTreeSet<String> = cases.iter().map(Case::name).collect();
    assert_eq!(names.len(), cases.len(), "names are unique");
    for case in cases {
        let name = case.name();
        let report = serde_json::to_value(case.measure(true, 2)).unwrap();
        assert_eq!(report["case"], name.as_str());
        let is_endless = name.ends_with("-decode");
        for times in ["samples_ms", "cpu_ms"] {
            let times = report[times].as_array().unwrap();
            assert_eq!(times.len(), if is_endless { 1 } else { 2 }, "{name}");
            assert!(times.iter().all(|ms| ms.as_f64() > Some(0.0)));
        }
        assert!(report["tokens_per_s"].as_f64().unwrap() > 0.0, "{name}");
        assert!(
            report["peak_rss_bytes"].as_u64().unwrap() > 1 << 20,
            "{name}"
        );
        assert_eq!(report["mb_per_s"].is_number(), name == "pack", "{name}");
        assert_eq!(report["backend"].is_string(), name.contains('/'), "{name}");
        let is_step = name.starts_with("step/");
        let share = report["roofline_share"].as_f64();
        assert_eq!(share.is_some(), is_step, "{name}");
        assert!(share.is_none_or(|share| share > 0.0), "{name}: {share:?}");
        assert_eq!(report["span"].is_array(), is_step, "{name}");
        let is_infer = name.starts_with("infer/");
        assert_eq!(
            report["cost"].is_object(),
            is_infer && !is_endless,
            "{name}"
        );
        assert_eq!(report["endless"].is_object(), is_endless, "{name}");
        if is_endless {
            assert_constant(&report["endless"]);
        }
    }
}

/// Memory after the last token is that after a tenth of them, but for what the allocator rounds up.
fn assert_constant(endless: &serde_json::Value) {
    let bytes = |key: &str| endless[key].as_u64().unwrap();
    assert!(bytes("kv_bytes") > 0);
    assert!(
        bytes("rss_at_end_bytes") < bytes("rss_at_tenth_bytes") + (1 << 20),
        "{endless}"
    );
}

#[test]
fn the_full_list_has_both_models_three_lengths_and_two_dtypes() {
    let names: Vec<String> = Case::all(false).iter().map(Case::name).collect();
    for start in [
        "step/tiny/",
        "step/124m/",
        "step/124m:3/",
        "infer/tiny/full/",
        "infer/124m/mask/",
        "infer/124m:3/snapkv:0.7/65536",
        "infer/124m:3/all-streaming/65536",
        "infer/tiny/all-streaming/1m-decode",
    ] {
        assert!(names.iter().any(|name| name.starts_with(start)), "{start}");
    }
    for part in [
        "/1024/",
        "/4096/",
        "/16384/",
        "/f32/",
        "/bf16/",
        "/x",
        "/x+attention",
        "/all",
    ] {
        assert!(names.iter().any(|name| name.contains(part)), "{part}");
    }
}
