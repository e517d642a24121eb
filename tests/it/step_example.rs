//! `examples/step.rs`: what it writes is what the engine finds, documents stay apart, and bad batches are refused.

use crate::step::{Args, call, step};
use clap::Parser;
use prulong::attention::gated::GatedAttention;
use prulong::attention::reference::Reference;
use prulong::fault::AnyFault;
use prulong::model::block::Saving;
use prulong::model::config::ModelConfig;
use prulong::model::config::WeightDtype;
use prulong::model::init::{Init, Outputs, fresh_tensors};
use prulong::model::llama::Llama;
use prulong::model::save::SavedModel;
use prulong::model::train_pass::{ModelGrads, PassSettings, Row, TrainPass};
use prulong::span::Span;
use prulong::torch::offload::Offload;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use tch::{Device, Kind};

const CONFIG: &str = r#"{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 29,
    "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
    "max_position_embeddings": 64, "hidden_act": "silu", "tie_word_embeddings": false}"#;
const SPANS: [[i64; 2]; 4] = [[0, 13], [15, 16], [16, 16], [20, 40]];
const Z: [f32; 4] = [0.3, 1.0, 0.0, 0.8];

/// A folder with a random model; batches and results go beside it.
struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = ModelConfig::parse(CONFIG).unwrap();
        let init = Init {
            embedding_std: 1.0,
            outputs: Outputs::Drawn,
            seed: 3,
        };
        let tensors = fresh_tensors(&config, init, Device::Cpu);
        let model = SavedModel {
            config: &config,
            tensors: tensors.iter().map(|(name, x)| (name.clone(), x)).collect(),
            dtype: WeightDtype::F32,
            companions: Vec::new(),
        };
        model.write(&folder.path().join("model")).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn words(&self, batch: &str, more: &str) -> Vec<OsString> {
        let mut words: Vec<OsString> = vec!["step".into(), "--model".into()];
        words.push(self.path("model").into());
        words.extend(["--batch".into(), self.path(batch).into()]);
        words.extend(["--out".into(), self.path("out.safetensors").into()]);
        let common =
            format!("--device cpu --threads 1 --dtype f64 --block 1 --sink 1 --window 3 {more}");
        words.extend(common.split_whitespace().map(OsString::from));
        words
    }

    /// Steps over a batch and reads the result.
    fn run(&self, batch: &Batch, more: &str) -> BTreeMap<String, (Vec<usize>, Vec<f32>)> {
        batch.write(&self.path("in.safetensors"));
        let args = Args::try_parse_from(self.words("in.safetensors", more)).unwrap();
        step(&args).unwrap_or_else(|error| panic!("{error}"));
        read(&self.path("out.safetensors"))
    }

    fn failure(&self, more: &str) -> AnyFault {
        let args = Args::try_parse_from(self.words("in.safetensors", more)).unwrap();
        step(&args).unwrap_err()
    }
}

/// A batch as it is written.
#[derive(Clone)]
struct Batch {
    tokens: Vec<i64>,
    spans: Vec<[i64; 2]>,
    z: Vec<f32>,
    z_shape: Vec<usize>,
}

impl Batch {
    fn new() -> Self {
        Self {
            tokens: (0..43).map(|i| (i * i + 5 * i) % 29).collect(),
            spans: SPANS.to_vec(),
            z: Z.to_vec(),
            z_shape: vec![2, 2],
        }
    }

    fn write(&self, path: &Path) {
        let (tokens, z): (&[u8], &[u8]) = (
            bytemuck::cast_slice(&self.tokens),
            bytemuck::cast_slice(&self.z),
        );
        let spans: &[u8] = bytemuck::cast_slice(&self.spans);
        let view = TensorView::new;
        let tensors = [
            (
                "tokens",
                view(Dtype::I64, vec![self.tokens.len()], tokens).unwrap(),
            ),
            (
                "spans",
                view(Dtype::I64, vec![self.spans.len(), 2], spans).unwrap(),
            ),
            ("z", view(Dtype::F32, self.z_shape.clone(), z).unwrap()),
        ];
        safetensors::serialize_to_file(tensors, None, path).unwrap();
    }
}

fn read(path: &Path) -> BTreeMap<String, (Vec<usize>, Vec<f32>)> {
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensors = file.tensors().into_iter().map(|(name, view)| {
        assert_eq!(view.dtype(), Dtype::F32, "{name}");
        let values = view
            .data()
            .chunks_exact(4)
            .map(|value| f32::from_le_bytes(value.try_into().unwrap()));
        (name, (view.shape().to_vec(), values.collect()))
    });
    tensors.collect()
}

