//! Attention from a call's queries over the rows a cache holds.
//!
//! A chunk over cached rows is two dense problems, every cached row and the chunk's own rows causally, merged through
//! their normalisers: no mask of chunk x rows is ever made.

use crate::attention::{Attended, Backend, Qkv, Visibility, merge};
use crate::infer::int::{to_i64, to_u64, to_usize, triangle};
use crate::torch::dims::dims;
use tch::Tensor;

/// Keys and values of the same rows, `[S, K, D]` each.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    pub(super) k_skd: &'a Tensor,
    pub(super) v_skd: &'a Tensor,
}

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
    let part = |start: i64, len: i64| (k_skd.narrow(0, start, len), v_skd.narrow(0, start, len));
    if num_queries == 1 {
        return attended(backend, q_thd, Rows { k_skd, v_skd }, Visibility::All)
            .out
            .squeeze_dim(0);
    }
    let (cached_k, cached_v) = part(0, num_rows - num_queries);
    let (own_k, own_v) = part(num_rows - num_queries, num_queries);
    let cached = Rows {
        k_skd: &cached_k,
        v_skd: &cached_v,
    };
    let own = Rows {
        k_skd: &own_k,
        v_skd: &own_v,
    };
    after(backend, q_thd, cached, own)
}

/// Attends over all `cached` rows and causally over the queries' `own`.
///
/// # Shapes
/// `q_thd`: `[T, H, D]`; `cached` any number of rows, `own` `T`. Returns `[T, H, D]`.
pub(super) fn after(backend: &dyn Backend, q_thd: &Tensor, cached: Rows, own: Rows) -> Tensor {
    let cached =
        (row_count(cached.k_skd) > 0).then(|| attended(backend, q_thd, cached, Visibility::All));
    after_attended(backend, q_thd, cached.as_ref(), own)
}

/// [`after`] for cached rows that have been attended already.
pub(super) fn after_attended(
    backend: &dyn Backend,
    q_thd: &Tensor,
    cached: Option<&Attended>,
    own: Rows,
) -> Tensor {
    let own = attended(backend, q_thd, own, Visibility::Causal);
    let result = match cached {
        None => own,
        Some(cached) => merge::merge(cached, &own),
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
    let rows = Rows { k_skd, v_skd };
    let result = attended(backend, q_thd, rows, Visibility::Masked(mask_ts));
    result.out.squeeze_dim(0)
}

/// One dense problem, with its normaliser.
pub(super) fn attended(
    backend: &dyn Backend,
    q_thd: &Tensor,
    rows: Rows,
    visibility: Visibility,
) -> Attended {
    let [q, k, v] = [q_thd, rows.k_skd, rows.v_skd].map(|rows| rows.unsqueeze(0));
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
    pairs_after(num_queries, num_rows - num_queries)
}

/// (query, key) pairs of [`after`] for one kv head.
pub(super) fn pairs_after(num_queries: usize, num_cached: usize) -> u64 {
    to_u64(num_cached) * to_u64(num_queries) + triangle(num_queries)
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
