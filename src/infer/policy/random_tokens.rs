//! Random tokens: every head keeps a random share of each chunk. What a ranking is worth is what it gains over this.

use crate::infer::cache::ranking::{Chunk, Ranking};
use crate::infer::error::InferError;
use crate::infer::int::{to_i64, to_u64, to_usize};
use crate::random;
use crate::torch::dims::dims;
use tch::Tensor;

/// The ranking: a function of seed, layer, chunk and head.
#[derive(Debug, Clone, Copy)]
pub struct RandomTokens {
    seed: u64,
    layer: usize,
}

impl RandomTokens {
    /// Draws for one layer.
    pub fn new(seed: u64, layer: usize) -> Self {
        Self { seed, layer }
    }
}

impl Ranking for RandomTokens {
    fn scores(&self, chunk: &Chunk) -> Result<Tensor, InferError> {
        let [num_tokens, num_heads, _] = dims(chunk.q_thd);
        let [_, num_kv_heads, _] = dims(chunk.k_tkd);
        let num_ranked = to_usize(num_tokens) - chunk.window_len;
        let mut scores = Vec::with_capacity(to_usize(num_heads) * num_ranked);
        for head in 0..to_u64(to_usize(num_heads)) {
            let at = [self.seed, to_u64(self.layer), to_u64(chunk.start), head];
            let mut rng = random::stream("evict random tokens", &at);
            scores.extend((0..num_ranked).map(|_| random::uniform(&mut rng)));
        }
        let shape = [num_kv_heads, num_heads / num_kv_heads, to_i64(num_ranked)];
        Ok(Tensor::from_slice(&scores)
            .view(shape)
            .to_device(chunk.q_thd.device()))
    }
}
