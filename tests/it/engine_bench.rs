//! `benches/engine.rs`: every kind of case still runs and reports what it measured.

use crate::engine::Case;
use crate::engine::kernels::{KernelCase, place};
use prulong::cuda::source::Family;
use std::collections::{BTreeMap, BTreeSet};

#[test]
fn every_case_of_the_quick_mode_reports_time_speed_and_memory() {
    let cases = Case::all(true);
    let names: BTreeSet<String> = cases.iter().map(Case::name).collect();
    assert_eq!(names.len(), cases.len(), "names are unique");
    let has_device = place().is_ok();
    for case in cases {
        let name = case.name();
        let is_kernel = name.starts_with("kernel/");
        if is_kernel && !has_device {
            continue;
        }
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
        assert_eq!(share.is_some(), is_step || is_kernel, "{name}");
        for of_kernel in ["gb_per_s", "device"] {
            assert_eq!(report[of_kernel].is_null(), !is_kernel, "{name}");
        }
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

#[test]
fn every_kernel_has_a_case_and_a_twin_in_the_order_of_its_table() {
    let kernels: Vec<_> = Family::ALL.into_iter().flat_map(Family::kernels).collect();
    for quick in [true, false] {
        let names: Vec<_> = KernelCase::all(quick)
            .iter()
            .map(KernelCase::name)
            .collect();
        let pairs = names.chunks(2).zip(&kernels);
        for (pair, kernel) in pairs {
            let ours = &pair[0];
            assert!(ours.starts_with(&format!("kernel/{kernel}/")), "{ours}");
            assert_eq!(pair[1], format!("{ours}/aten"));
        }
        assert_eq!(names.len(), 2 * kernels.len());
    }
}

#[test]
fn bytes_of_kernels_are_those_of_their_operands_and_results() {
    let bytes: BTreeMap<_, _> = KernelCase::all(false)
        .iter()
        .map(|case| (case.name(), case.num_bytes()))
        .collect();
    let mib = 1 << 20;
    // 8,192 rows of 4,096 bf16 numbers are 64 MiB.
    for (name, expected) in [
        (
            "kernel/cross_entropy/1024x128256",
            2 * 1024 * 128_256 * 2 + 1024 * (8 + 4),
        ),
        ("kernel/gate_mix/8192x4096", 3 * 64 * mib),
        ("kernel/gate_backward/8192x4096", 5 * 64 * mib + 128 * 8 * 8),
        ("kernel/gate_grad_sum/128x8", 128 * 8 * 8 + 8 * 8),
        ("kernel/rms_norm_forward/8192x4096", 4 * 64 * mib + 4096 * 2),
        (
            "kernel/rms_norm_backward/8192x4096",
            4 * 64 * mib + 4096 * 2,
        ),
        (
            "kernel/rms_norm_weight_parts/8192x4096",
            2 * 64 * mib + 8192 * 4 + 64 * 4096 * 8,
        ),
        (
            "kernel/rms_norm_weight_sum/64x4096",
            64 * 4096 * 8 + 4096 * 4,
        ),
        // Cosines and sines of 64 angles a token.
        ("kernel/rope/8192x4096", 2 * 64 * mib + 8192 * 2 * 64 * 4),
        (
            "kernel/streaming_decode_parts/1152x1024",
            (2 * 1152 * 1024 + 4096) * 2 + 9 * (4096 + 2 * 32) * 4,
        ),
        (
            "kernel/streaming_decode_combine/9x4096",
            9 * (4096 + 2 * 32) * 4 + 4096 * 2 + 32 * 4,
        ),
        ("kernel/swiglu_forward/4096x14336", 3 * 112 * mib),
        ("kernel/swiglu_backward/4096x14336", 5 * 112 * mib),
    ] {
        assert_eq!(bytes[name], expected, "{name}");
        assert_eq!(bytes[&format!("{name}/aten")], expected, "{name}");
    }
    assert_eq!(bytes.len(), 2 * 13);
}
