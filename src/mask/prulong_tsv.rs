//! `PruLong`'s own exports: `masks.tsv` and `masks_spS.tsv` (masks.md section 2).
//!
//! ```text
//! one line per layer, one number per kv head, tabs; 1 = retrieval, 0 = streaming
//! ```
//!
//! Its exporter writes CRLF and `0.0`/`1.0`, ours LF and `0`/`1`; both are read. Sink and window are not stored.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::mask::error::{MaskError, MaskWarning};
use crate::mask::foreign::content::{Content, Files, Foreign, Input, Reading};
use crate::mask::foreign::table;
use crate::mask::head_mask::HeadMask;
use crate::mask::rounding::{Rounding, exact_sparsity};
use crate::mask::sidecar::content::Sidecar;
use std::path::Path;

/// Name of the file.
pub const FILE_NAME: &str = "masks.tsv";

/// The file under its usual name.
pub fn files(sidecar: &Sidecar) -> Option<Files> {
    Some(vec![(FILE_NAME, text(&sidecar.mask).into_bytes())])
}

/// The table of a mask.
pub fn text(mask: &HeadMask) -> String {
    table::mask_text(mask)
}

/// Reads a table of 0 and 1. A sparsity in the name that gives other counts than the file has is a warning.
///
/// # Errors
/// As [`table::read_kv`], or `mask.not_binary` for scores.
pub fn read(input: &Input, reading: &Reading) -> Result<Foreign, MaskError> {
    let path = &input.main.path;
    let mask = table::read_kv(input, reading)?.to_mask(path)?;
    let warnings = check_name(path, &mask).into_iter().collect();
    Ok(Foreign {
        warnings,
        ..Foreign::of(Content::Mask(mask))
    })
}

/// Whether the sparsity that the name states, if it does, is the mask's: nominal (`masks_sp0.7.tsv`) or exact.
fn check_name(path: &Path, mask: &HeadMask) -> Option<MaskWarning> {
    let name = path.file_name()?.to_str()?;
    let named: f64 = name
        .strip_prefix("masks_sp")?
        .strip_suffix(".tsv")?
        .parse()
        .ok()?;
    let num_heads = mask.flags().len();
    let expected = Rounding::Reference.num_retrieval(num_heads, named)?;
    let exact = exact_sparsity(mask.num_streaming(), num_heads);
    let found = mask.num_retrieval();
    let agrees = expected == found || exact.to_bits() == named.to_bits();
    (!agrees).then_some(MaskWarning::NameSparsity {
        named,
        expected,
        found,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Coded;
    use crate::mask::foreign::content::NamedBytes;

    fn read_as(name: &str, text: &str) -> Result<Foreign, MaskError> {
        let main = NamedBytes {
            path: name.into(),
            bytes: text.into(),
        };
        let input = Input { main, config: None };
        read(&input, &Reading::default())
    }

    #[test]
    fn the_reference_exporters_bytes_and_our_own_are_one_mask() {
        let theirs = read_as("masks.tsv", "1.0\t0.0\r\n0.0\t1.0\r\n").unwrap();
        let Content::Mask(mask) = &theirs.content else {
            panic!("{theirs:?}");
        };
        assert_eq!(text(mask), "1\t0\n0\t1\n");
        assert_eq!(read_as("masks.tsv", &text(mask)).unwrap(), theirs);
        let error = read_as("masks.tsv", "1\t0.25\n").unwrap_err();
        assert_eq!(error.code(), "mask.not_binary");
        assert!(error.to_string().contains("line 1, column 2"), "{error}");
    }

    #[test]
    fn a_name_is_checked_against_the_counts() {
        let ten = "1\t0\t0\t0\t0\t0\t0\t0\t0\t0\n";
        let two = "1\t1\t0\t0\t0\t0\t0\t0\t0\t0\n";
        // `int(10 * (1 - 0.8))` is 1, and the exact fraction of two of ten is 0.8.
        for (name, text) in [
            ("masks_sp0.8.tsv", ten),
            ("masks_sp0.8.tsv", two),
            ("masks_sp0.9.tsv", ten),
            ("masks.tsv", two),
            ("masks_spx.tsv", two),
        ] {
            assert_eq!(read_as(name, text).unwrap().warnings, [], "{name}");
        }
        let warnings = read_as("masks_sp0.5.tsv", two).unwrap().warnings;
        let [warning] = &warnings[..] else {
            panic!("{warnings:?}");
        };
        assert_eq!(warning.code(), "mask.name_sparsity");
        assert!(warning.to_string().contains("hence 5"), "{warning}");
    }
}
