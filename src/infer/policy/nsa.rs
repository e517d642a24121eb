//! Native sparse attention (arXiv 2502.11089), for models that were trained with it: everything is kept, and each query reads
//! means of blocks, some blocks whole, and a window.
//!
//! # Decisions
//! A checkpoint carries it as `model.layers.N.self_attn.g_proj.weight`, `[3 H, C]`, beside Llama's tensors: three gates for
//! each head, in the order means, chosen blocks, window. That is the layout of the open implementation
//! (fla-org/native-sparse-attention): keys and values are shared by the branches, a block is compressed to the means of its
//! rotated keys and of its values, and the blocks that are compressed are those that are chosen. The paper trains compression
//! and keys and values of each branch of its own: a checkpoint with such tensors is refused, as every one with tensors that are not
//! known.
//! Of the blocks of a query its own, the one before it and the first are always read, the others by their weight in the
//! branch of means, summed over the heads of a group, so that these read the same blocks.
//! The means are memory beside the entries, one row per block: they are part of what is allocated, not of the footprint.

use super::{HeadGroup, Policy};
use crate::infer::cache::RowSpec;
use crate::infer::cache::branches::{BranchCache, Branches};
use crate::infer::error::InferError;
use tch::Tensor;

/// The method with the gates of a model.
#[derive(Debug)]
pub struct Nsa {
    branches: Branches,
    gates: Vec<Tensor>,
}

impl Nsa {
    /// The method for a model whose layers have these `gates`, `[3 H, C]` each.
    ///
    /// # Shapes
    /// `gates`: `[3 H, C]`, one per layer.
    pub fn new(branches: Branches, gates: &[Tensor]) -> Self {
        Self {
            branches,
            gates: gates.iter().map(Tensor::shallow_clone).collect(),
        }
    }
}

impl Policy for Nsa {
    fn open(&self, layer: usize, spec: &RowSpec) -> Result<Vec<HeadGroup>, InferError> {
        let gates = self.gates.get(layer).ok_or(InferError::Layer {
            layer,
            layers: self.gates.len(),
        })?;
        let cache = BranchCache::new(spec.clone(), self.branches, gates.shallow_clone())?;
        Ok(vec![HeadGroup {
            num_kv_heads: spec.num_kv_heads,
            cache: Box::new(cache),
        }])
    }
}
