//! Whether a sound sidecar fits a model and a use: checks 9 to 14 of masks.md section 8.

use super::content::Sidecar;
use crate::mask::arch::ArchFacts;
use crate::mask::error::{MaskError, MaskProblem, MaskWarning};
use crate::span::{Span, StreamingRule};
use std::path::Path;

/// A model as far as masks are concerned.
#[derive(Debug, Clone, Copy)]
pub struct Model<'a> {
    /// Its architecture.
    pub arch: &'a ArchFacts,
    /// Hub commit, if known.
    pub revision: Option<&'a str>,
    /// Digest of the key projections; costs a pass over them, so only when asked or when `weights_modified` is stored.
    pub weights_sha256: Option<&'a str>,
}

/// Compares a mask with the model it is to be used with. `file` only names it in errors.
///
/// # Errors
/// [`MaskProblem::BaseArch`] for another architecture; [`MaskProblem::BaseWeights`] for other weights under a mask that was
/// trained together with its own.
pub fn check_model(
    sidecar: &Sidecar,
    model: &Model<'_>,
    file: &Path,
) -> Result<Vec<MaskWarning>, MaskError> {
    let base = &sidecar.base;
    let differences = base.arch.hashed_differences(model.arch);
    if !differences.is_empty() {
        return Err(MaskError::new(file, MaskProblem::BaseArch { differences }));
    }
    let mut warnings = Vec::new();
    let differences = base.arch.position_differences(model.arch);
    if !differences.is_empty() {
        warnings.push(MaskWarning::BaseConfig { differences });
    }
    if let Some((expected, found)) = differ(base.revision.as_deref(), model.revision) {
        warnings.push(MaskWarning::BaseWeights {
            what: "revision",
            expected,
            found,
        });
    }
    if let Some((expected, found)) = differ(base.weights_sha256.as_deref(), model.weights_sha256) {
        if base.weights_modified {
            let problem = MaskProblem::BaseWeights { expected, found };
            return Err(MaskError::new(file, problem));
        }
        warnings.push(MaskWarning::BaseWeights {
            what: "digest",
            expected,
            found,
        });
    }
    Ok(warnings)
}

/// Compares a mask with the span and rule it is used with; the result goes into the record of the use.
pub fn check_use(sidecar: &Sidecar, span: &Span, rule: Option<StreamingRule>) -> Vec<MaskWarning> {
    let stored = &sidecar.span;
    let lengths = [
        ("sink_len", stored.sink_len(), span.sink_len()),
        ("window_len", stored.window_len(), span.window_len()),
        ("block_len", stored.block_len(), span.block_len()),
    ];
    let mut warnings: Vec<MaskWarning> = lengths
        .into_iter()
        .filter(|(_, stored, used)| stored != used)
        .map(|(field, stored, used)| MaskWarning::SpanMismatch {
            field,
            stored: stored.to_string(),
            used: used.to_string(),
        })
        .collect();
    let names = |rule: Option<StreamingRule>| rule.map(StreamingRule::name);
    if let Some((stored, used)) = differ(names(sidecar.streaming_rule), names(rule)) {
        warnings.push(MaskWarning::SpanMismatch {
            field: "streaming rule",
            stored,
            used,
        });
    }
    warnings
}

/// Turns the first warning into an error: `--strict`.
///
/// # Errors
/// [`MaskProblem::Strict`] with the first of `warnings`.
pub fn strict(warnings: &[MaskWarning], file: &Path) -> Result<(), MaskError> {
    warnings.first().map_or(Ok(()), |warning| {
        Err(MaskError::new(file, MaskProblem::Strict(warning.clone())))
    })
}

/// Both values, if both are known and differ.
fn differ(stored: Option<&str>, found: Option<&str>) -> Option<(String, String)> {
    let (stored, found) = stored.zip(found)?;
    (stored != found).then(|| (stored.to_owned(), found.to_owned()))
}
