//! Selecting kv heads (with their groups of query heads) and putting results back.

use crate::torch::dims::dims;
use tch::{Device, Tensor};

/// A subset of a layer's kv heads, ascending.
#[derive(Debug)]
pub struct HeadSet {
    heads: Vec<i64>,
    num_kv_heads: usize,
    index: Tensor,
}

impl HeadSet {
    /// The kv heads whose gate satisfies `pick`.
    pub fn of(z: &[f64], device: Device, pick: impl Fn(f64) -> bool) -> Self {
        let chosen = z.iter().enumerate().filter(|(_, z)| pick(**z));
        let heads: Vec<i64> = chosen
            .filter_map(|(head, _)| i64::try_from(head).ok())
            .collect();
        let index = Tensor::from_slice(&heads).to_device(device);
        Self {
            heads,
            num_kv_heads: z.len(),
            index,
        }
    }

    /// Whether no head is in the set.
    pub fn is_empty(&self) -> bool {
        self.heads.is_empty()
    }

    /// Whether every head of the layer is in the set.
    pub fn is_all(&self) -> bool {
        self.heads.len() == self.num_kv_heads
    }

    /// The kv heads, ascending.
    pub fn heads(&self) -> &[i64] {
        &self.heads
    }

    /// The set's part of `x`; `x` itself (another handle) when the set is everything.
    ///
    /// # Shapes
    /// `x` `[B, T, K * n, D]` for any `n` (1 for keys, `G` for queries) -> `[B, T, k * n, D]`, `k` heads in the set.
    pub fn select(&self, x: &Tensor) -> Tensor {
        if self.is_all() {
            return x.shallow_clone();
        }
        let (blocks, tail) = self.blocks(x);
        blocks
            .index_select(2, &self.index)
            .view([tail[0], tail[1], -1, tail[3]])
    }

    /// The set's part of statistics per query head.
    ///
    /// # Shapes
    /// `lse` `[B, K * n, T]` -> `[B, k * n, T]`.
    pub fn select_lse(&self, lse: &Tensor) -> Tensor {
        if self.is_all() {
            return lse.shallow_clone();
        }
        let [b, _, t] = dims(lse);
        let num_kv_heads = i64::try_from(self.num_kv_heads).unwrap_or(1);
        lse.reshape([b, num_kv_heads, -1])
            .index_select(1, &self.index)
            .view([b, -1, t])
    }

    /// Adds `part` `[B, T, k * n, D]` to the set's heads of `x` `[B, T, K * n, D]`, in place.
    ///
    /// # Shapes
    /// `x` must be contiguous.
    pub fn add_into(&self, x: &Tensor, part: &Tensor) {
        let (blocks, tail) = self.blocks(x);
        let [num_heads] = dims(&self.index);
        let part = part.reshape([tail[0], tail[1], num_heads, -1]);
        let mut blocks = blocks;
        let _ = blocks.index_add_(2, &self.index, &part);
    }

    /// `values[head]` of the set's heads as a tensor that multiplies `[B, T, k, n, D]`.
    ///
    /// # Shapes
    /// `like`: any; only its dtype and device count. Returns `[1, 1, k, 1, 1]`.
    pub fn weights(&self, values: impl Fn(usize) -> f64, like: &Tensor) -> Tensor {
        let picked: Vec<f64> = self
            .heads
            .iter()
            .filter_map(|head| usize::try_from(*head).ok())
            .map(values)
            .collect();
        let kind = super::wide(like.kind());
        Tensor::from_slice(&picked)
            .to_kind(kind)
            .to_device(like.device())
            .view([1, 1, -1, 1, 1])
    }

    /// `x` with its head dimension split by kv head, `[B, T, K, n * D]`, and `x`'s shape.
    fn blocks(&self, x: &Tensor) -> (Tensor, Vec<i64>) {
        let dims = x.size();
        let num_kv_heads = i64::try_from(self.num_kv_heads).unwrap_or(1);
        (
            x.view([
                dims[0],
                dims[1],
                num_kv_heads,
                dims[2] / num_kv_heads * dims[3],
            ]),
            dims,
        )
    }
}

/// Scales the heads of `x` `[B, T, k * n, D]` by one weight per kv head (see [`HeadSet::weights`]).
///
/// # Shapes
/// `x`: `[B, T, k * n, D]`. `weights`: `[1, 1, k, 1, 1]`. Returns the shape of `x`.
///
/// # Precision
/// Computed in the wide dtype, stored in the dtype of `x`.
pub fn scale_heads(x: &Tensor, weights: &Tensor) -> Tensor {
    let [b, t, num_heads, d] = dims(x);
    let [_, _, num_kv_heads, _, _] = dims(weights);
    let split = x.reshape([b, t, num_kv_heads, num_heads / num_kv_heads, d]);
    (split * weights)
        .to_kind(x.kind())
        .view([b, t, num_heads, d])
}
