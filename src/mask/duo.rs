//! The DuoAttention directory: `full_attention_heads.tsv` and `config.json`, read by duo_attn, PruLong's evaluation, OmniServe
//! and two SGLang forks (masks.md sections 2 and 9).
//!
//! ```text
//! full_attention_heads.tsv    one line per layer, one number per kv head, tabs; higher = retrieval
//! config.json                 sink_size, recent_size (window_len unchanged), deploy_*, and what made the mask
//! ```
//!
//! The format stores scores, and its readers binarise them with random noise. Ours holds 0 and 1, and the exact sparsity at
//! which those readers return it unchanged.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::mask::canonical;
use crate::mask::error::{MaskError, MaskProblem, MaskWarning};
use crate::mask::foreign::content::{Content, Files, Foreign, Input, NamedBytes, Reading};
use crate::mask::foreign::table;
use crate::mask::head_mask::HeadMask;
use crate::mask::sidecar::content::Sidecar;
use serde_json::{Map, Value, json};
use std::path::Path;

/// Name of the table.
pub const TABLE_NAME: &str = "full_attention_heads.tsv";
/// Name of the settings.
pub const CONFIG_NAME: &str = "config.json";

/// Where 0/1 readers cut: half way.
const THRESHOLD: f64 = 0.5;

/// Sizes that a Duo `config.json` states.
#[derive(Debug, Clone, PartialEq)]
pub struct DuoSizes {
    /// Sink tokens.
    pub sink_size: usize,
    /// Window, in tokens.
    pub recent_size: usize,
    /// Other sizes that the file states and `duo_attn` does not read.
    pub warnings: Vec<MaskWarning>,
}

/// Reads the directory: a decision where the table holds only 0 and 1, else scores clipped to [0, 1].
///
/// # Errors
/// As [`table::read_kv`] and [`parse_config`].
pub fn read(input: &Input, reading: &Reading) -> Result<Foreign, MaskError> {
    let table = table::read_kv(input, reading)?;
    sized(table.clipped(&input.main.path)?, input)
}

/// Content with the sizes of the `config.json` beside it, if that is there.
///
/// # Errors
/// As [`parse_config`].
pub fn sized(content: Content, input: &Input) -> Result<Foreign, MaskError> {
    let mut foreign = Foreign::of(content);
    if let Some(NamedBytes { path, bytes }) = &input.config {
        let sizes = parse_config(bytes, path)?;
        foreign.sink_len = Some(sizes.sink_size);
        foreign.window_len = Some(sizes.recent_size);
        foreign.warnings = sizes.warnings;
    }
    Ok(foreign)
}

/// The directory's files.
pub fn files(sidecar: &Sidecar) -> Option<Files> {
    Some(vec![
        (TABLE_NAME, table_text(&sidecar.mask).into_bytes()),
        (CONFIG_NAME, config_text(sidecar).into_bytes()),
    ])
}

/// The table of a mask.
pub fn table_text(mask: &HeadMask) -> String {
    table::mask_text(mask)
}

/// The `config.json` of a mask.
pub fn config_text(sidecar: &Sidecar) -> String {
    let mut config = deploy_sizes(sidecar);
    config.insert("threshold".to_owned(), json!(THRESHOLD));
    config.insert("sparsity".to_owned(), json!(sidecar.mask.sparsity()));
    format!("{}\n", canonical::to_string(&Value::Object(config)))
}

/// Model and sizes as a `config.json` states them. Both pairs of sizes are the ones to deploy with: some readers take one, some
/// the other.
pub fn deploy_sizes(sidecar: &Sidecar) -> Map<String, Value> {
    let (sink_len, window_len) = (sidecar.span.sink_len(), sidecar.span.window_len());
    let entries = [
        ("model_name", json!(sidecar.base.model)),
        ("sink_size", json!(sink_len)),
        ("recent_size", json!(window_len)),
        ("deploy_sink_size", json!(sink_len)),
        ("deploy_recent_size", json!(window_len)),
    ];
    entries
        .map(|(key, value)| (key.to_owned(), value))
        .into_iter()
        .collect()
}

/// What NumPy-based readers will trip over.
pub fn warnings(mask: &HeadMask) -> Vec<MaskWarning> {
    let (num_layers, num_kv_heads) = (mask.num_layers(), mask.num_kv_heads());
    if num_layers > 1 && num_kv_heads > 1 {
        return Vec::new();
    }
    vec![MaskWarning::TsvSqueezed {
        num_layers,
        num_kv_heads,
    }]
}

/// Reads the sizes of a `config.json`; everything else in it is its writer's business.
///
/// # Errors
/// [`MaskProblem::Metadata`] for a missing or impossible size.
pub fn parse_config(bytes: &[u8], file: &Path) -> Result<DuoSizes, MaskError> {
    let malformed = |key: &str, expected, found: Option<String>| {
        let key = key.to_owned();
        let problem = MaskProblem::Metadata {
            key,
            expected,
            found,
        };
        MaskError::new(file, problem)
    };
    let config: Value = serde_json::from_slice(bytes)
        .map_err(|error| malformed(CONFIG_NAME, "a JSON object", Some(error.to_string())))?;
    let len = |key: &str| {
        let value = config.get(key);
        value
            .and_then(Value::as_u64)
            .and_then(|len| usize::try_from(len).ok())
            .ok_or_else(|| malformed(key, "a whole number", value.map(ToString::to_string)))
    };
    let (sink_size, recent_size) = (len("sink_size")?, len("recent_size")?);
    let mut warnings = Vec::new();
    for (field, used) in [
        ("deploy_sink_size", sink_size),
        ("deploy_recent_size", recent_size),
    ] {
        if config.get(field).is_some() {
            let deploy = len(field)?;
            let other = MaskWarning::DeploySize {
                field,
                deploy,
                used,
            };
            warnings.extend((deploy != used).then_some(other));
        }
    }
    let sizes = DuoSizes {
        sink_size,
        recent_size,
        warnings,
    };
    if sizes.recent_size == 0 {
        let found = Some("0".to_owned());
        return Err(malformed("recent_size", "at least 1 token", found));
    }
    Ok(sizes)
}

#[cfg(test)]
mod tests;
