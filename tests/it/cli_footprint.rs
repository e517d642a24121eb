//! `prulong footprint` as a shell sees it.

use assert_cmd::cargo::cargo_bin_cmd;
use prulong::mask::gate_method::GateMethod;
use prulong::mask::provenance::Provenance;
use prulong::mask::sidecar::cut::{Target, TrainedGates, trained};
use prulong::mask::sidecar::write::to_bytes;
use prulong::model::config::ModelConfig;
use prulong::model::fingerprint::arch_facts;
use prulong::span::Span;
use serde_json::Value;
use std::path::{Path, PathBuf};

const PUBLISHED: [&str; 4] = ["--prompt-len", "131052", "--output-len", "20"];

fn run(words: &[&str]) -> (i32, String, String) {
    let output = cargo_bin_cmd!("prulong")
        .arg("footprint")
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

fn object(words: &[&str]) -> Value {
    let (code, out, err) = run(&[&PUBLISHED, words, &["--json"]].concat());
    assert_eq!(code, 0, "{err}");
    serde_json::from_str(&out).unwrap()
}

fn near(value: &Value, golden: f64) {
    let value = value.as_f64().unwrap();
    assert!((value - golden).abs() < 1e-6, "{value} for {golden}");
}

#[test]
fn the_object_holds_the_published_figures() {
    let of = object(&[
        "--chunk=32768,8192",
        "--sparsity=0.7",
        "--method=pyramidkv:0.7,locret:0.5",
        "--convention=reference",
    ]);
    assert_eq!(of["schema"], "prulong.footprint/1");
    let golden = [
        ("sparsity 0.7", 32_768, 0.484_179_06, 0.480_999_76),
        ("sparsity 0.7", 8_192, 0.355_277_23, 0.349_749_76),
        ("pyramidkv:0.7", 32_768, 0.476_406_46, 0.476_303_10),
        ("pyramidkv:0.7", 8_192, 0.351_111_78, 0.350_967_41),
        ("locret:0.5", 32_768, 0.682_029_77, 0.681_304_93),
    ];
    let rows = of["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 6);
    for (row, (method, chunk_len, kv_footprint, kv_peak)) in rows.iter().zip(golden) {
        assert_eq!(
            (&row["method"], &row["chunk_len"]),
            (&method.into(), &chunk_len.into())
        );
        near(&row["kv_footprint"], kv_footprint);
        near(&row["kv_peak"], kv_peak);
        assert_eq!(row["full_bytes"], 131_072_u64 * 131_072);
    }
    // 76 of 256 heads is what a sparsity of 0.7 becomes.
    let whole = &rows[0]["left_out"][1];
    assert_eq!(whole["cause"]["num_retrieval"], 76);
    near(&whole["to"], 0.481_876_29);
    let left_out = rows[3]["left_out"].as_array().unwrap().iter();
    let causes: Vec<_> = left_out
        .map(|gap| gap["cause"]["name"].as_str().unwrap())
        .collect();
    assert_eq!(causes, ["constant-per-chunk", "layer-budgets"]);
}

#[test]
fn layers_bytes_and_ranges_are_told() {
    let of = object(&[
        "--chunk=32768",
        "--method=pyramidkv:0.7,snapkv:0.7:head,streaming-llm",
        "--shape=32,8,128,32",
        "--dtype=f32",
    ]);
    let [pyramid, own, streaming] = of["rows"].as_array().unwrap().as_slice() else {
        panic!("{of}");
    };
    let layers = pyramid["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 32);
    assert!(layers[0]["kv_footprint"].as_f64() > layers[31]["kv_footprint"].as_f64());
    let sum: u64 = layers
        .iter()
        .map(|layer| layer["end_bytes"].as_u64().unwrap())
        .sum();
    assert_eq!(pyramid["end_bytes"], sum);
    near(&own["kv_footprint"], 0.474_941_48);
    assert!(own["at_most"]["kv_footprint"].as_f64().unwrap() > 0.9);
    assert_eq!(own["left_out"][0]["cause"]["name"], "own-choice");
    near(&streaming["kv_footprint"], 0.017_500_94);
    // A window is left without the next query's own token: 128 + 1023 entries of 256 heads, 1024 bytes each.
    assert_eq!(streaming["end_bytes"], 1151 * 256 * 1024);
    assert_eq!(of["token_bytes"], 256 * 1024);
}

#[test]
fn the_table_has_a_row_per_method_and_chunk() {
    let (code, out, err) = run(&[
        &PUBLISHED[..],
        &[
            "--chunk=131072,8192",
            "--sparsity=0.5",
            "--method=pyramidkv:0.5:patch",
            "--rule=duo-chunk",
            "--layers",
        ],
    ]
    .concat());
    assert_eq!(code, 0, "{err}");
    let head = out.lines().take(12).collect::<Vec<_>>().join("\n");
    insta::assert_snapshot!(head, @r"
    llama-3.1-8b: 32 layers of 8 kv heads, head_dim 128; bf16, 128 KiB a token
    prompt of 131052 tokens, output of 20; counted as the caches do

                            chunk  footprint       peak        end       peak       full
    sparsity 0.5           131072   0.999849   0.999847    8.1 GiB     16 GiB     16 GiB
    sparsity 0.5             8192   0.539484   0.535488    8.1 GiB    8.6 GiB     16 GiB
    pyramidkv:0.5:patch    131072   0.999847   0.999847      8 GiB     16 GiB     16 GiB
    pyramidkv:0.5:patch      8192   0.535540   0.531265      8 GiB    8.5 GiB     16 GiB
    streaming heads: rule duo-chunk, sink 128, window 1024
    layers of pyramidkv:0.5:patch, chunk 131072: footprint from 0.999703 (layer 31) to 0.999992 (layer 0)
      layer   0   0.999992   0.999847    499 MiB  511.9 MiB
      layer   1   0.999983   0.999847  483.3 MiB  511.9 MiB
    ");
    assert_eq!(out.matches("  layer ").count(), 64, "{out}");
    assert!(
        err.contains("warning: `sparsity 0.5`: the prompt is a single chunk: prefill is dense"),
        "{err}"
    );
    assert!(err.contains("the patch does nothing"), "{err}");
}

fn check_refused(cases: &[(&[&str], &str)]) {
    for (words, found) in cases {
        let (code, out, err) = run(&[&PUBLISHED, *words].concat());
        assert_eq!((code, out.as_str()), (2, ""), "{words:?}: {err}");
        assert!(err.contains(found), "{words:?}: {err}");
    }
}

#[test]
fn bad_input_is_one_clear_error() {
    check_refused(&[
        (
            &["--chunk=0", "--sparsity=0.5"][..],
            "error[eval.lengths]: chunk_len must be at least 1 token",
        ),
        (&["--chunk=64"], "--sparsity"),
        (&["--sparsity=0.5"], "--chunk"),
        (
            &["--chunk=64", "--sparsity=1.5"],
            "a share is at least 0 and at most 1",
        ),
        (
            &["--chunk=64", "--method=snapkv:0.7"],
            "error[eviction.capacity]",
        ),
        (
            &["--chunk=64", "--method=snap:0.7"],
            "there is no method `snap`",
        ),
        (
            &["--chunk=64", "--method=locret:2"],
            "a token sparsity of 2 is not in [0, 1)",
        ),
        (&["--chunk=64", "--method=mask"], "error[eval.missing]"),
        (&["--chunk=64", "--mask=nowhere"], "nowhere"),
    ]);
}

#[test]
fn a_bad_model_or_span_is_one_clear_error() {
    check_refused(&[
        (
            &["--chunk=64", "--sparsity=0.5", "--model=llama-9"],
            "error[footprint.model]: there is no model `llama-9`",
        ),
        (
            &["--chunk=64", "--sparsity=0.5", "--shape=32,8"],
            "error[footprint.shape]",
        ),
        (
            &["--chunk=64", "--sparsity=0.5", "--rule=slide"],
            "`sliding`",
        ),
        (
            &["--chunk=64", "--sparsity=0.5", "--window=0"],
            "error[config.span]",
        ),
        (
            &["--chunk=64", "--method=full", "--window=9"],
            "error[footprint.streaming]",
        ),
        (
            &["--chunk=4096", "--method=snapkv:0.5:head", "--shape=2,2,4"],
            "error[footprint.heads]",
        ),
        (
            &[
                "--chunk=64",
                "--method=streaming-llm",
                "--convention=reference",
            ],
            "error[footprint.reference]",
        ),
    ]);
    let (code, _, err) = run(&[
        "--prompt-len=0",
        "--output-len=3",
        "--chunk=4",
        "--sparsity=1",
    ]);
    assert_eq!(code, 2);
    assert!(
        err.contains("a prompt of 0 tokens with 3 output tokens makes no query"),
        "{err}"
    );
}

fn tiny() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("checkpoints/tiny")
}

/// A folder with a mask for the tiny model whose first 11 heads, in the order of layers, keep everything.
fn mask_folder(config: &ModelConfig) -> tempfile::TempDir {
    let provenance = Provenance {
        arch: arch_facts(config),
        base_model: "tiny".to_owned(),
        base_model_revision: None,
        base_weights_sha256: None,
        weights_modified: false,
        deploy_span: Span::new(4, 28, 1).unwrap(),
        train_span: Span::new(4, 28, 1).unwrap(),
        seq_len: 128,
        num_steps: 10,
        seed: 1,
        method: GateMethod::PruLong,
        target_sparsity: Some(0.5),
        plateaus: Vec::new(),
        data_id: "none".to_owned(),
        config_sha256: "none".to_owned(),
    };
    let num_gates = config.shape.num_gates();
    let log_alpha: Vec<f32> = (0..num_gates)
        .map(|head| if head < 11 { 2.0 } else { -2.0 })
        .collect();
    let gates = TrainedGates {
        log_alpha: &log_alpha,
        num_steps: 10,
    };
    let sidecar = trained(gates, &provenance, Target::NumRetrieval(11)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("head_mask.safetensors"),
        to_bytes(&sidecar),
    )
    .unwrap();
    folder
}

#[test]
fn heads_of_a_mask_are_counted_layer_by_layer() {
    let config = ModelConfig::load(&tiny()).unwrap();
    let num_gates = config.shape.num_gates();
    let folder = mask_folder(&config);
    let mask = format!("--mask={}", folder.path().display());

    let of = object(&["--chunk=32768", &mask]);
    assert_eq!(of["model"]["num_kv_heads"], config.shape.num_kv_heads);
    let row = &of["rows"][0];
    assert_eq!(row["num_retrieval"], 11);
    assert_eq!(
        row["streaming"],
        serde_json::json!({"rule": "sliding", "sink_len": 4, "window_len": 28})
    );
    // 131071 tokens; retrieval heads keep all of them, streaming heads 4 and 27, in bf16.
    let entry_bytes = 2 * 2 * config.shape.head_dim as u64;
    let streaming = num_gates as u64 - 11;
    assert_eq!(
        row["end_bytes"],
        entry_bytes * (11 * 131_071 + streaming * 31)
    );
    let kept: Vec<u64> = (0..config.shape.num_layers)
        .map(|layer| row["layers"][layer]["end_bytes"].as_u64().unwrap() / entry_bytes / 131_071)
        .collect();
    assert_eq!(kept.iter().sum::<u64>(), 11);
    assert_eq!(kept[0], config.shape.num_kv_heads as u64);

    let nominal = object(&[
        "--chunk=32768",
        &mask,
        "--sink=128",
        "--window=1024",
        "--rule=duo-chunk",
    ]);
    let row = &nominal["rows"][0];
    let count = |heads: u64| f64::from(u32::try_from(heads).unwrap());
    let share = count(streaming) / count(num_gates as u64);
    near(&row["kv_footprint"], share * 0.263_113_01 + (1.0 - share));
    let (code, _, err) = run(&[&PUBLISHED[..], &["--chunk=64", &mask, "--shape=3,2,4"]].concat());
    assert_eq!(code, 2);
    assert!(err.contains("error[mask.shape]"), "{err}");
    let tiny = format!("--model={}", tiny().display());
    assert_eq!(
        run(&[&PUBLISHED[..], &["--chunk=64", &mask, &tiny]].concat()).0,
        0
    );
}
