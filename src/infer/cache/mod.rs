//! Real caches: each keeps the keys and values of some kv heads of one layer, and attends over what it keeps.
//!
//! One file per rule of keeping. Rows are tokens; keys are stored already rotated at their true positions, so dropping a
//! row never moves another.
//!
//! **Invariant:** grouped storage only: a kv head's rows are stored once however many query heads read them.

use super::error::InferError;
use crate::attention::Backend;
use crate::model::llama::Llama;
use std::sync::Arc;
use tch::Tensor;

pub mod attend;
pub mod blocks;
pub mod branches;
pub mod duo_chunk;
pub mod evicting;
pub mod frozen_prompt;
pub mod growing;
pub mod keeper;
pub mod keys;
pub mod pattern;
pub mod ranking;
pub mod reach;
pub mod retrieval;
pub mod ring;
pub mod skipping;
pub mod sliding;
#[cfg(test)]
mod tests;
pub mod union;

/// Layout and home of the rows of one cache, and the kernel that reads them.
#[derive(Clone)]
pub struct RowSpec {
    /// Kv heads stored.
    pub num_kv_heads: usize,
    /// Width of one head.
    pub head_dim: usize,
    /// Element type of keys and values.
    pub kind: tch::Kind,
    /// Where the rows live.
    pub device: tch::Device,
    /// Tokens expected in all; a growing cache allocates this many rows at once and a quarter more
    /// whenever they do not suffice.
    pub expected_len: usize,
    /// The attention kernel.
    pub backend: Arc<dyn Backend>,
}

impl RowSpec {
    /// All kv heads of a layer of `llama`, in its dtype and on its device.
    pub fn of(llama: &Llama, backend: Arc<dyn Backend>, expected_len: usize) -> Self {
        let shape = llama.config().shape;
        Self {
            num_kv_heads: shape.num_kv_heads,
            head_dim: shape.head_dim,
            kind: llama.kind(),
            device: llama.device(),
            expected_len,
            backend,
        }
    }
}

/// Keys and values of consecutive kv heads of one layer under one rule of keeping.
///
/// Entries are counted as (row, kv head) pairs; an entry is one key and one value of `head_dim` numbers.
pub trait HeadCache {
    /// Shows the layer's normalised input of the call that comes next, to caches that read more than queries and keys.
    ///
    /// # Shapes
    /// `h_tc`: `[T, C]`.
    fn see_input(&mut self, _h_tc: &Tensor) {}

    /// Takes in the tokens of one forward call and attends from them.
    ///
    /// # Shapes
    /// `q_thd`: `[T, H, D]`, `k_tkd` and `v_tkd`: `[T, K, D]`, `K` divides `H`. Returns `[T, H, D]`.
    ///
    /// # Errors
    /// [`InferError::Torch`] if memory runs out.
    fn attend(
        &mut self,
        q_thd: &Tensor,
        k_tkd: &Tensor,
        v_tkd: &Tensor,
    ) -> Result<Tensor, InferError>;

    /// Says that the last `patch_len` tokens of the next call only observe it: they attend like others, and are forgotten.
    ///
    /// # Errors
    /// [`InferError::Patch`] from a cache whose rule of keeping knows no patch.
    fn expect_patch(&mut self, patch_len: usize) -> Result<(), InferError> {
        Err(InferError::Patch { patch_len })
    }

    /// Says that the prompt has been prefilled and decoding begins.
    ///
    /// # Errors
    /// [`InferError::Torch`] if memory runs out while rows are moved.
    fn end_prefill(&mut self) -> Result<(), InferError> {
        Ok(())
    }

    /// Entries that took part in the last call: those kept from before and the call's own.
    fn held(&self) -> u64;

    /// Entries kept for the next call.
    fn stored(&self) -> u64;

    /// Entries for which memory is allocated.
    fn allocated(&self) -> u64;

    /// (query, key) pairs so far whose entry was held for the query, summed over kv heads.
    fn pairs(&self) -> u64;

    /// (query, key) pairs attended so far, summed over query heads, `group_size` of which share a kv head.
    ///
    /// Fewer than [`Self::pairs`] says only where a query passes over entries that are held for it.
    fn attended_pairs(&self, group_size: u64) -> u64 {
        self.pairs() * group_size
    }
}
