//! What a token-eviction cache has to decide after each prefill call: how many entries stay, and how they rank.

use super::attend::row_count;
use super::ranking::{Chunk, Ranking};
use crate::footprint::eviction::{CallBudget, LayerAt, TokenEviction};
use crate::infer::error::InferError;
use tch::Tensor;

/// A method at one layer of one sequence.
pub struct Keeper {
    ranking: Box<dyn Ranking>,
    eviction: TokenEviction,
    at: LayerAt,
    seen: usize,
    patch_len: usize,
    decoding: bool,
}

/// The verdict on one prefill call.
pub(super) struct Verdict {
    /// How many entries stay.
    pub(super) budget: CallBudget,
    /// `[K, G, T - window_len]`; nothing where every prompt token stays.
    pub(super) scores: Option<Tensor>,
}

impl Keeper {
    /// Ranks by `ranking` and keeps what `eviction` allows.
    pub fn new(ranking: Box<dyn Ranking>, eviction: TokenEviction, at: LayerAt) -> Self {
        Self {
            ranking,
            eviction,
            at,
            seen: 0,
            patch_len: 0,
            decoding: false,
        }
    }

    pub(super) fn expect_patch(&mut self, patch_len: usize) {
        self.patch_len = patch_len;
    }

    pub(super) fn end_prefill(&mut self) {
        self.decoding = true;
    }

    /// Whether the prompt is over: from then on everything stays.
    pub(super) fn decoding(&self) -> bool {
        self.decoding
    }

    /// Judges the tokens of a prefill call.
    pub(super) fn judge(&mut self, q_thd: &Tensor, k_tkd: &Tensor) -> Result<Verdict, InferError> {
        let patch_len = std::mem::take(&mut self.patch_len);
        let call_len = row_count(q_thd);
        let size = call_len - patch_len;
        let budget = self.eviction.budget(size, patch_len, self.at);
        let chunk = Chunk {
            q_thd,
            k_tkd,
            start: self.seen,
            window_len: budget.window_len,
        };
        self.seen += size;
        let ranked = !budget.keeps_all(call_len);
        let scores = ranked.then(|| self.ranking.scores(&chunk)).transpose()?;
        Ok(Verdict { budget, scores })
    }
}
