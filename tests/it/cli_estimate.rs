//! `prulong estimate` and `prulong bench train` from outside; the estimate against the memory that a step really takes.

use assert_cmd::cargo::cargo_bin_cmd;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn prulong(words: &[&str]) -> assert_cmd::Command {
    let mut command = cargo_bin_cmd!("prulong");
    command.args(words);
    command
}

fn object(words: &[&str]) -> Value {
    let output = prulong(words).output().unwrap();
    let notes = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {notes}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_published_recipe_is_estimated_from_its_file_without_model_and_data() {
    let config = repository("configs/llama-3.1-8b-128k.toml");
    let config = config.to_str().unwrap();
    let words = ["estimate", "--config", config, "--shape", "llama-3.1-8b"];
    let found = object(&[&words[..], &["--seq", "65536", "--tflops", "600", "--json"]].concat());
    assert_eq!(found["schema"], "prulong.estimate/1");
    assert_eq!(found["model"]["num_params"], 8_030_261_248.0);
    assert_eq!(found["plan"]["save"], "x+attention");
    assert_eq!(found["plan"]["dtype"], "bf16");
    assert_eq!(found["bytes"]["weights"], 2.0 * 8_030_261_248.0);
    let performed = found["performed_flops"].as_f64().unwrap();
    let seconds = found["seconds_per_row"].as_f64().unwrap();
    assert!((seconds - performed / 600e12).abs() < 1e-9);
    assert_eq!(found["fits"], Value::Null);
    // A million tokens a step; the target rises from 0 to 0.7 over the first 0.8 of 1,000 steps.
    let run = &found["run"];
    let number = |of: &Value, key: &str| of[key].as_f64().unwrap();
    assert_eq!(
        [&run["num_steps"], &run["rows_per_step"]],
        [&json!(1000), &json!(16.0)]
    );
    assert!((number(run, "seconds") / (16_000.0 * seconds) - 1.0).abs() < 1e-12);
    let decided = &run["decided"];
    let sparsity = number(decided, "mean_sparsity");
    // Half of 0.7 over 0.8 of the steps, 0.7 over the rest.
    assert!((sparsity - 0.42).abs() < 1e-3, "{sparsity}");
    let flags = [
        "estimate",
        "--shape",
        "llama-3.1-8b",
        "--seq",
        "65536",
        "--json",
        "--sparsity",
    ];
    let ends = object(&[&flags[..], &[&sparsity.to_string(), "--config", config]].concat());
    let share = number(decided, "performed_flops") / (16_000.0 * number(&ends, "performed_flops"));
    assert!((share - 1.0).abs() < 1e-12, "{share}");
    assert_eq!(ends["run"]["decided"], Value::Null);
    assert_eq!(object(&flags[..6])["run"], Value::Null);
    // The file's settings can be replaced, and flags win over both.
    let set = ["--set", "memory.saving=all", "--seq", "65536", "--json"];
    assert_eq!(object(&[&words[..], &set].concat())["plan"]["save"], "all");
    let flag = [&set[..], &["--save", "x"]].concat();
    assert_eq!(object(&[&words[..], &flag].concat())["plan"]["save"], "x");
}

#[test]
fn a_step_that_does_not_fit_is_answered_with_no_and_the_way_out() {
    let words = ["estimate", "--shape", "llama-3.1-8b", "--seq", "131072"];
    let small = [&words[..], &["--gpu-memory-gb", "80"]].concat();
    let output = prulong(&small).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(
        table.contains("does not fit into 80.0 GB; one after the other:\n"),
        "{table}"
    );
    assert!(table.contains("memory.saving = \"x\""), "{table}");
    assert!(
        table.contains("time: not estimated: give --tflops"),
        "{table}"
    );
    let notes = String::from_utf8(output.stderr).unwrap();
    assert!(
        notes.contains("no[estimate.does_not_fit]: the step needs "),
        "{notes}"
    );
    let large = [&words[..], &["--gpu-memory-gb", "1000", "--json"]].concat();
    assert_eq!(object(&large)["fits"], true);
}

#[test]
fn host_memory_is_counted_named_where_it_helps_and_refused_on_the_cpu() {
    let words = ["estimate", "--shape", "llama-3.1-8b", "--seq", "131072"];
    let here = object(&[&words[..], &["--json"]].concat());
    let away = object(&[&words[..], &["--offload", "host", "--json"]].concat());
    assert_eq!(away["plan"]["offload"], "host");
    let bytes = |found: &Value, part: &str| found["bytes"][part].as_f64().unwrap();
    assert!(bytes(&here, "host").abs() < 1.0);
    let moved = bytes(&away, "host");
    let peaks = here["peak_bytes"].as_f64().unwrap() - away["peak_bytes"].as_f64().unwrap();
    assert!(
        (peaks - moved).abs() < 1.0 && moved > 9e10,
        "{peaks} {moved}"
    );
    let small = [&words[..], &["--gpu-memory-gb", "80"]].concat();
    let output = prulong(&small).output().unwrap();
    let table = String::from_utf8(output.stdout).unwrap();
    for part in [
        "or, with 100.9 GB of pinned host memory (copies not measured on a GPU):",
        "\n  memory.offload = \"host\" ",
    ] {
        assert!(table.contains(part), "{table}");
    }
    let notes = String::from_utf8(output.stderr).unwrap();
    let hint = "; or memory.offload = \"host\" needs ";
    assert!(notes.contains(hint), "{notes}");
    let step = "bench train --shape tiny --seq 64 --random-weights --device cpu --offload host";
    let output = prulong(&step.split(' ').collect::<Vec<_>>())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3));
    let notes = String::from_utf8(output.stderr).unwrap();
    assert!(notes.contains("error[env.offload]: "), "{notes}");
}

