//! The order in which a method would keep the entries of one chunk, and the pick of the best.
//!
//! **Invariant:** a ranking sees one call's own queries and keys, never cached ones; equal scores go to the lower position.

use crate::infer::error::InferError;
use crate::infer::int::to_i64;
use tch::{Kind, Tensor};

/// One prefill call as a ranking sees it.
#[derive(Clone, Copy)]
pub struct Chunk<'a> {
    /// `[T, H, D]`, rotated.
    pub q_thd: &'a Tensor,
    /// `[T, K, D]`, rotated.
    pub k_tkd: &'a Tensor,
    /// Position of the first token in the sequence.
    pub start: usize,
    /// Trailing tokens that are not ranked; fewer than `T`.
    pub window_len: usize,
}

/// How a method orders entries. One per layer and sequence.
pub trait Ranking {
    /// Scores of the entries before the window: those with the highest stay.
    ///
    /// # Shapes
    /// Returns `[K, G, T - window_len]`, one score per head and token.
    ///
    /// # Errors
    /// [`InferError::Torch`] if memory runs out.
    fn scores(&self, chunk: &Chunk) -> Result<Tensor, InferError>;
}

/// Positions of the `count` highest scores along the last axis, in ascending order.
///
/// # Shapes
/// `scores`: `[.., M]`, `count <= M`. Returns `[.., count]`, int64.
pub(in crate::infer) fn top(scores: &Tensor, count: usize) -> Tensor {
    // A stable sort, because top-k leaves the order of equal scores open.
    let (_, order) = scores.sort_stable(true, -1, true);
    let (positions, _) = order.narrow(-1, 0, to_i64(count)).sort(-1, false);
    positions
}

/// Marks the `count` highest scores along the last axis.
///
/// # Shapes
/// `scores`: `[.., M]`, `count <= M`. Returns `[.., M]`, boolean.
pub(in crate::infer) fn top_marks(scores: &Tensor, count: usize) -> Tensor {
    let marks = scores.zeros_like().to_kind(Kind::Bool);
    marks.scatter_value(-1, &top(scores, count), 1)
}
