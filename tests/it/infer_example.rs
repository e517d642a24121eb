//! `examples/infer.rs`: what it writes is what the engine answers, its bytes are those of the caches, and bad prompts are refused.

use crate::infer::{Args, Report, call, infer};
use clap::Parser;
use prulong::attention::reference::Reference;
use prulong::fault::AnyFault;
use prulong::infer::decode::Limits;
use prulong::infer::generate::Engine;
use prulong::infer::policy::Policy;
use prulong::infer::policy::full::Full;
use prulong::infer::policy::head_mask::HeadMaskPolicy;
use prulong::mask::head_mask::HeadMask;
use prulong::model::config::{ModelConfig, WeightDtype};
use prulong::model::init::{Init, Outputs, fresh_tensors};
use prulong::model::llama::Llama;
use prulong::model::save::SavedModel;
use prulong::span::{Span, StreamingRule};
use prulong::torch::host;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use tch::{Device, Kind};

const CONFIG: &str = r#"{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 29,
    "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
    "max_position_embeddings": 64, "hidden_act": "silu", "tie_word_embeddings": false}"#;
const Z: [f32; 4] = [0.0, 1.0, 0.0, 0.0];
const NEW_TOKENS: usize = 5;
/// Bytes of an entry in f64.
const ENTRY: usize = 2 * 8 * 8;

/// A folder with a random model; prompts and answers go beside it.
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

    fn words(&self, more: &str) -> Vec<OsString> {
        let mut words: Vec<OsString> = vec!["infer".into(), "--model".into()];
        words.push(self.path("model").into());
        words.extend(["--prompt".into(), self.path("in.safetensors").into()]);
        words.extend(["--out".into(), self.path("out.safetensors").into()]);
        let common = format!(
            "--device cpu --threads 1 --dtype f64 --chunk 7 --new-tokens {NEW_TOKENS} {more}"
        );
        words.extend(common.split_whitespace().map(OsString::from));
        words
    }

    fn write(&self, tokens: &[i64], z: &[f32]) {
        let view = |dtype, len, bytes| TensorView::new(dtype, len, bytes).unwrap();
        let tensors = [
            (
                "tokens",
                view(Dtype::I64, vec![tokens.len()], bytemuck::cast_slice(tokens)),
            ),
            (
                "z",
                view(Dtype::F32, vec![z.len() / 2, 2], bytemuck::cast_slice(z)),
            ),
        ];
        safetensors::serialize_to_file(tensors, None, &self.path("in.safetensors")).unwrap();
    }

    fn run(&self, more: &str) -> Result<Report, AnyFault> {
        infer(&Args::try_parse_from(self.words(more)).unwrap())
    }

    /// The answer and the logits of its first token.
    fn answer(&self) -> (Vec<i64>, Vec<f32>) {
        let bytes = std::fs::read(self.path("out.safetensors")).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let [output, logits] = ["output", "logits"].map(|name| file.tensor(name).unwrap());
        let (output, _) = output.data().as_chunks::<8>();
        let (logits, _) = logits.data().as_chunks::<4>();
        (
            output.iter().copied().map(i64::from_le_bytes).collect(),
            logits.iter().copied().map(f32::from_le_bytes).collect(),
        )
    }

    /// What the engine answers on the plain backend, and its logits after the whole prompt.
    fn expected(&self, policy: &dyn Policy, order: Option<&[Vec<usize>]>) -> (Vec<i64>, Vec<f32>) {
        let mut llama = Llama::load(&self.path("model"), Kind::Double, Device::Cpu).unwrap();
        if let Some(order) = order {
            llama.permute_kv_heads(order);
        }
        let engine = Engine {
            llama: &llama,
            backend: Arc::new(Reference),
            chunk_len: 7,
        };
        let limits = Limits {
            max_new_tokens: NEW_TOKENS,
            stop_tokens: Vec::new(),
        };
        let prompt = tokens();
        let answered = engine.generate(policy, &prompt, &limits);
        let answered = answered.unwrap_or_else(|error| panic!("{error}"));
        let mut cache = engine
            .open_cache(policy, prompt.len())
            .unwrap_or_else(|error| panic!("{error}"));
        let (head, last) = prompt.split_at(prompt.len() - 1);
        prulong::infer::prefill::prefill(&llama, &mut cache, head, 7)
            .unwrap_or_else(|error| panic!("{error}"));
        let hidden = llama.forward_cached(last, head.len(), &mut cache);
        let hidden = hidden.unwrap_or_else(|error| panic!("{error}"));
        (answered.output, host::to_f32(&llama.logits(&hidden)))
    }
}

/// 41 tokens: five chunks of 7 and one of 5 before the last.
fn tokens() -> Vec<i64> {
    (0..41).map(|i| (i * i + 5 * i) % 29).collect()
}

fn assert_same(found: &(Vec<i64>, Vec<f32>), expected: &(Vec<i64>, Vec<f32>), what: &str) {
    assert_eq!(found.0, expected.0, "{what}");
    for (found, expected) in found.1.iter().zip(&expected.1) {
        assert!(
            (found - expected).abs() < 1e-5,
            "{what}: {found} for {expected}"
        );
    }
    assert_eq!(found.1.len(), expected.1.len(), "{what}");
}

