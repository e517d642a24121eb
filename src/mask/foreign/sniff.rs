//! Files that are something else altogether: pointers, web pages, pickles.

use super::problem::ForeignProblem;
use crate::mask::error::MaskProblem;
use crate::mask::sidecar::container::ContainerProblem;

/// Refuses bytes that cannot be a mask in any format.
///
/// # Errors
/// [`ContainerProblem::LfsPointer`], [`ContainerProblem::LooksLikeHtml`], or [`ForeignProblem::Pickle`].
pub fn refuse(bytes: &[u8]) -> Result<(), MaskProblem> {
    match web_or_pointer(bytes) {
        Some(problem) => Err(problem.into()),
        None if is_pickle(bytes) => Err(ForeignProblem::Pickle.into()),
        None => Ok(()),
    }
}

/// A pointer that git-lfs left, or a page in place of the file it shows.
pub(crate) fn web_or_pointer(bytes: &[u8]) -> Option<ContainerProblem> {
    if bytes.starts_with(b"version https://git-lfs.") {
        return Some(ContainerProblem::LfsPointer);
    }
    let text = bytes.trim_ascii_start();
    let is_page = |tag: &[u8]| {
        text.get(..tag.len())
            .is_some_and(|head| head.eq_ignore_ascii_case(tag))
    };
    (is_page(b"<!doctype html") || is_page(b"<html")).then_some(ContainerProblem::LooksLikeHtml)
}

/// `torch.save` writes a zip archive with a pickle in it, older versions a bare pickle of protocol 2 or later.
fn is_pickle(bytes: &[u8]) -> bool {
    bytes.starts_with(b"PK\x03\x04") || matches!(bytes, [0x80, 2..=5, ..])
}

/// The bytes as text.
///
/// # Errors
/// [`MaskProblem::Values`] with the line of the first byte that is not UTF-8.
pub fn utf8(bytes: &[u8]) -> Result<&str, MaskProblem> {
    std::str::from_utf8(bytes).map_err(|error| {
        let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
        let lines = before.split(|byte| *byte == b'\n');
        let columns = lines.clone().next_back().unwrap_or_default();
        let columns = columns.split(|byte| *byte == b'\t').count();
        MaskProblem::Values {
            place: format!("line {}, column {columns}", lines.count()),
            found: "bytes that are no UTF-8 text".to_owned(),
            expected: "a number",
        }
    })
}
