//! A sidecar's bytes.

use super::content::{Sidecar, Training};
use super::keys;
use crate::mask::export::SIDECAR_NAME;
use crate::mask::foreign::content::Files;
use crate::mask::gate_method::GateMethod;
use crate::mask::tensor_file::{self, Tensor};
use std::collections::BTreeMap;

/// The file: header length, canonical header padded to 8 bytes, then 4-byte tensors by name and the mask.
pub fn to_bytes(sidecar: &Sidecar) -> Vec<u8> {
    let shape = [sidecar.mask.num_layers(), sidecar.mask.num_kv_heads()];
    tensor_file::to_bytes(&metadata(sidecar), shape, &tensors(sidecar))
}

/// The file under its usual name.
pub fn files(sidecar: &Sidecar) -> Option<Files> {
    Some(vec![(SIDECAR_NAME, to_bytes(sidecar))])
}

/// Tensors in data order: every one is aligned because the single-byte mask comes last.
fn tensors(sidecar: &Sidecar) -> Vec<Tensor> {
    let mut tensors = Vec::new();
    if let Some(values) = &sidecar.gate_score {
        tensors.push(Tensor::f32(keys::GATE_SCORE, values));
    }
    if let Some(values) = &sidecar.log_alpha {
        tensors.push(Tensor::f32(keys::LOG_ALPHA, values));
    }
    let ranks = sidecar.ranks.ranks().iter();
    // Ranks stay below 2^24 by the reader's caps, so the low 4 bytes are the I32.
    let rank_bytes = ranks.flat_map(|rank| (*rank as u64).to_le_bytes().into_iter().take(4));
    tensors.push(Tensor {
        name: keys::RETRIEVAL_RANK,
        dtype: "I32",
        bytes: rank_bytes.collect(),
    });
    let flags = sidecar.mask.flags().iter().map(|flag| u8::from(*flag));
    tensors.push(Tensor {
        name: keys::RETRIEVAL_MASK,
        dtype: "U8",
        bytes: flags.collect(),
    });
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
        (keys::REBASED_FROM, &base.rebased_from),
    ];
    for (key, value) in optional {
        entries.extend(value.clone().map(|value| (key.to_owned(), value)));
    }
    entries
}

fn training_metadata(training: &Training) -> Entries {
    let span = &training.span;
    // What was there before there was a second method says nothing of it.
    let method =
        (training.method != GateMethod::default()).then(|| training.method.name().to_owned());
    let target = training.target_sparsity.map(keys::float_text);
    let facts = [
        (keys::TRAIN_METHOD, method),
        (keys::TRAIN_SINK_LEN, Some(span.sink_len().to_string())),
        (keys::TRAIN_WINDOW_LEN, Some(span.window_len().to_string())),
        (keys::TRAIN_BLOCK_LEN, Some(span.block_len().to_string())),
        (keys::TRAIN_SEQ_LEN, Some(training.seq_len.to_string())),
        (keys::TRAIN_STEPS, Some(training.num_steps.to_string())),
        (keys::TRAIN_SEED, Some(training.seed.to_string())),
        (keys::TRAIN_TARGET_SPARSITY, target),
        (keys::TRAIN_DATA_ID, Some(training.data_id.clone())),
        (
            keys::TRAIN_CONFIG_SHA256,
            Some(training.config_sha256.clone()),
        ),
    ];
    let known = facts
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value?)));
    known.collect()
}