#[test]
fn answers_and_logits_equal_the_engine_on_the_plain_backend() {
    let bench = Bench::new();
    bench.write(&tokens(), &Z);
    bench
        .run("--method full")
        .unwrap_or_else(|error| panic!("{error}"));
    let full = bench.answer();
    assert_same(&full, &bench.expected(&Full, None), "full");
    let mask = HeadMask::new(2, 2, Z.iter().map(|z| *z > 0.5).collect()).unwrap();
    for (word, rule) in [
        ("sliding", StreamingRule::Sliding),
        ("duo-chunk", StreamingRule::DuoChunk),
        ("frozen-prompt", StreamingRule::FrozenPrompt),
    ] {
        let flags = format!("--method mask --sink 1 --window 3 --rule {word}");
        bench.run(&flags).unwrap_or_else(|error| panic!("{error}"));
        let policy = HeadMaskPolicy::new(&mask, Span::new(1, 3, 1).unwrap(), rule);
        let found = bench.answer();
        assert_same(&found, &bench.expected(&policy, Some(policy.order())), word);
        assert_ne!(found.1, full.1, "{word}");
    }
}

#[test]
fn reports_hold_times_and_the_bytes_of_the_caches() {
    let bench = Bench::new();
    bench.write(&tokens(), &Z);
    let report = |flags: &str| {
        let report = bench.run(flags).unwrap_or_else(|error| panic!("{error}"));
        serde_json::to_value(report).unwrap()
    };
    let full = report("--method full --repeat 3");
    for times in ["prefill_ms", "prefill_cpu_ms", "decode_ms", "decode_cpu_ms"] {
        assert_eq!(full["cost"][times].as_array().unwrap().len(), 3, "{times}");
    }
    for speed in ["prefill_tokens_per_s", "decode_tokens_per_s"] {
        assert!(full["cost"][speed].as_f64().unwrap() > 0.0, "{speed}");
    }
    for (key, expected) in [
        ("method", "full".into()),
        ("rule", serde_json::Value::Null),
        ("chunk_len", 7.into()),
        ("backend", "cpu-flash".into()),
        ("device", "cpu".into()),
        ("dtype", "f64".into()),
        ("threads", 1.into()),
    ] {
        assert_eq!(full[key], expected, "{key}");
    }
    assert!(full["peak_rss_bytes"].as_u64() >= full["loaded_rss_bytes"].as_u64());
    // 40 prefilled tokens and 5 queries, 4 kv heads.
    let bytes = |report: &serde_json::Value, key: &str| report["cost"][key].as_u64();
    assert_eq!(bytes(&full, "kv_bytes"), Some((4 * 45 * ENTRY) as u64));
    assert_eq!(bytes(&full, "kv_peak_bytes"), bytes(&full, "kv_bytes"));
    assert_eq!(full["cost"]["kv_footprint"], 1.0);

    // One retrieval head of 45 entries, three of a sink and the last two: the third is the next query's own.
    let mask = report("--method mask --sink 1 --window 3");
    assert_eq!(mask["rule"], "sliding");
    assert_eq!(
        bytes(&mask, "kv_bytes"),
        Some(((45 + 3 * 3) * ENTRY) as u64)
    );
    assert!(bytes(&mask, "kv_peak_bytes") < bytes(&full, "kv_peak_bytes"));
    assert!(mask["cost"]["kv_footprint"].as_f64() < Some(0.5));
}

#[test]
fn bad_prompts_and_flags_end_with_their_codes() {
    let bench = Bench::new();
    assert_eq!(call(bench.words("")), 2, "no such prompt");
    let failure = |tokens: &[i64], z: &[f32], more: &str| {
        bench.write(tokens, z);
        assert_eq!(call(bench.words(more)), 2);
        let error = bench.run(more).unwrap_err();
        let text = format!("{error} | {}", error.hint().unwrap_or_default());
        text.replace(&bench.path("in.safetensors").display().to_string(), "IN")
    };
    let mask = "--method mask --sink 1 --window 3";
    let layout = "a prompt holds `tokens` i64 [T], T at least 1; for `--method mask` also `z` f32 [layers, kv_heads]";
    for (found, expected) in [
        (
            failure(&[3, 29], &Z, ""),
            "`IN`: `tokens`, item 1: 29 is no token of a vocabulary of 29 | use ids of this model's tokenizer".to_owned(),
        ),
        (
            failure(&[], &Z, ""),
            format!("`IN`: tensor `tokens` is I64 [0], expected I64 [T] | {layout}"),
        ),
        (
            failure(&[3], &[1.0, 0.0, 0.5, 0.0], mask),
            "`IN`: `z`, item 2: 0.5 is neither 0 nor 1 | a mask says 1 for a retrieval head and 0 for a streaming head".to_owned(),
        ),
        (
            failure(&[3], &[1.0, 0.0], mask),
            format!("`IN`: tensor `z` is F32 [1, 2], expected F32 [2, 2] | {layout}"),
        ),
    ] {
        assert_eq!(found, expected);
    }
    assert!(
        !bench.path("out.safetensors").exists(),
        "nothing was written"
    );
    bench.write(&tokens(), &Z);
    for (more, code) in [
        ("--no-such-flag", 2),
        ("--method snap", 2),
        ("--method mask", 2),
        ("--method mask --sink 1 --window 0", 2),
        ("--method mask --mask no-such-folder", 2),
        ("--mask no-such-folder", 2),
        ("--method snapkv:0.5:window=2 --mask no-such-folder", 2),
        ("--method full --sink 1 --window 3", 2),
        ("--method nsa", 2),
        ("--method snapkv:0.5", 2),
        ("--method snapkv:0.5:window=2", 0),
        ("--repeat 0", 2),
        ("--help", 0),
    ] {
        assert_eq!(call(bench.words(more)), code, "{more}");
    }
}
