//! `prulong pretrain` that starts from another model's weights.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// One step whose learning rates are below what bf16 can hold: the model must come out as it went in.
const CONFIG: &str = r#"
seed = 1
tokenizer = "TINY/tokenizer.json"

[model]
num_layers = 4
hidden_size = 256
num_heads = 16
num_kv_heads = 8
head_dim = 32
intermediate_size = 768
rope_theta = 500000.0
max_position_embeddings = 4096
dtype = "f32"

[init]
from = "TINY"

[optimizer]
adam_lr = 1e-12

[[stage]]
name = "nothing"
steps = 1
seq_len = 48
batch_len = 1
muon_lr = 1e-12
muon_lr_end = 1e-12
mix = [{ kind = "random-repeats", weight = 1.0, span_min = 16, span_max = 16 }]

[checkpoint]
every = 1
"#;

fn tiny() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("checkpoints/tiny")
}

fn pretrain(dir: &Path, more: &[&str]) -> Output {
    let config = CONFIG.replace("TINY", tiny().to_str().unwrap());
    std::fs::write(dir.join("pretrain.toml"), config).unwrap();
    Command::new(env!("CARGO_BIN_EXE_prulong"))
        .args(["pretrain", "--config"])
        .arg(dir.join("pretrain.toml"))
        .arg("--run-dir")
        .arg(dir.join("run"))
        .args(more)
        .output()
        .unwrap()
}

#[test]
fn the_first_step_starts_from_the_named_weights() {
    let dir = tempfile::tempdir().unwrap();
    let output = pretrain(dir.path(), &[]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    let bytes = |path: PathBuf| std::fs::read(path.join("model.safetensors")).unwrap();
    let (before, after) = (bytes(tiny()), bytes(dir.path().join("run/model")));
    let before = safetensors::SafeTensors::deserialize(&before).unwrap();
    let after = safetensors::SafeTensors::deserialize(&after).unwrap();
    assert_eq!(before.len(), after.len());
    for (name, tensor) in before.tensors() {
        assert!(
            tensor.data() == after.tensor(&name).unwrap().data(),
            "{name} is another one"
        );
    }
}

#[test]
fn weights_of_another_size_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let output = pretrain(dir.path(), &["--set", "model.num_layers=3"]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(
        text.contains("layers of init.from: found 4, the model needs 3"),
        "{text}"
    );
    assert!(!dir.path().join("run").exists(), "something was written");
}
