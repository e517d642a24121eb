//! Attention from a call's queries over the rows a cache holds.
//!
//! Queries are taken in slices so that the scores of a long chunk never exist all at once.
//!
//! # Precision
//! Scores and softmax in f32 (f64 for f64 input); result in the dtype of the queries.

use crate::infer::error::InferError;
use crate::infer::int::{to_i64, to_usize, triangle};
use tch::{Kind, Tensor};

/// Scores that may exist at once, in elements.
const MAX_SCORES: usize = 1 << 24;

/// Attends causally, the last query seeing every row (bottom-right aligned).
///
/// # Shapes
/// `q_thd`: `[T, H, D]`. `k_skd`, `v_skd`: `[S, K, D]`, `T <= S`, the last `T` rows being the queries' own.
/// Returns `[T, H, D]`.
pub(super) fn causal(
    q_thd: &Tensor,
    k_skd: &Tensor,
    v_skd: &Tensor,
) -> Result<Tensor, InferError> {
    let (num_queries, num_heads) = (to_usize(q_thd.size()[0]), to_usize(q_thd.size()[1]));
    let num_rows = to_usize(k_skd.size()[0]);
    let before = num_rows - num_queries;
    let slice_len = (MAX_SCORES / (num_heads * num_rows).max(1)).clamp(1, num_queries.max(1));
    let mut outputs = Vec::new();
    for start in (0..num_queries).step_by(slice_len) {
        let end = (start + slice_len).min(num_queries);
        let seen = before + end;
        let mask = (end - start > 1).then(|| {
            let all = Tensor::ones(
                [to_i64(end - start), to_i64(seen)],
                (Kind::Bool, q_thd.device()),
            );
            all.tril(to_i64(before + start))
        });
        outputs.push(masked(
            &q_thd.narrow(0, to_i64(start), to_i64(end - start)),
            &k_skd.narrow(0, 0, to_i64(seen)),
            &v_skd.narrow(0, 0, to_i64(seen)),
            mask.as_ref(),
        )?);
    }
    join(outputs)
}

/// Attends over the rows that `mask_ts` marks visible; all of them without a mask.
///
/// # Shapes
/// `q_thd`: `[T, H, D]`. `k_skd`, `v_skd`: `[S, K, D]`. `mask_ts`: boolean `[T, S]`, at least one row per query.
/// Returns `[T, H, D]`.
pub(super) fn masked(
    q_thd: &Tensor,
    k_skd: &Tensor,
    v_skd: &Tensor,
    mask_ts: Option<&Tensor>,
) -> Result<Tensor, InferError> {
    grouped(q_thd, k_skd, v_skd, mask_ts).map_err(InferError::torch("attend over the cache"))
}

/// One matrix product per kv head: the queries of its whole group are its rows, so K and V are never repeated.
#[expect(
    clippy::many_single_char_names,
    reason = "the axis letters of the shapes above"
)]
fn grouped(
    q_thd: &Tensor,
    k_skd: &Tensor,
    v_skd: &Tensor,
    mask_ts: Option<&Tensor>,
) -> Result<Tensor, tch::TchError> {
    let (t, h, d) = q_thd.size3()?;
    let (s, k, _) = k_skd.size3()?;
    let g = h / k;
    let dtype = q_thd.kind();
    let wide = if dtype == Kind::Double {
        Kind::Double
    } else {
        Kind::Float
    };
    let q = q_thd
        .f_view([t, k, g, d])?
        .f_permute([1, 2, 0, 3])?
        .f_reshape([k, g * t, d])?;
    let mut scores = q.f_bmm(&k_skd.f_permute([1, 2, 0])?)?.f_to_kind(wide)?;
    scores = scores.f_mul_scalar_(scale(d))?;
    if let Some(mask) = mask_ts {
        let hidden = mask.f_logical_not()?;
        scores = scores
            .f_view([k, g, t, s])?
            .f_masked_fill_(&hidden, f64::NEG_INFINITY)?
            .f_view([k, g * t, s])?;
    }
    let weights = scores.f_softmax(-1, wide)?.f_to_kind(dtype)?;
    weights
        .f_bmm(&v_skd.f_permute([1, 0, 2])?)?
        .f_view([k, g, t, d])?
        .f_permute([2, 0, 1, 3])?
        .f_reshape([t, h, d])
}

/// Puts the outputs of query slices together again.
pub(super) fn join(mut outputs_thd: Vec<Tensor>) -> Result<Tensor, InferError> {
    if outputs_thd.len() == 1 {
        return Ok(outputs_thd.swap_remove(0));
    }
    Tensor::f_cat(&outputs_thd, 0).map_err(InferError::torch("join attention outputs"))
}

/// (query, key) pairs of [`causal`] for one kv head.
pub(super) fn causal_pairs(num_queries: usize, num_rows: usize) -> u64 {
    let before = (num_rows - num_queries) as u64;
    before * num_queries as u64 + triangle(num_queries)
}

/// `1 / sqrt(D)`.
#[expect(clippy::cast_precision_loss, reason = "head_dim is far below 2^52")]
fn scale(head_dim: i64) -> f64 {
    (head_dim as f64).sqrt().recip()
}
