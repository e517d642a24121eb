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
        .args(["score", "--device", "cpu", "--dtype", "f32", "--model"])
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
    let num_bytes = std::fs::metadata(file).unwrap().len();
    if flags.contains(&"--tokens") {
        assert!(answer.get("bits_per_byte").is_none());
    } else {
        assert_bits(&answer, &nll, num_bytes);
    }
    let mean = nll.iter().sum::<f64>() / f64::from(u32::try_from(nll.len()).unwrap());
    let perplexity = answer["perplexity"].as_f64().unwrap();
    assert!((perplexity / mean.exp() - 1.0).abs() < 1e-12);
    nll
}

/// Bits per byte as the help defines them.
fn assert_bits(answer: &Value, nll: &[f64], num_bytes: u64) {
    assert_eq!(answer["num_bytes"], num_bytes);
    let bits: f64 = nll.iter().map(|nats| nats / std::f64::consts::LN_2).sum();
    let expected = bits / f64::from(u32::try_from(num_bytes).unwrap());
    let found = answer["bits_per_byte"].as_f64().unwrap();
    assert!((found / expected - 1.0).abs() < 1e-12, "{found} {expected}");
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
fn a_text_that_the_model_s_positions_hold_is_no_reason_to_warn() {
    let root = tempfile::tempdir().unwrap();
    let model = model_with_tokenizer(&root);
    let file = root.path().join("ids");
    let warns = |num_ids: usize| {
        std::fs::write(&file, "7 ".repeat(num_ids)).unwrap();
        let output = score(&model, &file, &["--tokens"]);
        assert!(output.status.success());
        String::from_utf8_lossy(&output.stderr).contains("warning[model.positions]")
    };
    // The model has 8 positions, and the last token is not read.
    assert!(!warns(9));
    assert!(warns(10));
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

#[test]
fn windows_equal_passes_over_their_own_tokens() {
    let root = tempfile::tempdir().unwrap();
    let model = model_with_tokenizer(&root);
    let tokenizer = Tokenizer::from_file(&model).unwrap();
    let text = "fn main() {\n    println!(\"{}\", 1234567);\n}\n".repeat(2);
    let file = root.path().join("text");
    std::fs::write(&file, &text).unwrap();
    let tokens = tokenizer.encode(&text).unwrap();
    let of = |flags: &[&str]| scored(&model, &file, flags);
    let pass = |front: u32, tokens: &[u32]| {
        let ids: Vec<u32> = std::iter::once(front)
            .chain(tokens.iter().copied())
            .collect();
        let file = root.path().join("ids");
        std::fs::write(&file, json!(ids).to_string()).unwrap();
        scored(&model, &file, &["--tokens"])
    };
    // A context that holds the whole text, exactly or amply, is one pass.
    let whole = of(&[]);
    let exact = tokens.len().to_string();
    assert_eq!(of(&["--context", "4096"]), whole);
    assert_eq!(of(&["--context", &exact, "--bos", "document"]), whole);

    let (begun, continued): (Vec<_>, Vec<_>) = (0..tokens.len())
        .step_by(5)
        .map(|start| {
            let window = &tokens[start..tokens.len().min(start + 5)];
            let before = start
                .checked_sub(1)
                .map_or(tokenizer.bos(), |at| tokens[at]);
            (pass(tokenizer.bos(), window), pass(before, window))
        })
        .unzip();
    assert_eq!(of(&["--context", "5"]), begun.concat());
    let by_document = of(&["--context", "5", "--bos", "document"]);
    assert_eq!(by_document, continued.concat());
    assert_ne!(begun, continued);

    // With a stride, the first window counts in full and later ones with what is new in them.
    let mut strided = pass(tokenizer.bos(), &tokens[..5]);
    let mut start = 2;
    while strided.len() < tokens.len() {
        let window = &tokens[start..tokens.len().min(start + 5)];
        let known = strided.len() - start;
        strided.extend(&pass(tokenizer.bos(), window)[known..]);
        start += 2;
    }
    assert_eq!(of(&["--context", "5", "--stride", "2"]), strided);
    refused(
        &model,
        &file,
        &["--context", "5", "--stride", "6"],
        "score.stride",
    );
}

/// A model and a folder of six documents of 4 to 9 lines, each 18 bytes long.
struct Shelf {
    root: TempDir,
    model: PathBuf,
}

impl Shelf {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let model = model_with_tokenizer(&root);
        let shelf = Self { root, model };
        std::fs::create_dir(shelf.corpus()).unwrap();
        for i in 0..6 {
            let text = format!("let number_{i} = {i};\n").repeat(4 + i);
            std::fs::write(shelf.corpus().join(format!("{i}.rs")), text).unwrap();
        }
        shelf
    }

    fn corpus(&self) -> PathBuf {
        self.root.path().join("corpus")
    }

    fn run(&self, flags: &[&str]) -> std::process::Output {
        let source = format!("text={}", self.corpus().display());
        let fixed = [
            "score", "--device", "cpu", "--dtype", "f32", "--json", "--source", &source,
        ];
        let mut command = cargo_bin_cmd!("prulong");
        command
            .args(fixed)
            .args(flags)
            .arg("--model")
            .arg(&self.model);
        command.output().unwrap()
    }

    fn scored(&self, flags: &[&str]) -> Value {
        let output = self.run(flags);
        let notes = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{notes}");
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

#[test]
fn sources_score_like_their_files_and_dump_what_was_scored() {
    let shelf = Shelf::new();
    let dump = shelf.root.path().join("dump");
    let answer = shelf.scored(&[
        "--held-out",
        "1",
        "--max-bytes",
        "300",
        "--context",
        "6",
        "--dump",
        dump.to_str().unwrap(),
    ]);
    let dumped = std::fs::read(&dump).unwrap();
    assert_eq!(answer["blake3"], blake3::hash(&dumped).to_hex().as_str());
    assert!((280..=300).contains(&dumped.len()), "{}", dumped.len());

    let mut nll = Vec::new();
    let mut offset = 0;
    for document in answer["documents"].as_array().unwrap() {
        let end = offset + usize::try_from(document["num_bytes"].as_u64().unwrap()).unwrap();
        let name = document["id"].as_str().unwrap();
        let original = std::fs::read(shelf.corpus().join(name)).unwrap();
        assert!(original.starts_with(&dumped[offset..end]));
        assert!(original.len() == end - offset || end == dumped.len());
        let file = shelf.root.path().join("part");
        std::fs::write(&file, &dumped[offset..end]).unwrap();
        let own = scored(&shelf.model, &file, &["--context", "6"]);
        assert_bits(document, &own, (end - offset).try_into().unwrap());
        nll.extend(own);
        offset = end;
    }
    assert_eq!(offset, dumped.len());
    assert_bits(&answer, &nll, dumped.len().try_into().unwrap());
}

#[test]
fn documents_of_sources_are_limited_and_flags_that_cannot_work_are_refused() {
    let shelf = Shelf::new();
    let answer = shelf.scored(&["--held-out", "1", "--max-document-bytes", "50"]);
    let documents = answer["documents"].as_array().unwrap();
    assert_eq!(documents.len(), 6);
    let is_two_lines = |document: &Value| document["num_bytes"] == 36;
    assert!(documents.iter().all(is_two_lines), "{documents:?}");
    assert_eq!(answer["context"], 8, "the model's max_position_embeddings");

    let dump = shelf.root.path().join("dump");
    std::fs::write(&dump, "something else").unwrap();
    let refused = |flags: &[&str], code: &str| {
        let output = shelf.run(flags);
        assert_eq!(output.status.code(), Some(2));
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(text.contains(code), "{text}");
    };
    let dump = dump.to_str().unwrap();
    refused(&["--held-out", "0.0000001"], "data.empty");
    refused(&["--held-out", "1", "--dump", dump], "data.exists");
    refused(&["--held-out", "0"], "above 0");
    refused(&["--tokens"], "cannot be used with");

    let file = shelf.corpus().join("0.rs");
    for flags in [
        ["--held-out", "1"],
        ["--max-bytes", "1MB"],
        ["--max-document-bytes", "1MB"],
        ["--seed", "1"],
        ["--dump", "elsewhere"],
    ] {
        let output = score(&shelf.model, &file, &flags);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{flags:?} {text}");
        assert!(text.contains("cannot be used with"), "{text}");
    }
}
