//! Key norm (arXiv 2406.11430): tokens whose keys are short stay. No queries, no softmax.
//!
//! Rotation leaves the norm alone, so rotated keys serve. All heads of a group read the same keys and choose alike.

use crate::attention::wide;
use crate::footprint::eviction::LayerBudget;
use crate::infer::cache::ranking::{Chunk, Ranking};
use crate::infer::error::InferError;
use crate::infer::int::to_i64;
use crate::torch::dims::dims;
use tch::Tensor;

/// The ranking.
#[derive(Debug, Clone, Copy)]
pub struct KeyNorm;

impl KeyNorm {
    /// How its budget differs between layers: the first two keep everything.
    pub const LAYERS: LayerBudget = LayerBudget::FullBelow(2);
}

impl Ranking for KeyNorm {
    fn scores(&self, chunk: &Chunk) -> Result<Tensor, InferError> {
        let [num_tokens, num_heads, _] = dims(chunk.q_thd);
        let [_, num_kv_heads, _] = dims(chunk.k_tkd);
        let num_ranked = num_tokens - to_i64(chunk.window_len);
        let kind = wide(chunk.k_tkd.kind());
        let keys = chunk.k_tkd.narrow(0, 0, num_ranked).to_kind(kind);
        let squares_mk = keys.square().sum_dim_intlist(-1, false, kind);
        let scores_k1m = squares_mk.neg().transpose(0, 1).unsqueeze(1);
        Ok(scores_k1m.expand([num_kv_heads, num_heads / num_kv_heads, num_ranked], false))
    }
}