/// The file holds f32 of f64 results: equal to a few units in its last place, relative to the tensor's largest value.
#[track_caller]
fn assert_close(found: &[f32], expected: &[f64], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(1e-12_f64, |max, x| max.max(x.abs()));
    for (found, expected) in found.iter().zip(expected) {
        let error = (f64::from(*found) - expected).abs() / largest;
        assert!(error <= 1e-6, "{what}: {found} for {expected}");
    }
}

fn values(x: &tch::Tensor) -> Vec<f64> {
    Vec::try_from(x.to_kind(Kind::Double).flatten(0, -1)).unwrap()
}

#[test]
fn loss_and_gradients_equal_the_engine_on_the_plain_backend() {
    let bench = Bench::new();
    let batch = Batch::new();
    let model = Llama::load(&bench.path("model"), Kind::Double, Device::Cpu).unwrap();
    let (mut ids, mut labels, mut lens) = (Vec::new(), Vec::new(), Vec::new());
    for [start, end] in SPANS.map(|span| span.map(|at| usize::try_from(at).unwrap())) {
        ids.extend_from_slice(&batch.tokens[start..end]);
        labels.extend((start..end).map(|i| if i == start { -100 } else { batch.tokens[i] }));
        lens.push(end - start);
    }
    let span = Span::new(1, 3, 1).unwrap();
    let pass = TrainPass {
        model: &model,
        attention: GatedAttention {
            backend: &Reference,
            span: Some(&span),
        },
        settings: PassSettings {
            saving: Saving::Inputs,
            offload: Offload::None,
            mlp_chunk_len: 7,
            loss_chunk_len: 5,
        },
    };
    let row = Row::new(&model, &ids, &labels, &lens);
    let z: Vec<Vec<f64>> = Z
        .chunks(2)
        .map(|layer| layer.iter().map(|z| f64::from(*z)).collect())
        .collect();
    let mut grads = ModelGrads::zeros(&model);
    let num_targets = 12.0 + 19.0;
    let expected = pass.run(&row, &z, 1.0 / num_targets, Some(&mut grads));
    for saving in ["x", "x+attention", "all"] {
        let found = bench.run(&batch, &format!("--weight-grads --saving {saving}"));
        assert_eq!(found.len(), 2 + model.named_tensors().len(), "{saving}");
        assert_eq!(found["loss"].0, [1]);
        assert_close(
            &found["loss"].1,
            &[expected.loss_sum / num_targets],
            "the loss",
        );
        assert_eq!(found["dz"].0, [2, 2]);
        assert_close(&found["dz"].1, &expected.dz, "dz");
        assert!(found["dz"].1[0] != 0.0 && found["dz"].1[3] != 0.0);
        for ((name, weight), grad) in model.named_tensors().iter().zip(grads.tensors()) {
            let (shape, found) = &found[name];
            let sizes: Vec<usize> = weight
                .size()
                .iter()
                .map(|size| usize::try_from(*size).unwrap())
                .collect();
            assert_eq!(shape, &sizes, "{name}");
            assert_close(found, &values(grad), name);
        }
    }
    assert_eq!(
        bench.run(&batch, "").len(),
        2,
        "no weight gradients asked for"
    );
}

#[test]
fn documents_stay_apart_and_what_no_span_covers_does_not_exist() {
    let bench = Bench::new();
    let whole = bench.run(&Batch::new(), "");
    let mut other = Batch::new();
    for at in [13, 14, 17, 40, 42] {
        other.tokens[at] = -7;
    }
    assert_eq!(bench.run(&other, ""), whole, "tokens outside every span");

    let alone = |span: [i64; 2]| {
        let mut batch = Batch::new();
        batch.spans = vec![span];
        bench.run(&batch, "")
    };
    let (first, last) = (alone([0, 13]), alone([20, 40]));
    for name in ["loss", "dz"] {
        let mean = |(a, b): (&f32, &f32)| (12.0 * f64::from(*a) + 19.0 * f64::from(*b)) / 31.0;
        let pairs = first[name].1.iter().zip(&last[name].1);
        let expected: Vec<f64> = pairs.map(mean).collect();
        assert_close(&whole[name].1, &expected, name);
    }
    let mut joined = Batch::new();
    joined.spans = vec![[0, 40]];
    assert_ne!(bench.run(&joined, "")["loss"], whole["loss"]);
}

