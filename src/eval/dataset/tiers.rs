//! Lengths that HELMET was published for, and what files have at each.

use crate::eval::files::error::FilesError;

/// HELMET's lengths, in Llama-2 tokens.
const LENGTHS: [usize; 6] = [4096, 8192, 16_384, 32_768, 65_536, 131_072];

/// A number for each of HELMET's lengths.
pub(super) type Tiers = [usize; 6];

/// The number of `tiers` at `length`.
pub(super) fn at(task: &'static str, tiers: &Tiers, length: usize) -> Result<usize, FilesError> {
    let place = LENGTHS.iter().position(|known| *known == length);
    place.map(|place| tiers[place]).ok_or(FilesError::Tier {
        task,
        length,
        known: &LENGTHS,
    })
}

/// Checks that `length` is one of HELMET's.
pub(super) fn check(task: &'static str, length: usize) -> Result<(), FilesError> {
    at(task, &LENGTHS, length).map(drop)
}
