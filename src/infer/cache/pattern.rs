//! What a prefill call attends to, where that is less than what is kept.
//!
//! A pattern gets a call's queries and every key so far and cuts the work into small dense problems: a block of queries, of
//! one head or of all, over the keys that it chose for them. Work that is skipped is not done: no queries x keys mask of the
//! whole call exists, and kv heads are never repeated to query heads.

use super::attend::{Rows, attended, row_count, slice};
use super::blocks::{aligned, cut};
use super::keys::Keys;
use super::reach::{MIN_BLOCK, Reach};
use crate::attention::{Attended, Backend, Visibility, merge, wide};
use crate::infer::int::{to_i64, to_u64, to_usize};
use crate::span::Span;
use crate::torch::dims::dims;
use std::ops::Range;
use tch::Tensor;

/// A rule that says what each query of a prefill call attends to.
pub trait Pattern {
    /// Attends from all queries of `call`.
    fn attend(&self, call: &Call) -> Part;
}

/// One prefill call and every key so far.
pub struct Call<'a> {
    backend: &'a dyn Backend,
    /// `[T, H, D]`, rotated.
    q_thd: Tensor,
    /// `[S, K, D]`, rotated: the keys of tokens `0..S`, the last `T` being the queries' own.
    k_skd: Tensor,
    /// `[S, K, D]`.
    v_skd: Tensor,
}

/// Attention of some queries and heads, and what it took.
pub struct Part {
    /// `[T, H, D]`.
    pub out: Tensor,
    /// Log of the sums of exponentials, `[H, T]`.
    pub lse: Tensor,
    /// (query, key) pairs attended, summed over query heads.
    pub pairs: u64,
}

impl<'a> Call<'a> {
    /// Queries over the keys and values of all tokens.
    pub(super) fn new(backend: &'a dyn Backend, q_thd: &Tensor, rows: Rows) -> Self {
        Self {
            backend,
            q_thd: q_thd.shallow_clone(),
            k_skd: rows.k_skd.shallow_clone(),
            v_skd: rows.v_skd.shallow_clone(),
        }
    }

    /// The same call for one query head and the kv head that serves it.
    #[must_use]
    pub fn head(&self, head: usize) -> Self {
        let [_, num_heads, _] = dims(&self.q_thd);
        let [_, num_kv_heads, _] = dims(&self.k_skd);
        let kv_head = to_i64(head) / (num_heads / num_kv_heads);
        Self {
            backend: self.backend,
            q_thd: self.q_thd.narrow(1, to_i64(head), 1),
            k_skd: self.k_skd.narrow(1, kv_head, 1),
            v_skd: self.v_skd.narrow(1, kv_head, 1),
        }
    }

    /// The same call for the query heads of one kv head.
    #[must_use]
    pub fn kv_head(&self, kv_head: usize) -> Self {
        let [_, num_heads, _] = dims(&self.q_thd);
        let [_, num_kv_heads, _] = dims(&self.k_skd);
        let group_size = num_heads / num_kv_heads;
        let first = to_i64(kv_head) * group_size;
        Self {
            backend: self.backend,
            q_thd: self.q_thd.narrow(1, first, group_size),
            k_skd: self.k_skd.narrow(1, to_i64(kv_head), 1),
            v_skd: self.v_skd.narrow(1, to_i64(kv_head), 1),
        }
    }

    /// Positions of the queries.
    pub fn queries(&self) -> Range<usize> {
        let end = row_count(&self.k_skd);
        end - row_count(&self.q_thd)..end
    }

    /// Query heads.
    pub fn num_heads(&self) -> usize {
        let [_, num_heads, _] = dims(&self.q_thd);
        to_usize(num_heads)
    }

    /// The queries.
    ///
    /// # Shapes
    /// Returns `[T, H, D]`.
    pub fn q(&self) -> &Tensor {
        &self.q_thd
    }

    /// The keys of all tokens.
    ///
    /// # Shapes
    /// Returns `[S, K, D]`.
    pub fn k(&self) -> &Tensor {
        &self.k_skd
    }

    /// Attends from `queries`, positions of the call, causally over `keys`; each query must see one of them.
    pub fn attend(&self, queries: &Range<usize>, keys: &Keys) -> Part {
        let rows = Rows {
            k_skd: &keys.rows(&self.k_skd),
            v_skd: &keys.rows(&self.v_skd),
        };
        let mask_ts = (!keys.all_before(queries)).then(|| keys.mask(queries, &self.q_thd));
        let visibility = mask_ts.as_ref().map_or(Visibility::All, Visibility::Masked);
        let pairs = keys.num_pairs(queries) * to_u64(self.num_heads());
        let q_thd = self.q_of(queries);
        Part::new(&attended(self.backend, &q_thd, rows, visibility), pairs)
    }

