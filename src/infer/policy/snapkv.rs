//! `SnapKV` (arXiv 2404.14469): a token ranks by the attention that the last tokens of its chunk pay to it.
//!
//! # Decisions
//! Probabilities stay in f32 (f64 for f64 models) until the entries are picked. The published code rounds them to the model's
//! dtype, which in bf16 makes ties that it breaks in no defined order.

use crate::attention::{scale, wide};
use crate::infer::cache::ranking::{Chunk, Ranking};
use crate::infer::error::InferError;
use crate::infer::int::{to_i64, to_usize};
use crate::torch::dims::dims;
use tch::{Kind, Tensor};

/// Keys whose scores exist at a time.
const KEY_BLOCK: usize = 4096;

/// How neighbouring tokens share their scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pooling {
    /// The mean, zeros beyond both ends counted.
    Average,
    /// The largest.
    Max,
}

/// Pooling over how many tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Smoothing {
    /// How scores are pooled.
    pub pooling: Pooling,
    /// Tokens on each side that share with a token.
    pub reach: usize,
}

/// The ranking.
#[derive(Debug, Clone, Copy)]
pub struct SnapKv {
    smoothing: Smoothing,
    key_block: usize,
}

impl Default for Smoothing {
    /// The published experiments' average over five tokens.
    fn default() -> Self {
        Self {
            pooling: Pooling::Average,
            reach: 2,
        }
    }
}

impl Smoothing {
    /// Pools `[K, G, M]` along the tokens.
    fn apply(&self, scores_kgm: &Tensor) -> Tensor {
        let reach = to_i64(self.reach);
        let len = 2 * reach + 1;
        match self.pooling {
            Pooling::Average => scores_kgm.avg_pool1d(len, 1, reach, false, true),
            Pooling::Max => scores_kgm.max_pool1d(len, 1, reach, 1, false),
        }
    }
}

impl SnapKv {
    /// Ranks by scores smoothed so.
    pub fn new(smoothing: Smoothing) -> Self {
        Self {
            smoothing,
            key_block: KEY_BLOCK,
        }
    }
}

impl Ranking for SnapKv {
    fn scores(&self, chunk: &Chunk) -> Result<Tensor, InferError> {
        let received_kgm = Observer::new(chunk).received(self.key_block);
        Ok(self.smoothing.apply(&received_kgm))
    }
}

/// The queries of the observation window over the keys of their chunk, block by block.
///
/// Of several blocks, two passes: one for the softmax's normalisers and one for the columns' sums, so that no more than window x
/// block scores exist at a time.
struct Observer {
    /// `[K, G * W, D]`, scaled.
    q_kxd: Tensor,
    /// `[K, D, T]`, a view.
    k_kdt: Tensor,
    group_size: i64,
    window_len: i64,
    /// Keys before the window.
    num_ranked: usize,
    kind: Kind,
}

impl Observer {
    fn new(chunk: &Chunk) -> Self {
        let [num_tokens, num_heads, head_dim] = dims(chunk.q_thd);
        let [_, num_kv_heads, _] = dims(chunk.k_tkd);
        let (group_size, window_len) = (num_heads / num_kv_heads, to_i64(chunk.window_len));
        let kind = wide(chunk.q_thd.kind());
        let window = chunk.q_thd.narrow(0, num_tokens - window_len, window_len);
        let grouped = window.view([window_len, num_kv_heads, group_size, head_dim]);
        let q_kgwd = grouped.permute([1, 2, 0, 3]).to_kind(kind) * scale(head_dim);
        Self {
            q_kxd: q_kgwd.reshape([num_kv_heads, group_size * window_len, head_dim]),
            k_kdt: chunk.k_tkd.permute([1, 2, 0]),
            group_size,
            window_len,
            num_ranked: to_usize(num_tokens - window_len),
            kind,
        }
    }

    /// Scores of the window's queries at `len` keys from `start`: `[K, G, W, len]`.
    fn scores(&self, start: usize, len: usize) -> Tensor {
        let keys = self.k_kdt.narrow(2, to_i64(start), to_i64(len));
        let scores_kxs = self.q_kxd.matmul(&keys.to_kind(self.kind));
        let shape = [-1, self.group_size, self.window_len, to_i64(len)];
        scores_kxs.view(shape)
    }

    /// Start and length of each block of ranked keys.
    fn blocks(&self, key_block: usize) -> impl Iterator<Item = (usize, usize)> {
        let num_ranked = self.num_ranked;
        let starts = (0..num_ranked).step_by(key_block);
        starts.map(move |start| (start, key_block.min(num_ranked - start)))
    }

    /// Which of the window's own keys come after each of its queries: `[W, W]`.
    fn later(&self) -> Tensor {
        let options = (Kind::Bool, self.q_kxd.device());
        Tensor::ones([self.window_len, self.window_len], options).triu(1)
    }

    /// Log of each query's sum of exponentials over all keys it sees: `[K, G, W]`.
    fn normalisers(&self, key_block: usize) -> Tensor {
        let own = self.scores(self.num_ranked, to_usize(self.window_len));
        let own = own
            .masked_fill(&self.later(), f64::NEG_INFINITY)
            .logsumexp(-1, false);
        self.blocks(key_block).fold(own, |sum, (start, len)| {
            sum.logaddexp(&self.scores(start, len).logsumexp(-1, false))
        })
    }

    /// The attention that each ranked key gets from the window: `[K, G, M]`.
    fn received(&self, key_block: usize) -> Tensor {
        if self.num_ranked <= key_block {
            return self.received_at_once();
        }
        let normalisers_kgw1 = self.normalisers(key_block).unsqueeze(-1);
        let of_block = |(start, len)| {
            let probabilities = (self.scores(start, len) - &normalisers_kgw1).exp();
            probabilities.sum_dim_intlist(2, false, self.kind)
        };
        let blocks: Vec<Tensor> = self.blocks(key_block).map(of_block).collect();
        Tensor::cat(&blocks, -1)
    }

    /// The same where all keys are one block: every score is computed once.
    fn received_at_once(&self) -> Tensor {
        let len = self.num_ranked + to_usize(self.window_len);
        let scores_kgwt = self.scores(0, len);
        let mut own = scores_kgwt.narrow(-1, to_i64(self.num_ranked), self.window_len);
        let _ = own.masked_fill_(&self.later(), f64::NEG_INFINITY);
        let received = scores_kgwt.softmax(-1, self.kind);
        let ranked = received.narrow(-1, 0, to_i64(self.num_ranked));
        ranked.sum_dim_intlist(2, false, self.kind)
    }
}

#[cfg(test)]
mod tests;
