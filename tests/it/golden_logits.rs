//! Forward logits of tiny random models against transformers, in one pass and in chunks over a growing cache.

use prulong::infer::cache::RowSpec;
use prulong::infer::model_cache::ModelCache;
use prulong::infer::policy::full::Full;
use prulong::model::config::ModelConfig;
use prulong::model::llama::Llama;
use prulong::model::weights::load_all;
use safetensors::SafeTensors;
use std::path::PathBuf;
use std::sync::Arc;
use tch::{Device, Kind, Tensor};

const TOLERANCE: f64 = 1e-4;
const MODELS: [&str; 7] = [
    "mha",
    "gqa-llama3",
    "head-dim",
    "tied",
    "linear",
    "sharded-bf16",
    "f16",
];

pub(crate) fn folder(name: &str) -> PathBuf {
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/llama");
    PathBuf::from(golden).join(name)
}

/// Input ids and the logits `[T, V]` that transformers computed.
pub(crate) fn expected(name: &str) -> (Vec<i64>, Tensor) {
    let bytes = std::fs::read(folder(name).join("expected.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let ids = file.tensor("input_ids").unwrap();
    let ids = ids.data().chunks_exact(4);
    let ids = ids.map(|id| i64::from(i32::from_le_bytes(id.try_into().unwrap())));
    let logits = file.tensor("logits").unwrap();
    let sizes: Vec<i64> = logits
        .shape()
        .iter()
        .map(|size| i64::try_from(*size).unwrap())
        .collect();
    let logits = Tensor::from_data_size(logits.data(), &sizes, Kind::Float);
    (ids.collect(), logits)
}

/// The model with its weights in f32, and as they are loaded for inference.
fn models(name: &str) -> [Llama; 2] {
    let loads = [Llama::load, Llama::load_for_inference];
    loads.map(|load| load(&folder(name), Kind::Float, Device::Cpu).unwrap())
}

/// Logits `[T, V]` with the text fed in pieces of at most `chunk_len` tokens.
fn logits(model: &Llama, ids: &[i64], chunk_len: usize) -> Tensor {
    let shape = model.config().shape;
    let spec = RowSpec {
        num_kv_heads: shape.num_kv_heads,
        head_dim: shape.head_dim,
        kind: Kind::Float,
        device: Device::Cpu,
        expected_len: ids.len(),
        backend: Arc::new(prulong::attention::reference::Reference),
    };
    let mut cache = ModelCache::open(&Full, shape.num_layers, spec).unwrap();
    let mut position = 0;
    let mut rows = Vec::new();
    for chunk in ids.chunks(chunk_len) {
        let hidden = model.forward_cached(chunk, position, &mut cache);
        rows.push(model.logits(&hidden.unwrap_or_else(|error| panic!("{error}"))));
        position += chunk.len();
    }
    Tensor::cat(&rows, 0)
}

#[test]
fn logits_match_transformers() {
    for name in MODELS {
        let (ids, theirs) = expected(name);
        for (model, chunk_len) in models(name)
            .iter()
            .flat_map(|model| [ids.len(), 7, 1].map(|len| (model, len)))
        {
            let ours = logits(model, &ids, chunk_len);
            assert_eq!(ours.size(), theirs.size(), "{name}");
            let error = (ours - &theirs).abs().max().double_value(&[]);
            assert!(
                error <= TOLERANCE,
                "{name}, chunks of {chunk_len}: off by {error:.2e}"
            );
        }
    }
}

#[test]
fn bf16_matrices_stay_bf16_for_inference_alone() {
    let kinds = |model: &Llama| {
        let tensors = model.named_tensors();
        let is_norm = |name: &str| name.ends_with("norm.weight");
        let (norms, matrices): (Vec<_>, Vec<_>) =
            tensors.into_iter().partition(|(name, _)| is_norm(name));
        [norms, matrices].map(|tensors| {
            let kinds = tensors.iter().map(|(_, tensor)| tensor.kind());
            kinds.collect::<std::collections::HashSet<_>>()
        })
    };
    let [trains, infers] = models("sharded-bf16");
    assert_eq!(kinds(&trains), [[Kind::Float].into(), [Kind::Float].into()]);
    assert_eq!(
        kinds(&infers),
        [[Kind::Float].into(), [Kind::BFloat16].into()]
    );
    assert_eq!([trains.kind(), infers.kind()], [Kind::Float; 2]);
    let wide = Llama::load_for_inference(&folder("sharded-bf16"), Kind::Double, Device::Cpu);
    assert_eq!(
        kinds(&wide.unwrap()),
        [[Kind::Double].into(), [Kind::Double].into()]
    );
}

/// The comparison can fail: each of these mistakes moves some logit by far more than the tolerance.
#[test]
fn wrong_rotary_settings_are_seen() {
    for (name, key, wrong) in [
        (
            "gqa-llama3",
            "rope_parameters",
            r#"{"rope_theta": 100.0, "rope_type": "default"}"#,
        ),
        ("linear", "rope_scaling", "null"),
        ("tied", "rms_norm_eps", "0.01"),
    ] {
        let text = std::fs::read_to_string(folder(name).join("config.json")).unwrap();
        let mut document: serde_json::Value = serde_json::from_str(&text).unwrap();
        document[key] = serde_json::from_str(wrong).unwrap();
        let config = ModelConfig::parse(&document.to_string()).unwrap();
        let tensors = load_all(&folder(name), &config, Kind::Float, Device::Cpu).unwrap();
        let model = Llama::from_tensors(config, tensors).unwrap();
        let (ids, theirs) = expected(name);
        let error = (logits(&model, &ids, ids.len()) - theirs)
            .abs()
            .max()
            .double_value(&[]);
        assert!(
            error > 100.0 * TOLERANCE,
            "{name} with another {key}: {error:.2e}"
        );
    }
}
