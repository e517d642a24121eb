//! `prulong bench infer` from outside: what it counts is what the formulas say, and what it cannot measure it refuses.

use crate::hand_made_mask::sidecar;
use assert_cmd::cargo::cargo_bin_cmd;
use prulong::mask::sidecar::write::to_bytes;
use prulong::model::config::ModelConfig;
use prulong::model::fingerprint::arch_facts;
use prulong::span::Span;
use serde_json::Value;
use std::path::{Path, PathBuf};

const PROMPT_LEN: u64 = 301;
const NEW_TOKENS: u64 = 5;
/// Kv heads of the tiny model, and the bytes of an entry of one in f32.
const NUM_GATES: u64 = 32;
const ENTRY: u64 = 2 * 32 * 4;

fn prulong(words: &[&str]) -> assert_cmd::Command {
    let mut command = cargo_bin_cmd!("prulong");
    command.args(["bench", "infer"]).args(words);
    command
}

/// Words of a prompt that the tiny shape reads in half a second.
fn small<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let words = "--prompt-len 301 --new-tokens 5 --chunk 64 --device cpu --dtype f32 --threads 1 --bandwidth-gbs 10";
    words.split(' ').chain(more.iter().copied()).collect()
}

fn object(words: &[&str]) -> Value {
    let output = prulong(&small(words)).arg("--json").output().unwrap();
    let notes = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {notes}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn tiny() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("checkpoints/tiny")
}

#[track_caller]
fn near(found: &Value, expected: f64) {
    let found = found.as_f64().unwrap();
    assert!((found / expected - 1.0).abs() < 1e-9, "{found} {expected}");
}

const SHAPE: [&str; 3] = ["--shape", "tiny", "--random-weights"];

#[test]
fn bytes_flops_and_roofs_are_those_of_the_formulas() {
    let methods = "full,mask,all-streaming,snapkv:0.5:window=8";
    let more = [
        &SHAPE[..],
        &[
            "--methods",
            methods,
            "--sparsities",
            "0,0.7",
            "--repeat",
            "2",
        ],
        &["--sink", "16", "--window", "32", "--peak-tflops", "0.5"],
    ];
    let found = object(&more.concat());
    assert_eq!(found["schema"], "prulong.bench-infer/1");
    assert_eq!(found["bandwidth"]["is_measured"], false);
    let cases = found["cases"].as_array().unwrap();
    let names: Vec<&str> = cases
        .iter()
        .map(|case| case["method"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "full",
            "mask 0",
            "mask 0.7",
            "all-streaming",
            "snapkv:0.5:window=8"
        ]
    );
    for case in cases {
        let (name, cost) = (&case["method"], &case["cost"]);
        assert_eq!(cost["kv_bytes"], case["formula_kv_bytes"], "{name}");
        assert_eq!(
            cost["kv_peak_bytes"], case["formula_kv_peak_bytes"],
            "{name}"
        );
        assert_eq!(cost["prefill_ms"].as_array().unwrap().len(), 2, "{name}");
        assert!(case["prefill_s"].as_f64() > Some(0.0), "{name}");
        let rate = case["prefill_tflops_per_s"].as_f64().unwrap();
        near(&case["mfu"], rate / 0.5);
    }
    let (full, streaming) = (&cases[0], &cases[3]);
    // Everything but the last new token, which is never read.
    let tokens = PROMPT_LEN - 1 + NEW_TOKENS;
    assert_eq!(full["cost"]["kv_bytes"], NUM_GATES * ENTRY * tokens);
    // Sinks and window, the newest token's own entry among them.
    assert_eq!(
        streaming["cost"]["kv_bytes"],
        NUM_GATES * ENTRY * (16 + 32 - 1)
    );
    // What earlier methods left in the allocator's hands may be all that later ones need.
    assert!(full["peak_bytes"].as_u64() > full["start_bytes"].as_u64());
    check_full(full);
    assert_eq!(cases[1]["cost"]["kv_bytes"], full["cost"]["kv_bytes"]);
    assert_eq!(cases[2]["sparsity"], 23.0 / 32.0);
    assert_eq!(cases[2]["streaming"]["rule"], "sliding");
    assert!(cases[2]["to_full"]["kv_share"].as_f64() < Some(0.5));
}

/// Full attention of the tiny shape: 256 wide, 64 heads of 32 in four layers, and half the square of the prompt.
#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn check_full(full: &Value) {
    let prefilled = PROMPT_LEN - 1;
    let layer = 256 * (512 + 2 * 256) + 512 * 256 + 3 * 256 * 768;
    let products = 2 * prefilled * 4 * layer;
    let attention = 4 * 32 * 64 * (prefilled * (prefilled + 1) / 2);
    assert_eq!(full["prefill_flops"]["products"], products as f64);
    assert_eq!(full["prefill_flops"]["attention"], attention as f64);
    // Four layers with two norms, the last norm, and the output matrix; not the embeddings.
    let weights = 4 * (4 * (layer + 2 * 256) + 256 + 256 * 4096);
    assert_eq!(full["decode"]["weight_bytes"], weights);
    let kept = (2 * prefilled + NEW_TOKENS) as f64 / 2.0 * (NUM_GATES * ENTRY) as f64;
    near(&full["decode"]["kv_bytes"], kept);
    near(
        &full["decode"]["roof_ms"],
        (weights as f64 + kept) / 10e9 * 1e3,
    );
    for ratio in [
        "prefill_speedup",
        "decode_speedup",
        "kv_share",
        "peak_share",
    ] {
        near(&full["to_full"][ratio], 1.0);
    }
}

