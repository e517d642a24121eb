//! `prulong score`: the numbers of transformers, whatever the chunk; text through the model's tokenizer.

use crate::golden_logits::{expected, folder};
use assert_cmd::cargo::cargo_bin_cmd;
use prulong::data::tokenizer::Tokenizer;
use prulong::model::config::{ModelConfig, WeightDtype};
use prulong::model::save::SavedModel;
use prulong::model::tensor_names;
use prulong::random;
use rand::Rng;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tch::Tensor;
use tempfile::TempDir;

fn score(model: &Path, file: &Path, flags: &[&str]) -> std::process::Output {
    cargo_bin_cmd!("prulong")
        .args(["score", "--device", "cpu", "--model"])
        .args([model, file])
        .args(flags)
        .output()
        .unwrap()
}

fn scored(model: &Path, file: &Path, flags: &[&str]) -> Vec<f64> {
    let output = score(model, file, &[flags, &["--json"]].concat());
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let nll: Vec<f64> = serde_json::from_value(answer["nll"].clone()).unwrap();
    assert_eq!(answer["num_tokens"], nll.len());
    let mean = nll.iter().sum::<f64>() / f64::from(u32::try_from(nll.len()).unwrap());
    let perplexity = answer["perplexity"].as_f64().unwrap();
    assert!((perplexity / mean.exp() - 1.0).abs() < 1e-12);
    nll
}

fn refused(model: &Path, file: &Path, flags: &[&str], code: &str) {
    let output = score(model, file, flags);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains(&format!("error[{code}]")), "{text}");
    assert!(output.stdout.is_empty());
}

fn max_difference(ours: &[f64], theirs: &[f64]) -> f64 {
    assert_eq!(ours.len(), theirs.len());
    let differences = ours.iter().zip(theirs).map(|(a, b)| (a - b).abs());
    differences.fold(0.0, f64::max)
}

#[test]
fn losses_of_ids_match_transformers_in_chunks_of_any_length() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ids.json");
    for name in ["gqa-llama3", "sharded-bf16"] {
        let (ids, logits) = expected(name);
        let targets = Tensor::from_slice(&ids[1..]);
        let rows = logits
            .narrow(0, 0, targets.numel().try_into().unwrap())
            .to_kind(tch::Kind::Double);
        let chosen = rows.gather(1, &targets.unsqueeze(1), false).squeeze_dim(1);
        let theirs = Vec::<f64>::try_from(rows.logsumexp(1, false) - chosen).unwrap();
        std::fs::write(&file, json!(ids).to_string()).unwrap();
        for chunk in ["1", "7", "512"] {
            let ours = scored(&folder(name), &file, &["--tokens", "--chunk", chunk]);
            let error = max_difference(&ours, &theirs);
            assert!(error < 1e-4, "{name}, chunk {chunk}: {error}");
        }
    }
}

/// A random model with the tokenizer of the tiny checkpoint.
fn model_with_tokenizer(root: &TempDir) -> PathBuf {
    let companion = Path::new(env!("CARGO_MANIFEST_DIR")).join("checkpoints/tiny/tokenizer.json");
    let tokenizer = Tokenizer::from_file(&companion).unwrap();
    let document = json!({
        "model_type": "llama", "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1,
        "vocab_size": tokenizer.vocab_size(), "num_attention_heads": 2, "rms_norm_eps": 1e-5,
        "max_position_embeddings": 8
    });
    let config = ModelConfig::parse(&document.to_string()).unwrap();
    let mut rng = random::stream("score-test", &[]);
    let tensors: BTreeMap<String, Tensor> = tensor_names::expected(&config)
        .into_iter()
        .map(|(name, shape)| {
            let draw = |_| f64::from(rng.next_u32()) / f64::from(u32::MAX) - 0.5;
            let values: Vec<f64> = (0..shape.iter().product()).map(draw).collect();
            let sizes: Vec<i64> = shape
                .iter()
                .map(|size| i64::try_from(*size).unwrap())
                .collect();
            (name, Tensor::from_slice(&values).view(sizes.as_slice()))
        })
        .collect();
    let dir = root.path().join("model");
    let model = SavedModel {
        config: &config,
        tensors: tensors
            .iter()
            .map(|(name, tensor)| (name.clone(), tensor))
            .collect(),
        dtype: WeightDtype::F32,
        companions: vec![companion],
    };
    model.write(&dir).unwrap();
    dir
}

#[test]
fn text_is_scored_with_one_begin_token_in_front() {
    let root = tempfile::tempdir().unwrap();
    let model = model_with_tokenizer(&root);
    let tokenizer = Tokenizer::from_file(&model).unwrap();
    let text = "fn main() {\n    println!(\"{}\", 1234567);\n}\n";
    let mut ids = vec![tokenizer.bos()];
    ids.extend(tokenizer.encode(text).unwrap());
    let spaced: Vec<String> = ids.iter().map(u32::to_string).collect();
    let files = [
        ("text", text.to_owned()),
        ("begun", format!("<|begin_of_text|>{text}")),
        ("ids", spaced.join(" \n")),
    ];
    for (name, content) in &files {
        std::fs::write(root.path().join(name), content).unwrap();
    }
    let of = |name: &str, flags: &[&str]| scored(&model, &root.path().join(name), flags);
    let by_text = of("text", &[]);
    assert_eq!(by_text.len(), ids.len() - 1);
    let spelt = tokenizer.encode("<|begin_of_text|>").unwrap().len();
    assert!(spelt > 1, "special tokens in a text are plain text");
    assert_eq!(of("begun", &[]).len(), by_text.len() + spelt);
    assert_eq!(by_text, of("ids", &["--tokens"]));

    let output = score(&model, &root.path().join("text"), &[]);
    let line = String::from_utf8(output.stdout).unwrap();
    assert!(
        line.starts_with(&format!("{} tokens", ids.len() - 1)),
        "{line}"
    );
    let warning = String::from_utf8(output.stderr).unwrap();
    assert!(warning.contains("warning[model.positions]"), "{warning}");
}

#[test]
fn what_cannot_be_scored_is_refused_with_a_code() {
    let root = tempfile::tempdir().unwrap();
    let model = folder("mha");
    let file = root.path().join("ids");
    for (content, flags, code) in [
        (&b"[1, 64]"[..], &["--tokens"][..], "score.token"),
        (b"[1, -2]", &["--tokens"], "score.ids"),
        (b"1 2.0", &["--tokens"], "score.ids"),
        (b"[1, 2", &["--tokens"], "score.ids"),
        (b"[]", &["--tokens"], "score.too_short"),
        (b"7", &["--tokens"], "score.too_short"),
        (b"\xff", &["--tokens"], "data.utf8"),
        (b"some text", &[], "tok.missing"),
    ] {
        std::fs::write(&file, content).unwrap();
        refused(&model, &file, flags, code);
    }
    std::fs::write(&file, "1 2 3").unwrap();
    refused(root.path(), &file, &["--tokens"], "model.missing_file");
}