#[test]
fn the_configuration_for_one_80_gb_gpu_fits_into_it() {
    let config = repository("configs/llama-3.1-8b-128k-one-gpu.toml");
    let words = [
        "estimate",
        "--config",
        config.to_str().unwrap(),
        "--shape",
        "llama-3.1-8b",
    ];
    let found = object(
        &[
            &words[..],
            &["--seq", "131072", "--gpu-memory-gb", "80", "--json"],
        ]
        .concat(),
    );
    assert_eq!(
        (&found["fits"], &found["plan"]["save"]),
        (&json!(true), &json!("x"))
    );
}

#[test]
fn what_is_missing_is_said() {
    for (words, code) in [
        (&["estimate", "--seq", "8192"][..], "plan.model"),
        (
            &["estimate", "--shape", "llama-9", "--seq", "8192"],
            "plan.model",
        ),
        (&["estimate", "--shape", "tiny"], "plan.seq"),
        (
            &["bench", "train", "--shape", "tiny", "--seq", "64"],
            "bench.weights",
        ),
    ] {
        let output = prulong(words).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        let notes = String::from_utf8(output.stderr).unwrap();
        assert!(notes.contains(&format!("error[{code}]: ")), "{notes}");
        assert!(notes.contains("\nhint: "), "{notes}");
    }
    for flags in [
        &["--seq", "0"][..],
        &["--tflops", "nan"],
        &["--sparsity", "2"],
    ] {
        let words = [&["estimate", "--shape", "tiny"], flags].concat();
        assert_eq!(
            prulong(&words).output().unwrap().status.code(),
            Some(2),
            "{words:?}"
        );
    }
}

/// A folder whose `config.json` makes layers weigh more than logits, with heads enough for equal shares of gates in every layer.
fn layered_model(folder: &Path) -> String {
    let config = json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 512, "hidden_size": 256,
        "intermediate_size": 704, "num_hidden_layers": 2, "num_attention_heads": 8, "num_key_value_heads": 4,
        "head_dim": 32, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "max_position_embeddings": 131_072,
        "hidden_act": "silu", "tie_word_embeddings": false,
    });
    std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
    folder.to_str().unwrap().to_owned()
}

/// What a measured step held beside what was there before, and what was estimated.
fn measure(model: &str, save: &str, [method, sparsity, between]: [&str; 3]) -> (f64, f64) {
    let words = [
        "bench",
        "train",
        "--model",
        model,
        "--random-weights",
        "--seq",
        "4096",
        "--method",
        method,
        "--sparsities",
        sparsity,
        "--between",
        between,
        "--steps",
        "1",
        "--threads",
        "1",
        "--device",
        "cpu",
        // What products of bf16 hold beside their operands is the library's affair.
        "--dtype",
        "f32",
        "--sink",
        "128",
        "--window",
        "512",
        "--backend",
        "cpu-flash",
        "--mlp-chunk",
        "1024",
        "--json",
        "--save",
        save,
    ];
    let mut command = prulong(&words);
    // Blocks above this size come from and go back to the kernel one by one, so that resident memory is what tensors hold.
    let output = command
        .env("MALLOC_MMAP_THRESHOLD_", "65536")
        .output()
        .unwrap();
    let notes = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{notes}");
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["schema"], "prulong.bench-train/1");
    let case = &found["cases"][0];
    assert_eq!(case["sparsity"], sparsity.parse::<f64>().unwrap());
    assert_eq!(case["between"], between.parse::<f64>().unwrap());
    let number = |key: &str| {
        case[key]
            .as_f64()
            .unwrap_or_else(|| panic!("{key}: {case}"))
    };
    assert!(number("median_s") > 0.0 && number("useful_tflops_per_s") > 0.0);
    let shares = case["profile"]["lines"].as_array().unwrap();
    let sum: f64 = shares
        .iter()
        .map(|line| line["share"].as_f64().unwrap())
        .sum();
    assert!((sum - 1.0).abs() < 1e-6, "{sum}");
    (
        number("peak_bytes") - number("start_bytes"),
        number("estimated_step_bytes"),
    )
}

#[test]
fn more_gates_than_there_are_is_wrong_use() {
    let words = "bench train --shape tiny --seq 64 --random-weights --device cpu --sparsities 0,0.7 --between 0.5";
    let output = prulong(&words.split(' ').collect::<Vec<_>>())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let notes = String::from_utf8(output.stderr).unwrap();
    assert!(
        notes.contains("error[bench.gates]: a share of 0.7 of the gates at 0 and of 0.5 between "),
        "{notes}"
    );
}

#[test]
fn a_step_takes_the_memory_that_is_estimated_whatever_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let model = layered_model(folder.path());
    // A student's heads all stream back only where none of its gates is 1.
    let cases = [
        ("x", ["prulong", "0.5", "0"]),
        ("x+attention", ["prulong", "0.5", "0"]),
        ("all", ["prulong", "0.5", "0"]),
        ("x+attention", ["prulong", "0.25", "0.5"]),
        ("x", ["prulong", "0", "1"]),
        ("x", ["duo-attention", "1", "0"]),
        ("x+attention", ["duo-attention", "1", "0"]),
    ];
    for (save, step) in cases {
        let (held, estimated) = measure(&model, save, step);
        let error = estimated / held - 1.0;
        // More than 5 % too little is a step that fails after all; 10 % too much, a row that is shorter than need be.
        assert!(
            (-0.05..0.10).contains(&error),
            "{step:?} {save}: {estimated} of {held} bytes: {error}"
        );
    }
}
