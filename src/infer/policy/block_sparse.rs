//! Block-sparse (`MInference`, arXiv 2407.02490): while the prompt is read, every head attends to the blocks of keys whose mean
//! has the largest product with the mean of a block of queries.
//!
//! # Decisions
//! Blocks of queries and keys are cut at the multiples of the block length, so prompts in chunks of whole blocks give what one
//! piece gives. The mean of a shorter last block is over its own tokens; the published code counts the zeros that pad it.
//! As published, a block of queries is not sure of its own keys.

use crate::infer::cache::blocks::{aligned, means};
use crate::infer::cache::keys::Keys;
use crate::infer::cache::pattern::{Call, Part, Pattern};
use crate::infer::cache::ranking::top;
use crate::infer::int::{to_host, to_i64};
use crate::torch::dims::dims;
use std::ops::Range;
use tch::Tensor;

/// The pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct BlockSparse {
    /// Blocks of keys for each block of queries.
    pub num_blocks: usize,
    /// Tokens of a block.
    pub block_len: usize,
}

impl Default for BlockSparse {
    /// The published default.
    fn default() -> Self {
        Self {
            num_blocks: 100,
            block_len: 64,
        }
    }
}

impl Pattern for BlockSparse {
    fn attend(&self, call: &Call) -> Part {
        let queries: Vec<Range<usize>> = aligned(call.queries(), self.block_len).collect();
        let keys: Vec<Range<usize>> = aligned(0..call.queries().end, self.block_len).collect();
        let q_rhd = means(call.q(), call.queries().start, &queries);
        let k_nkd = means(call.k(), 0, &keys);
        let [_, num_kv_heads, _] = dims(&k_nkd);
        let group_size = to_i64(call.num_heads()) / num_kv_heads;
        let of_head = |head: usize| {
            let q_rd = q_rhd.select(1, to_i64(head));
            let k_nd = k_nkd.select(1, to_i64(head) / group_size);
            let scores_rn = q_rd.matmul(&k_nd.tr());
            let call = call.head(head);
            let rows = (0..).zip(&queries);
            Part::after(rows.map(|(row, block)| {
                let chosen = self.choose(&scores_rn.get(row), block);
                let ranges = chosen.into_iter().map(|place| keys[place].clone());
                call.attend(block, &Keys::new(ranges, block.end))
            }))
        };
        Part::beside((0..call.num_heads()).map(of_head))
    }
}

impl BlockSparse {
    /// Blocks for a block of queries, none of them later: places of the highest of `scores_n`.
    fn choose(&self, scores_n: &Tensor, block: &Range<usize>) -> Vec<usize> {
        let num_seen = block.start / self.block_len + 1;
        let seen = scores_n.narrow(0, 0, to_i64(num_seen));
        to_host(&top(&seen, self.num_blocks.min(num_seen)))
    }
}
