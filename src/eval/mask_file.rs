//! The mask under test: read from its file, checked against the model, with the span and rule it is run with.

use super::error::EvalError;
use super::method::Streaming;
use super::names::names;
use super::results::MaskIdentity;
use crate::config::eval::StreamingSettings;
use crate::fault::AnyFault;
use crate::mask::arch::ArchFacts;
use crate::mask::error::MaskWarning;
use crate::mask::export::SIDECAR_NAME;
use crate::mask::head_mask::HeadMask;
use crate::mask::sidecar::fit::{Model, check_model, check_use};
use crate::mask::sidecar::read;
use crate::span::{Span, StreamingRule};
use std::path::{Path, PathBuf};

/// A mask and how it is run.
#[derive(Debug)]
pub struct MaskUnderTest {
    /// The mask.
    pub mask: HeadMask,
    /// Span and rule: the file's unless overridden.
    pub streaming: Streaming,
    /// What results say about the file.
    pub identity: MaskIdentity,
    /// What the reader should know.
    pub warnings: Vec<String>,
}

/// Span and rule named by the user.
#[derive(Debug, Clone, Copy, Default)]
pub struct Overrides {
    /// Sink in tokens.
    pub sink_len: Option<usize>,
    /// Window in tokens.
    pub window_len: Option<usize>,
    /// Rule.
    pub rule: Option<StreamingRule>,
}

impl From<&StreamingSettings> for Overrides {
    fn from(settings: &StreamingSettings) -> Self {
        Self {
            sink_len: settings.sink_len,
            window_len: settings.window_len,
            rule: settings.rule,
        }
    }
}

/// Reads every sidecar of `paths`, or the one in that folder, for a model of `arch`.
///
/// Without a rule in the file and in `overrides`, streaming heads slide token by token.
///
/// # Errors
/// For the first that is unusable: [`EvalError::ReadMask`] if there is no such file, [`crate::mask::error::MaskError`] if it
/// is unsound or for another model, [`crate::span::SpanError`] for an impossible span.
pub fn load(
    paths: &[PathBuf],
    arch: &ArchFacts,
    weights_sha256: &str,
    overrides: Overrides,
) -> Result<Vec<MaskUnderTest>, AnyFault> {
    let model = Model {
        arch,
        revision: None,
        weights_sha256: Some(weights_sha256),
    };
    let paths: Vec<PathBuf> = paths.iter().map(|path| locate(path)).collect();
    let names = names(&paths, 2);
    let each = paths.iter().zip(names);
    each.map(|(path, name)| load_one(path, name, &model, overrides))
        .collect()
}

/// What the reader of results of `masks` should know, each thing once.
pub fn warnings(masks: &[MaskUnderTest]) -> Vec<String> {
    let mut warnings: Vec<String> = Vec::new();
    for warning in masks.iter().flat_map(|mask| &mask.warnings) {
        if !warnings.contains(warning) {
            warnings.push(warning.clone());
        }
    }
    warnings
}

fn load_one(
    path: &Path,
    name: String,
    model: &Model<'_>,
    overrides: Overrides,
) -> Result<MaskUnderTest, AnyFault> {
    let failed = |source| EvalError::ReadMask {
        path: path.to_path_buf(),
        source,
    };
    let bytes = std::fs::read(path).map_err(failed)?;
    let checked = read::parse(&bytes, path)?;
    let sidecar = checked.sidecar;
    let mut warnings = checked.warnings;
    warnings.extend(check_model(&sidecar, model, path)?);
    let streaming = Streaming {
        span: Span::new(
            overrides.sink_len.unwrap_or(sidecar.span.sink_len()),
            overrides.window_len.unwrap_or(sidecar.span.window_len()),
            1,
        )?,
        rule: overrides
            .rule
            .or(sidecar.streaming_rule)
            .unwrap_or(StreamingRule::Sliding),
    };
    warnings.extend(check_use(&sidecar, &streaming.span, Some(streaming.rule)));
    Ok(MaskUnderTest {
        streaming,
        identity: identity(name, &bytes, &sidecar.mask),
        warnings: warnings.iter().map(MaskWarning::to_string).collect(),
        mask: sidecar.mask,
    })
}

fn locate(path: &Path) -> PathBuf {
    if path.is_dir() {
        path.join(SIDECAR_NAME)
    } else {
        path.to_path_buf()
    }
}

fn identity(name: String, bytes: &[u8], mask: &HeadMask) -> MaskIdentity {
    MaskIdentity {
        name,
        blake3: blake3::hash(bytes).to_hex().to_string(),
        num_retrieval: mask.num_retrieval(),
        num_streaming: mask.num_streaming(),
        sparsity: mask.sparsity(),
    }
}
