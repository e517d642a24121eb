//! `[validation]`: the loss on held-out rows while gates train.
//!
//! **Invariant:** nothing of it changes what is trained.

use crate::config::check;
use crate::config::error::Bad;
use crate::config::instruct_mask::InstructMask;
use std::path::PathBuf;

/// Held-out rows, and how often they are looked at.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ValidationSettings {
    /// Packed rows that are not trained on: the folder `val` that `prulong pack --held-out` writes beside `train`.
    pub data: PathBuf,
    /// Rows, from the folder's first on. 8: three passes forward over each cost about as much as eight steps of one row.
    #[serde(default = "eight")]
    pub num_rows: usize,
    /// Steps between two looks; the last step always has one.
    pub every: u64,
    /// As `data.instruct_mask`, of these rows.
    #[serde(default)]
    pub instruct_mask: InstructMask,
}

fn eight() -> usize {
    8
}

impl ValidationSettings {
    pub(super) fn check(&self) -> Result<(), Bad> {
        check::len("validation.num_rows", self.num_rows)?;
        check::count("validation.every", self.every)
    }
}
