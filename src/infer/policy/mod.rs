//! What a method keeps: one file per method.
//!
//! A policy is asked once per sequence and layer for the caches of that layer. A new method is a file here and, if it keeps
//! rows in a new way, a [`HeadCache`] of its own, which sees the layer's new keys, values and queries. A method that evicts
//! the worst-ranked tokens of each chunk is only a ranking, registered in [`evicting`]; one that keeps everything and attends to
//! a part of it while the prompt is read is only a pattern, registered in [`skipping`].

use super::cache::{HeadCache, RowSpec};
use super::error::InferError;
use crate::fault::AnyFault;

pub mod a_shape;
pub mod block_sparse;
pub mod evicting;
pub mod full;
pub mod head_mask;
pub mod knorm;
pub mod moba;
pub mod nsa;
pub mod pyramidkv;
pub mod random_tokens;
pub mod skipping;
pub mod snapkv;
pub mod streaming_llm;
#[cfg(test)]
mod tests;
pub mod vertical_slash;

/// Consecutive kv heads of one layer under one cache.
pub struct HeadGroup {
    /// Kv heads served, in the model's present order.
    pub num_kv_heads: usize,
    /// Their cache.
    pub cache: Box<dyn HeadCache>,
}

/// A method of keeping keys and values.
pub trait Policy {
    /// Opens the caches of `layer` for one sequence, in kv head order; their heads sum to `spec.num_kv_heads`.
    ///
    /// # Errors
    /// [`InferError::Torch`] if memory runs out.
    fn open(&self, layer: usize, spec: &RowSpec) -> Result<Vec<HeadGroup>, InferError>;

    /// Tokens at the end of the prefilled prompt that are appended to every chunk but the last and forgotten after it.
    fn patch_len(&self) -> usize {
        0
    }

    /// Checks that the method can work in chunks of `chunk_len` tokens.
    ///
    /// # Errors
    /// The setting that does not fit, named.
    fn check(&self, _chunk_len: usize) -> Result<(), AnyFault> {
        Ok(())
    }
}