    /// Attends from the queries at `places` of the call over all of `keys`, none of which may come after one of them.
    ///
    /// # Shapes
    /// `places`: `[N]`, int64.
    pub fn attend_at(&self, places: &Tensor, keys: &Range<usize>) -> Part {
        let rows = Rows {
            k_skd: &slice(&self.k_skd, keys.start, keys.len()),
            v_skd: &slice(&self.v_skd, keys.start, keys.len()),
        };
        let [num_queries] = dims(places);
        let pairs = to_u64(to_usize(num_queries) * keys.len() * self.num_heads());
        let q_nhd = self.q_thd.index_select(0, places);
        Part::new(
            &attended(self.backend, &q_nhd, rows, Visibility::All),
            pairs,
        )
    }

    /// Attends from every query over its own block of `block_len` tokens, up to itself.
    pub fn attend_own_blocks(&self, block_len: usize) -> Part {
        let of_block = |queries: Range<usize>| {
            let start = queries.start / block_len * block_len;
            let keys = Keys::new(std::iter::once(start..queries.end), queries.end);
            self.attend(&queries, &keys)
        };
        Part::after(aligned(self.queries(), block_len).map(of_block))
    }

    /// Attends from all queries over the sinks and windows of `span`, token-exact.
    pub fn attend_span(&self, span: &Span) -> Part {
        let block_len = span.window_len().max(MIN_BLOCK);
        let of_block = |queries: Range<usize>| {
            let reach = Reach::of(span, queries.clone());
            let mask_ts = reach.mask(span, self.q_thd.device());
            let [keys, values] = [&self.k_skd, &self.v_skd].map(|rows| reach.rows(rows, 0));
            let q_thd = self.q_of(&queries);
            let seen: u64 = queries.map(|query| to_u64(span.num_visible(query))).sum();
            let rows = Rows {
                k_skd: &keys,
                v_skd: &values,
            };
            let visibility = Visibility::Masked(&mask_ts);
            Part::new(
                &attended(self.backend, &q_thd, rows, visibility),
                seen * to_u64(self.num_heads()),
            )
        };
        Part::after(cut(self.queries(), block_len).map(of_block))
    }

    /// Queries of those positions, `[T, H, D]`.
    pub(super) fn q_of(&self, queries: &Range<usize>) -> Tensor {
        let start = queries.start - self.queries().start;
        slice(&self.q_thd, start, queries.len())
    }
}

impl Part {
    fn new(attended: &Attended, pairs: u64) -> Self {
        Self {
            out: attended.out.squeeze_dim(0),
            lse: attended.lse.squeeze_dim(0),
            pairs,
        }
    }

    /// Puts the parts of consecutive queries together.
    pub fn after(parts: impl Iterator<Item = Self>) -> Self {
        join(parts, 0)
    }

    /// Puts the parts of consecutive heads together.
    pub fn beside(parts: impl Iterator<Item = Self>) -> Self {
        join(parts, 1)
    }

    /// The same in the wide dtype, for [`Self::add`] to add to.
    #[must_use]
    pub fn widened(self) -> Self {
        Self {
            out: self.out.to_kind(wide(self.out.kind())),
            ..self
        }
    }

    /// One head of it, for [`Self::add`] to add to: in the wide dtype, and no pairs.
    #[must_use]
    pub fn start_of(&self, head: usize) -> Self {
        let out = self.out.narrow(1, to_i64(head), 1);
        Self {
            out: out.to_kind(wide(out.kind())),
            lse: self.lse.narrow(0, to_i64(head), 1),
            pairs: 0,
        }
    }

    /// Adds what the queries at `places` found in keys that are new to them.
    ///
    /// # Shapes
    /// `places`: `[N]`, int64.
    pub fn add(&mut self, places: &Tensor, found: &Self) {
        let before = Attended {
            out: self.out.index_select(0, places).unsqueeze(0),
            lse: self.lse.index_select(1, places).unsqueeze(0),
        };
        let found_here = Attended {
            out: found.out.unsqueeze(0),
            lse: found.lse.unsqueeze(0),
        };
        let merged = merge::merge(&before, &found_here);
        self.out = self.out.index_copy(0, places, &merged.out.squeeze_dim(0));
        self.lse = self.lse.index_copy(1, places, &merged.lse.squeeze_dim(0));
        self.pairs += found.pairs;
    }
}

/// Joins outputs along `axis` of `[T, H, D]`.
fn join(parts: impl Iterator<Item = Part>, axis: i64) -> Part {
    let (mut outputs, mut normalisers, mut pairs) = (Vec::new(), Vec::new(), 0);
    for part in parts {
        outputs.push(part.out);
        normalisers.push(part.lse);
        pairs += part.pairs;
    }
    Part {
        out: Tensor::cat(&outputs, axis),
        lse: Tensor::cat(&normalisers, 1 - axis),
        pairs,
    }
}