#[test]
fn every_rule_holds_what_its_formula_says() {
    for rule in ["sliding", "duo-chunk", "frozen-prompt"] {
        let words = ["--methods", "mask", "--sparsities", "0.5", "--rule", rule];
        let span = ["--sink", "16", "--window", "32"];
        let found = object(&[&SHAPE[..], &words, &span].concat());
        let case = &found["cases"][0];
        assert_eq!(case["streaming"]["rule"], rule);
        assert_eq!(case["cost"]["kv_bytes"], case["formula_kv_bytes"], "{rule}");
        assert_eq!(
            case["cost"]["kv_peak_bytes"], case["formula_kv_peak_bytes"],
            "{rule}"
        );
        // Nothing to compare with.
        assert_eq!(case["to_full"], Value::Null);
    }
}

#[test]
fn a_folder_and_its_mask_are_measured_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let config = ModelConfig::load(&tiny()).unwrap();
    let mask = sidecar(arch_facts(&config), Span::new(8, 24, 1).unwrap(), 1, 9);
    let path = folder.path().join("head_mask.safetensors");
    std::fs::write(&path, to_bytes(&mask)).unwrap();
    let tiny = tiny();
    let words = [
        "--model",
        tiny.to_str().unwrap(),
        "--mask",
        path.to_str().unwrap(),
    ];
    let found = object(&words);
    let cases = found["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 2);
    assert_eq!(cases[1]["method"], "mask");
    assert_eq!(cases[1]["sparsity"], 23.0 / 32.0);
    assert_eq!(cases[1]["streaming"]["span"]["sink_len"], 8);
    assert_eq!(cases[1]["cost"]["kv_bytes"], cases[1]["formula_kv_bytes"]);
    // The checkpoint's bf16 matrices stay bf16 in memory.
    let weights = cases[0]["decode"]["weight_bytes"].as_u64().unwrap();
    assert!(weights < 4 * 4_000_000, "{weights}");
}

#[test]
fn people_get_tables() {
    let words = [
        &SHAPE[..],
        &["--methods", "full,mask", "--sparsities", "0.5"],
    ]
    .concat();
    let output = prulong(&small(&words)).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    for part in [
        "tiny: a prompt of 301 tokens in chunks of 64, 5 decoded; f32 on cpu",
        "roof: weights and keys and values read at 10.0 GB/s, as given",
        "\nfull ",
        "\nmask 0.5 ",
        "beside full",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn what_cannot_be_measured_is_refused_with_a_way_out() {
    let tiny = tiny();
    let tiny = tiny.to_str().unwrap();
    for (words, code) in [
        (&["--random-weights"][..], "plan.model"),
        (&["--shape", "llama-9", "--random-weights"], "plan.model"),
        (&["--shape", "tiny"], "bench.weights"),
        (
            &["--shape", "tiny", "--random-weights", "--mask", "x"],
            "bench.methods",
        ),
        (
            &["--model", tiny, "--mask", "x", "--methods", "full"],
            "bench.methods",
        ),
        (
            &[
                "--shape",
                "tiny",
                "--random-weights",
                "--methods",
                "full,full",
            ],
            "bench.methods",
        ),
        (
            &[
                "--shape",
                "tiny",
                "--random-weights",
                "--sparsities",
                "0.5,0.5",
            ],
            "bench.methods",
        ),
        (
            &[
                "--shape",
                "tiny",
                "--random-weights",
                "--methods",
                "full",
                "--sparsities",
                "0.5",
            ],
            "bench.methods",
        ),
        (
            &[
                "--shape",
                "tiny",
                "--random-weights",
                "--methods",
                "full",
                "--sink",
                "4",
            ],
            "eval.missing",
        ),
        (
            &["--shape", "tiny", "--random-weights", "--methods", "nsa"],
            "eval.missing",
        ),
        (&["--model", tiny, "--mask", "/nowhere"], "mask.read"),
    ] {
        let output = prulong(&small(words)).output().unwrap();
        let notes = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{words:?}: {notes}");
        assert!(notes.contains(&format!("error[{code}]: ")), "{notes}");
        assert!(notes.contains("\nhint: "), "{notes}");
    }
}

#[test]
fn flags_that_say_nothing_sensible_are_refused() {
    for flags in [
        &["--prompt-len", "0"][..],
        &["--prompt-len", "64", "--chunk", "0"],
        &["--prompt-len", "64", "--new-tokens", "0"],
        &["--prompt-len", "64", "--methods", "snapkv"],
        &["--prompt-len", "64", "--sparsities", "2"],
        &["--prompt-len", "64", "--bandwidth-gbs", "0"],
        &["--prompt-len", "64", "--rule", "none"],
        &["--prompt-len", "64", "--mask", "x", "--sparsities", "0.5"],
        &[],
    ] {
        let words = [&SHAPE[..], flags].concat();
        let code = prulong(&words).output().unwrap().status.code();
        assert_eq!(code, Some(2), "{words:?}");
    }
}
