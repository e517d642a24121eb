//! Native sparse attention as a shell sees it: a checkpoint that carries its gates, and ones that do not.

use crate::cli_eval::Desk;
use assert_cmd::cargo::cargo_bin_cmd;
use prulong::random;
use serde_json::Value;
use tch::Tensor;

const METHOD: &str = "nsa:top=3:block=8:window=16";

/// A copy of `model` in `name`, with the gates of the first `num_layers` layers.
fn gated(desk: &Desk, name: &str, num_layers: usize) {
    std::fs::create_dir(desk.path(name)).unwrap();
    for entry in std::fs::read_dir(desk.path("model")).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, desk.path(name).join(path.file_name().unwrap())).unwrap();
    }
    let path = desk.path(name).join("model.safetensors");
    let mut tensors = Tensor::read_safetensors(&path).unwrap();
    for layer in 0..num_layers {
        let name = format!("model.layers.{layer}.self_attn.g_proj.weight");
        let mut rng = random::stream(&name, &[]);
        let values: Vec<f64> = (0..12 * 16)
            .map(|_| random::uniform(&mut rng) - 0.5)
            .collect();
        let gates = Tensor::from_slice(&values).view([12, 16]);
        tensors.push((name, gates.to_kind(tch::Kind::Float)));
    }
    Tensor::write_safetensors(&tensors, &path).unwrap();
}

/// Exit code, standard output, standard error.
fn run(desk: &Desk, words: &[&str]) -> (Option<i32>, String, String) {
    let output = cargo_bin_cmd!("prulong")
        .current_dir(desk.path(""))
        .args(words)
        .args(["--device", "cpu", "--threads", "1"])
        .output()
        .unwrap();
    (
        output.status.code(),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

#[test]
fn a_model_that_carries_gates_runs_as_it_was_trained_and_keeps_everything() {
    let desk = Desk::new();
    gated(&desk, "gated", 2);
    let asked = [
        "--task",
        "json_kv",
        "--lengths",
        "160",
        "--items",
        "1",
        "--method",
        METHOD,
    ];
    let of = |chunk: &str, extra: &[&str]| {
        let words = ["eval", "--model", "gated", "--chunk", chunk];
        let (code, stdout, stderr) = run(&desk, &[&words[..], &asked, extra].concat());
        assert_eq!(code, Some(0), "{stderr}");
        stdout
    };
    let table = of("32", &["--run-dir", "run"]);
    for words in [
        "compute savers keep every entry",
        "warning: `gated` was trained with native sparse attention",
    ] {
        assert!(table.contains(words), "{words}: {table}");
    }
    let method = |results: &Value| results["parts"][0]["tasks"][0]["methods"][1].clone();
    let found = method(&desk.json("run/results.json"));
    assert_eq!(found["name"], METHOD);
    assert_eq!(found["skipping"]["method"], "nsa");
    assert_eq!(found["skipping"]["branches"]["num_blocks"], 3);
    assert_eq!(found["summary"]["kv_counted"]["kv_footprint"], 1.0);
    let share = found["summary"]["compute_share"].as_f64().unwrap();
    assert!(share < 0.7, "{share}");
    of("50", &["--run-dir", "other"]);
    let outputs = |dir: &str| -> Vec<Value> {
        let lines = desk.predictions(dir).into_iter();
        lines.map(|line| line["output_ids"].clone()).collect()
    };
    assert_eq!(outputs("run"), outputs("other"), "chunks change nothing");
    assert!(
        outputs("run")[..5] != outputs("run")[5..],
        "it is not full attention"
    );
    let words = [
        "generate",
        "--model",
        "gated",
        "--prompt",
        "let x = 1;",
        "--method",
        METHOD,
    ];
    let (code, _, stderr) = run(&desk, &[&words[..], &["--max-new-tokens", "4"]].concat());
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stderr.contains("KV footprint 1.0000"), "{stderr}");
}

#[test]
fn models_without_all_gates_are_refused_and_so_are_gates_where_nobody_reads_them() {
    let desk = Desk::new();
    gated(&desk, "gated", 2);
    gated(&desk, "half", 1);
    let asked = ["--task", "json_kv", "--lengths", "160", "--method", METHOD];
    for (model, code, words) in [
        ("model", "eval.missing", "carries `self_attn.g_proj`"),
        (
            "half",
            "model.tensor_missing",
            "model.layers.1.self_attn.g_proj.weight",
        ),
    ] {
        let (found, _, stderr) = run(&desk, &[&["eval", "--model", model][..], &asked].concat());
        assert_eq!(found, Some(2), "{stderr}");
        assert!(
            stderr.contains(&format!("[{code}]")) && stderr.contains(words),
            "{stderr}"
        );
    }
    std::fs::write(desk.path("a.txt"), "let x = 1;\n").unwrap();
    let (found, _, stderr) = run(&desk, &["score", "--model", "gated", "a.txt"]);
    assert_eq!(found, Some(2), "{stderr}");
    assert!(stderr.contains("self_attn.g_proj"), "{stderr}");
}
