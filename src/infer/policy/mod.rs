//! What a method keeps: one file per method.
//!
//! A policy is asked once per sequence and layer for the caches of that layer. A new method is a file here and, if it keeps
//! rows in a new way, a [`HeadCache`] of its own, which sees the layer's new keys, values and queries.

use super::cache::{HeadCache, RowSpec};
use super::error::InferError;

pub mod full;
pub mod head_mask;

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
}
