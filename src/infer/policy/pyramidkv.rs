//! `PyramidKV` (arXiv 2406.02069): ranks as `SnapKV`, and keeps more in early layers than in late ones.

use super::snapkv::{Smoothing, SnapKv};
use crate::footprint::eviction::LayerBudget;
use crate::infer::cache::ranking::{Chunk, Ranking};
use crate::infer::error::InferError;
use tch::Tensor;

/// The ranking.
#[derive(Debug, Clone, Copy)]
pub struct PyramidKv {
    scores: SnapKv,
}

impl PyramidKv {
    /// How its budget differs between layers.
    pub const LAYERS: LayerBudget = LayerBudget::Pyramid;

    /// Ranks by scores smoothed so.
    pub fn new(smoothing: Smoothing) -> Self {
        Self {
            scores: SnapKv::new(smoothing),
        }
    }
}

impl Ranking for PyramidKv {
    fn scores(&self, chunk: &Chunk) -> Result<Tensor, InferError> {
        self.scores.scores(chunk)
    }
}
