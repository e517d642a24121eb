//! JSON objects of other programs, with repeated names refused.

use super::problem::ForeignProblem;
use super::sniff;
use crate::mask::error::MaskProblem;
use crate::mask::json_pairs::Pairs;
use serde::de::DeserializeOwned;

/// Parses an object; a name that occurs twice is refused, because readers differ in which one they take.
///
/// # Errors
/// [`MaskProblem::Values`] with line and column for anything but such an object, [`ForeignProblem::DuplicateKey`], and what
/// [`sniff::refuse`] says about bytes of another kind.
pub fn object<T: DeserializeOwned>(bytes: &[u8]) -> Result<Vec<(String, T)>, MaskProblem> {
    sniff::refuse(bytes)?;
    unique(parse(bytes)?)
}

/// The pairs of an object whose names differ.
///
/// # Errors
/// [`ForeignProblem::DuplicateKey`].
pub(crate) fn unique<T>(pairs: Pairs<T>) -> Result<Vec<(String, T)>, MaskProblem> {
    if let Some(key) = pairs.duplicate() {
        return Err(ForeignProblem::DuplicateKey { key }.into());
    }
    Ok(pairs.0)
}

/// Parses any value.
///
/// # Errors
/// [`MaskProblem::Values`] with line and column.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, MaskProblem> {
    serde_json::from_slice(bytes).map_err(|error| MaskProblem::Values {
        place: format!("line {}, column {}", error.line(), error.column()),
        found: reason(&error),
        expected: "the JSON of the format",
    })
}

/// What the parser says, without the place, which comes first.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let text = text.strip_suffix(&place).unwrap_or(&text);
    format!("something else ({text})")
}
