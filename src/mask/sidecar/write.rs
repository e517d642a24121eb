//! A sidecar's bytes.
//!
//! # Decisions
//! The header is written here and not by the safetensors crate, which keeps metadata in a hash map: the same content would give
//! different files (huggingface/safetensors#790).

use super::content::{Sidecar, Training};
use super::keys;
use crate::mask::canonical;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The file: header length, canonical header padded to 8 bytes, then 4-byte tensors by name and the mask.
pub fn to_bytes(sidecar: &Sidecar) -> Vec<u8> {
    let shape = [sidecar.mask.num_layers(), sidecar.mask.num_kv_heads()];
    let mut header = Map::new();
    header.insert("__metadata__".to_owned(), json!(metadata(sidecar)));
    let mut data = Vec::new();
    for (name, dtype, bytes) in tensors(sidecar) {
        let start = data.len();
        data.extend_from_slice(&bytes);
        let info = json!({"dtype": dtype, "shape": shape, "data_offsets": [start, data.len()]});
        header.insert(name.to_owned(), info);
    }
    let mut text = canonical::to_string(&Value::Object(header));
    while !text.len().is_multiple_of(8) {
        text.push(' ');
    }
    let mut file = (text.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(text.as_bytes());
    file.extend_from_slice(&data);
    file
}

/// Tensors in data order: every one is aligned because the single-byte mask comes last.
fn tensors(sidecar: &Sidecar) -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let floats = |values: &Vec<f32>| values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let ranks = sidecar.ranks.ranks().iter();
    let mut tensors = Vec::new();
    if let Some(values) = &sidecar.gate_score {
        tensors.push((keys::GATE_SCORE, "F32", floats(values)));
    }
    if let Some(values) = &sidecar.log_alpha {
        tensors.push((keys::LOG_ALPHA, "F32", floats(values)));
    }
    // Ranks stay below 2^24 by the reader's caps, so the low 4 bytes are the I32.
    let rank_bytes = ranks.flat_map(|rank| (*rank as u64).to_le_bytes().into_iter().take(4));
    tensors.push((keys::RETRIEVAL_RANK, "I32", rank_bytes.collect()));
    let flags = sidecar.mask.flags().iter().map(|flag| u8::from(*flag));
    tensors.push((keys::RETRIEVAL_MASK, "U8", flags.collect()));
    tensors
}

/// All metadata; an unknown value has no key.
pub fn metadata(sidecar: &Sidecar) -> BTreeMap<String, String> {
    let mut all = sidecar.other.clone();
    let mut put = |key: &str, value: String| all.insert(key.to_owned(), value);
    put(keys::FORMAT, "pt".to_owned());
    put(keys::FORMAT_VERSION, keys::VERSION_VALUE.to_owned());
    put(keys::KIND, keys::KIND_VALUE.to_owned());
    put(keys::PROGRAM_VERSION, sidecar.program_version.clone());
    put(keys::MASK_VALUES, keys::MASK_VALUES_VALUE.to_owned());
    put(keys::HEAD_AXIS, keys::HEAD_AXIS_VALUE.to_owned());
    put(keys::HEAD_ORDER, keys::HEAD_ORDER_VALUE.to_owned());
    put(keys::NUM_LAYERS, sidecar.mask.num_layers().to_string());
    put(
        keys::NUM_HEADS,
        sidecar.base.arch.num_attention_heads.to_string(),
    );
    put(keys::NUM_KV_HEADS, sidecar.mask.num_kv_heads().to_string());
    put(
        keys::NUM_RETRIEVAL,
        sidecar.mask.num_retrieval().to_string(),
    );
    put(
        keys::NUM_STREAMING,
        sidecar.mask.num_streaming().to_string(),
    );
    put(keys::SPARSITY, keys::float_text(sidecar.mask.sparsity()));
    put(keys::ROUNDING, sidecar.rounding.name().to_owned());
    put(keys::RANK_SOURCE, sidecar.rank_source.name().to_owned());
    put(keys::SOURCE, sidecar.source.clone());
    if let Some(target) = sidecar.target_sparsity {
        put(keys::TARGET_SPARSITY, keys::float_text(target));
    }
    all.extend(span_metadata(sidecar));
    all.extend(base_metadata(sidecar));
    if let Some(training) = &sidecar.training {
        all.extend(training_metadata(training));
    }
    all
}

type Entries = Vec<(String, String)>;

fn span_metadata(sidecar: &Sidecar) -> Entries {
    let Sidecar { span, .. } = sidecar;
    let mut entries = vec![
        (keys::SINK_LEN.to_owned(), span.sink_len().to_string()),
        (keys::WINDOW_LEN.to_owned(), span.window_len().to_string()),
        (keys::BLOCK_LEN.to_owned(), span.block_len().to_string()),
        (keys::WINDOW_INCLUDES_QUERY.to_owned(), "true".to_owned()),
    ];
    let rule = sidecar.streaming_rule.map(|rule| rule.name().to_owned());
    entries.extend(rule.map(|name| (keys::STREAMING_RULE.to_owned(), name)));
    let chunk_len = sidecar.chunk_len.map(|len| len.to_string());
    entries.extend(chunk_len.map(|len| (keys::CHUNK_LEN.to_owned(), len)));
    entries
}

fn base_metadata(sidecar: &Sidecar) -> Entries {
    let base = &sidecar.base;
    let mut entries = vec![
        (
            keys::WEIGHTS_MODIFIED.to_owned(),
            base.weights_modified.to_string(),
        ),
        (keys::BASE_MODEL.to_owned(), base.model.clone()),
        (keys::BASE_ARCH_SHA256.to_owned(), base.arch.fingerprint()),
        (keys::BASE_CONFIG.to_owned(), base.arch.config_json()),
    ];
    let optional = [
        (keys::BASE_REVISION, &base.revision),
        (keys::BASE_WEIGHTS_SHA256, &base.weights_sha256),
    ];
    for (key, value) in optional {
        entries.extend(value.clone().map(|value| (key.to_owned(), value)));
    }
    entries
}

fn training_metadata(training: &Training) -> Entries {
    let span = &training.span;
    [
        (keys::TRAIN_SINK_LEN, span.sink_len().to_string()),
        (keys::TRAIN_WINDOW_LEN, span.window_len().to_string()),
        (keys::TRAIN_BLOCK_LEN, span.block_len().to_string()),
        (keys::TRAIN_SEQ_LEN, training.seq_len.to_string()),
        (keys::TRAIN_STEPS, training.num_steps.to_string()),
        (keys::TRAIN_SEED, training.seed.to_string()),
        (
            keys::TRAIN_TARGET_SPARSITY,
            keys::float_text(training.target_sparsity),
        ),
        (keys::TRAIN_DATA_ID, training.data_id.clone()),
        (keys::TRAIN_CONFIG_SHA256, training.config_sha256.clone()),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into()
}
