//! `MoBA` (arXiv 2502.13189): while the prompt is read, each query of each head attends to its own block, causally, and to the
//! past blocks whose mean key has the largest product with it.
//!
//! # Decisions
//! Its authors train with it and say that it is no drop-in for other models: here it is what an untrained gate makes of a
//! model. They keep some last layers full in their largest model; we gate all.
//! Work is cut by block of keys: the queries that chose a block read it together, and what each found in its blocks is merged
//! through the normalisers.

use crate::infer::cache::blocks::{aligned, means};
use crate::infer::cache::pattern::{Call, Part, Pattern};
use crate::infer::cache::ranking::top_marks;
use crate::infer::int::{to_i64, to_usize};
use crate::torch::dims::dims;
use std::ops::Range;
use tch::{Kind, Tensor};

/// The pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Moba {
    /// Blocks of each query, its own among them; at least 1.
    pub num_blocks: usize,
    /// Tokens of a block.
    pub block_len: usize,
}

impl Default for Moba {
    /// The published scaling experiments.
    fn default() -> Self {
        Self {
            num_blocks: 3,
            block_len: 512,
        }
    }
}

impl Pattern for Moba {
    fn attend(&self, call: &Call) -> Part {
        let own = call.attend_own_blocks(self.block_len);
        let past = self.past(call);
        if past.is_empty() || self.num_blocks == 1 {
            return own;
        }
        let means_nkd = means(call.k(), 0, &past);
        let [_, num_kv_heads, _] = dims(&means_nkd);
        let group_size = to_i64(call.num_heads()) / num_kv_heads;
        let of_head = |head: usize| {
            let mut sum = own.start_of(head);
            let call = call.head(head);
            let means_nd = means_nkd.select(1, to_i64(head) / group_size);
            let chosen_tn = self.choose(&call, &means_nd);
            for (place, block) in (0..).zip(&past) {
                let queries = chosen_tn.select(1, place).nonzero().squeeze_dim(1);
                if queries.numel() > 0 {
                    sum.add(&queries, &call.attend_at(&queries, block));
                }
            }
            sum
        };
        let mut sum = Part::beside((0..call.num_heads()).map(of_head));
        sum.pairs += own.pairs;
        sum.out = sum.out.to_kind(own.out.kind());
        sum
    }
}

impl Moba {
    /// The blocks that are past for the last query.
    fn past(&self, call: &Call) -> Vec<Range<usize>> {
        let last = call.queries().end - 1;
        aligned(0..last / self.block_len * self.block_len, self.block_len).collect()
    }

    /// Marks the past blocks that each query of the only head reads besides its own: `[T, N]`.
    fn choose(&self, call: &Call, means_nd: &Tensor) -> Tensor {
        let q_td = call.q().squeeze_dim(1).to_kind(means_nd.kind());
        let scores_tn = q_td.matmul(&means_nd.tr());
        let [_, num_past] = dims(&scores_tn);
        let queries = call.queries();
        let options = (Kind::Int64, scores_tn.device());
        let q_t = Tensor::arange_start(to_i64(queries.start), to_i64(queries.end), options);
        let own_t1 = q_t
            .divide_scalar_mode(to_i64(self.block_len), "floor")
            .unsqueeze(1);
        let past_tn = Tensor::arange(num_past, options).lt_tensor(&own_t1);
        let scores_tn = scores_tn.masked_fill(&past_tn.logical_not(), f64::NEG_INFINITY);
        let count = (self.num_blocks - 1).min(to_usize(num_past));
        top_marks(&scores_tn, count).logical_and(&past_tn)
    }
}
