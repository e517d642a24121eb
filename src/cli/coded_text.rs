//! Warnings under their codes: fields of a JSON object, or lines on standard error.

use crate::cli::output;
use crate::mask::error::MaskWarning;

/// A warning under its code.
#[derive(Debug, Clone, serde::Serialize)]
pub(super) struct CodedText {
    pub(super) code: &'static str,
    pub(super) text: String,
}

impl CodedText {
    /// Says it on standard error.
    pub(super) fn note(&self) {
        output::note(format!("warning[{}]: {}", self.code, self.text));
    }
}

impl From<&MaskWarning> for CodedText {
    fn from(warning: &MaskWarning) -> Self {
        Self {
            code: warning.code(),
            text: warning.to_string(),
        }
    }
}

/// Warnings about masks, to be written as JSON.
pub(super) fn coded(warnings: &[MaskWarning]) -> Vec<CodedText> {
    warnings.iter().map(CodedText::from).collect()
}

/// Says warnings about masks on standard error.
pub(super) fn note_all(warnings: &[MaskWarning]) {
    coded(warnings).iter().for_each(CodedText::note);
}
