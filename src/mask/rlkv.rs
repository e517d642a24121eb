//! RLKV's adapter: `adapter_weights.tsv`, read by its SGLang fork (masks.md section 2).
//!
//! ```text
//! one line per layer, one number per kv head, tabs; higher = retrieval
//! ```
//!
//! A score table as `DuoAttention`'s, without sizes: the fork takes those from its flags. It binarises with noise and a quantile,
//! so a mask comes back unchanged at its exact sparsity only.

use crate::mask::error::MaskError;
use crate::mask::foreign::content::{Files, Foreign, Input, Reading};
use crate::mask::foreign::table;
use crate::mask::head_mask::HeadMask;
use crate::mask::sidecar::content::Sidecar;

/// Name of the table.
pub const TABLE_NAME: &str = "adapter_weights.tsv";

/// The directory's file.
pub fn files(sidecar: &Sidecar) -> Option<Files> {
    Some(vec![(TABLE_NAME, text(&sidecar.mask).into_bytes())])
}

/// The table of a mask.
pub fn text(mask: &HeadMask) -> String {
    table::mask_text(mask)
}

/// Reads the table: a decision where it holds only 0 and 1, else scores clipped to [0, 1].
///
/// # Errors
/// As [`table::read_kv`].
pub fn read(input: &Input, reading: &Reading) -> Result<Foreign, MaskError> {
    let table = table::read_kv(input, reading)?;
    Ok(Foreign::of(table.clipped(&input.main.path)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mask::foreign::content::{Content, NamedBytes};

    #[test]
    fn weights_are_scores_and_ones_and_zeros_a_decision() {
        let read = |text: &str| {
            let main = NamedBytes {
                path: TABLE_NAME.into(),
                bytes: text.into(),
            };
            let input = Input { main, config: None };
            read(&input, &Reading::default()).unwrap()
        };
        let Content::Scores { scores, .. } = read("1.25\t0.5\n-0.1\t0\n").content else {
            panic!("not scores");
        };
        assert_eq!(scores, [1.0, 0.5, 0.0, 0.0]);
        let Content::Mask(mask) = read("1\t0\n0\t0\n").content else {
            panic!("not a mask");
        };
        assert_eq!(text(&mask), "1\t0\n0\t0\n");
    }
}
