//! Attention from a call's queries over the rows a cache holds.
//!
//! A chunk over cached rows is two dense problems, every cached row and the chunk's own rows causally, merged through
//! their normalisers: no mask of chunk x rows is ever made.

use crate::attention::{Attended, Backend, Qkv, Visibility, merge};
use crate::infer::int::{to_i64, to_usize, triangle};
use crate::torch::dims::dims;
use tch::Tensor;

/// Attends causally, the last query seeing every row (bottom-right aligned).
///
/// # Shapes
/// `q_thd`: `[T, H, D]`. `k_skd`, `v_skd`: `[S, K, D]`, `T <= S`, the last `T` rows being the queries' own.
/// Returns `[T, H, D]`.
pub(super) fn causal(
    backend: &dyn Backend,
    q_thd: &Tensor,
    k_skd: &Tensor,
    v_skd: &Tensor,
) -> Tensor {
    let [num_queries, _, _] = dims(q_thd);
    let [num_rows, _, _] = dims(k_skd);
    let before = num_rows - num_queries;
    let part = |start: i64, len: i64, visibility: Visibility| {
        let (k, v) = (k_skd.narrow(0, start, len), v_skd.narrow(0, start, len));
        attended(backend, q_thd, &k, &v, visibility)
    };
    let result = if num_queries == 1 {
        part(0, before + 1, Visibility::All)
    } else if before == 0 {
        part(0, num_queries, Visibility::Causal)
    } else {
        let cached = part(0, before, Visibility::All);
        merge::merge(&cached, &part(before, num_queries, Visibility::Causal))
    };
    result.out.squeeze_dim(0)
}

/// Attends over the rows that the boolean `mask_ts` marks visible, at least one per query.
///
/// # Shapes
/// `q_thd`: `[T, H, D]`. `k_skd`, `v_skd`: `[S, K, D]`. `mask_ts`: `[T, S]`. Returns `[T, H, D]`.
pub(super) fn masked(
    backend: &dyn Backend,
    q_thd: &Tensor,
    k_skd: &Tensor,
    v_skd: &Tensor,
    mask_ts: &Tensor,
) -> Tensor {
    let result = attended(backend, q_thd, k_skd, v_skd, Visibility::Masked(mask_ts));
    result.out.squeeze_dim(0)
}

fn attended(
    backend: &dyn Backend,
    q_thd: &Tensor,
    k_skd: &Tensor,
    v_skd: &Tensor,
    visibility: Visibility,
) -> Attended {
    let [q, k, v] = [q_thd, k_skd, v_skd].map(|rows| rows.unsqueeze(0));
    let qkv = Qkv {
        q: &q,
        k: &k,
        v: &v,
    };
    backend.forward(qkv, visibility)
}

/// (query, key) pairs of [`causal`] for one kv head, from the shapes it is given.
///
/// # Shapes
/// `q_thd`: `[T, H, D]`. `k_skd`: `[S, K, D]`.
pub(super) fn causal_pairs(q_thd: &Tensor, k_skd: &Tensor) -> u64 {
    let (num_queries, num_rows) = (row_count(q_thd), row_count(k_skd));
    let before = (num_rows - num_queries) as u64;
    before * num_queries as u64 + triangle(num_queries)
}

/// Rows of a `[T, K, D]` tensor.
pub(super) fn row_count(rows_tkd: &Tensor) -> usize {
    let [num_rows, _, _] = dims(rows_tkd);
    to_usize(num_rows)
}

/// Puts the outputs of consecutive query blocks, `[T, H, D]` each, together again.
pub(super) fn join(mut outputs_thd: Vec<Tensor>) -> Tensor {
    if outputs_thd.len() == 1 {
        return outputs_thd.swap_remove(0);
    }
    Tensor::cat(&outputs_thd, 0)
}

/// `[start, start + len)` of the rows.
pub(super) fn slice(rows: &Tensor, start: usize, len: usize) -> Tensor {
    rows.narrow(0, to_i64(start), to_i64(len))
}