#[test]
fn timing_prints_its_samples_and_what_ran() {
    let bench = Bench::new();
    Batch::new().write(&bench.path("in.safetensors"));
    let words = bench.words("in.safetensors", "--repeat 3 --saving all");
    let report = step(&Args::try_parse_from(words).unwrap());
    let report = report.unwrap_or_else(|error| panic!("{error}")).unwrap();
    let report = serde_json::to_value(report).unwrap();
    for times in ["samples_ms", "cpu_ms"] {
        assert_eq!(report[times].as_array().unwrap().len(), 3, "{times}");
    }
    for (key, expected) in [
        ("backend", "cpu-flash".into()),
        ("device", "cpu".into()),
        ("dtype", "f64".into()),
        ("saving", "all".into()),
        ("threads", 1.into()),
        ("num_tokens", 34.into()),
        ("num_targets", 31.into()),
    ] as [(&str, serde_json::Value); 7]
    {
        assert_eq!(report[key], expected, "{key}");
    }
    assert!(report["tokens_per_s"].as_f64().unwrap() > 0.0);
    assert!(report["peak_rss_bytes"].as_u64() >= report["loaded_rss_bytes"].as_u64());
}

#[test]
fn bad_batches_end_with_2_and_name_the_tensor_and_the_item() {
    let bench = Bench::new();
    let path = bench.path("in.safetensors");
    let changed = |change: &dyn Fn(&mut Batch)| {
        let mut batch = Batch::new();
        change(&mut batch);
        batch.write(&path);
        assert_eq!(call(bench.words("in.safetensors", "")), 2);
        let failure = bench.failure("");
        let hint = failure.hint().unwrap();
        format!("{failure} | {hint}").replace(&path.display().to_string(), "IN")
    };
    let spans = "spans are (start, end) in ascending order, end exclusive";
    for (change, expected) in [
        (
            &(|batch: &mut Batch| batch.spans[3] = [20, 44]) as &dyn Fn(&mut Batch),
            format!("`IN`: `spans`, item 3: [20, 44] does not lie in the 43 tokens | {spans}"),
        ),
        (
            &|batch: &mut Batch| batch.spans[0] = [-1, 3],
            format!("`IN`: `spans`, item 0: [-1, 3] has a negative end | {spans}"),
        ),
        (
            &|batch: &mut Batch| batch.spans[1] = [12, 16],
            format!("`IN`: `spans`, item 1: [12, 16] begins before 13, where the one before it ends | {spans}"),
        ),
        (
            &|batch: &mut Batch| batch.tokens[21] = 29,
            "`IN`: `tokens`, item 21: 29 is no token of a vocabulary of 29 | use ids of this model's tokenizer; \
             what no span covers may hold anything"
                .to_owned(),
        ),
        (
            &|batch: &mut Batch| batch.z[2] = f32::NAN,
            "`IN`: `z`, item 2: NaN is not in [0, 1] | a gate is 1 for a retrieval head, 0 for a streaming head, or between"
                .to_owned(),
        ),
        (
            &|batch: &mut Batch| batch.z_shape = vec![4, 1],
            "`IN`: tensor `z` is F32 [4, 1], expected F32 [2, 2] | a batch holds `tokens` i64 [T], `spans` i64 [n, 2] \
             and `z` f32 [layers, kv_heads]"
                .to_owned(),
        ),
        (
            &|batch: &mut Batch| batch.spans = vec![[0, 1], [5, 5]],
            "`IN` has no target: no span holds two tokens | give at least one span of two tokens".to_owned(),
        ),
    ] {
        assert_eq!(changed(change), expected);
    }
    assert!(
        !bench.path("out.safetensors").exists(),
        "nothing was written"
    );
}

#[test]
fn bad_files_and_flags_end_with_their_codes() {
    let bench = Bench::new();
    let path = bench.path("in.safetensors");
    assert_eq!(call(bench.words("in.safetensors", "")), 2, "no such batch");
    std::fs::write(&path, b"not safetensors").unwrap();
    assert_eq!(bench.failure("").code(), "tensor_file.format");
    let no_tensors: [(&str, TensorView); 0] = [];
    safetensors::serialize_to_file(no_tensors, None, &path).unwrap();
    assert!(
        bench
            .failure("")
            .to_string()
            .contains("tensor `tokens` is missing")
    );
    Batch::new().write(&path);
    for (more, code) in [
        ("--no-such-flag", 2),
        ("--block 2", 2),
        ("--window 0", 2),
        ("--threads 0", 2),
        ("--model no-such-folder", 2),
        ("--out no-such-folder/out.safetensors", 4),
        ("--help", 0),
    ] {
        let mut words = bench.words("in.safetensors", "");
        let more: Vec<OsString> = more.split_whitespace().map(OsString::from).collect();
        // A flag given twice is refused, so the new value takes the place of the old one.
        match words.iter().position(|word| *word == more[0]) {
            Some(at) => words[at + 1].clone_from(&more[1]),
            None => words.extend(more.iter().cloned()),
        }
        assert_eq!(call(words), code, "{more:?}");
    }
}
