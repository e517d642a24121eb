//! `sliding`: token-exact sinks and window, the query's own token included.
//!
//! A chunk is attended in query blocks, each over the sinks and the rows its windows reach, so the cost of a long chunk
//! grows with its length and never with its square.
//!
//! # Decisions
//! `StreamingLLM` as published stores unrotated keys and rotates the whole cache at every step, so that a query stands at its
//! index in its own cache. Within the window that changes no distance; only the sinks come nearer, by the number of tokens
//! dropped. Turning the query back by that number before it meets the sinks gives the same scores, and nothing stored turns.

use super::attend::{Rows, attended, row_count, slice};
use super::blocks::cut;
use super::reach::{MIN_BLOCK, Reach};
use super::ring::SinkRing;
use super::{HeadCache, RowSpec, attend};
use crate::attention::{Visibility, merge};
use crate::infer::error::InferError;
use crate::infer::int::{to_i64, to_u64};
use crate::model::rope::RopeTable;
use crate::model::rotation::Rotation;
use crate::span::{Span, StreamingRule};
use std::ops::Range;
use tch::{Kind, Tensor};

/// Streaming heads whose result does not depend on the chunk length.
pub struct SlidingCache {
    rows: SinkRing,
    span: Span,
    held: u64,
    pairs: u64,
    /// Pairs counted from the masks of query blocks: a device scalar, read when asked for, not once per block.
    masked_pairs: Tensor,
    /// Where positions are those inside the cache: what turns a query.
    rope: Option<RopeTable>,
}

impl SlidingCache {
    /// Allocates sinks and window.
    ///
    /// # Errors
    /// [`InferError::Torch`] if memory runs out.
    pub fn new(spec: RowSpec, span: Span) -> Result<Self, InferError> {
        Ok(Self {
            masked_pairs: Tensor::zeros([], (Kind::Int64, spec.device)),
            rows: SinkRing::new(spec, span.sink_len(), span.window_len())?,
            span,
            held: 0,
            pairs: 0,
            rope: None,
        })
    }

    /// Lets queries meet the sinks at positions inside the cache instead of the true ones.
    #[must_use]
    pub fn with_cache_positions(self, rope: RopeTable) -> Self {
        Self {
            rope: Some(rope),
            ..self
        }
    }

    /// How queries turn for the sinks, if `tokens`, consecutive ones, stand elsewhere in the cache than in the text.
    ///
    /// All of them do or none: blocks of queries end where the first token is dropped.
    fn turn(&self, tokens: &Range<usize>) -> Option<Rotation> {
        let rope = self.rope.as_ref()?;
        let last_index = self.span.dense_prefix() - 1;
        if tokens.end <= self.span.dense_prefix() || self.span.sink_len() == 0 {
            return None;
        }
        let dropped = tokens.clone().map(|token| token.saturating_sub(last_index));
        let back: Vec<i64> = dropped.map(|count| -to_i64(count)).collect();
        Some(Rotation::new(rope, &back, self.masked_pairs.device()))
    }

    /// Attends over all sinks, which come first in `rows`, with turned queries, and over the `rest` with the queries as they are.
    fn attend_turned(
        &self,
        q_thd: &Tensor,
        turn: &Rotation,
        rows: Rows,
        rest: Visibility,
    ) -> Tensor {
        let sink_len = self.span.sink_len();
        let rest_len = row_count(rows.k_skd) - sink_len;
        let part = |queries: &Tensor, start, len, visibility| {
            let part = Rows {
                k_skd: &slice(rows.k_skd, start, len),
                v_skd: &slice(rows.v_skd, start, len),
            };
            attended(self.rows.backend(), queries, part, visibility)
        };
        let sinks = part(&turn.apply(q_thd), 0, sink_len, Visibility::All);
        let rest = part(q_thd, sink_len, rest_len, rest);
        merge::merge(&sinks, &rest).out.squeeze_dim(0)
    }

    /// Attends the queries of a chunk over the rows `before` gave, block by block.
    fn attend_chunk(&mut self, q_thd: &Tensor, k_skd: &Tensor, v_skd: &Tensor) -> Tensor {
        let num_queries = row_count(q_thd);
        let seen = self.rows.seen();
        let skipped = seen + num_queries - row_count(k_skd);
        let block_len = self.span.window_len().max(MIN_BLOCK).min(num_queries);
        let whole = match self.rope {
            None => 0,
            Some(_) => self.span.dense_prefix().saturating_sub(seen),
        };
        let mut outputs = Vec::new();
        let whole = whole.min(num_queries);
        let turning = cut(whole..num_queries, block_len);
        for block in cut(0..whole, block_len).chain(turning) {
            let reach = Reach::of(&self.span, seen + block.start..seen + block.end);
            let mask_ts = reach.mask(&self.span, q_thd.device());
            self.masked_pairs += mask_ts.sum(Kind::Int64);
            let queries = slice(q_thd, block.start, block.len());
            let (keys, values) = (reach.rows(k_skd, skipped), reach.rows(v_skd, skipped));
            outputs.push(match self.turn(&reach.queries) {
                None => attend::masked(self.rows.backend(), &queries, &keys, &values, &mask_ts),
                Some(turn) => {
                    let rows = Rows {
                        k_skd: &keys,
                        v_skd: &values,
                    };
                    let leading = to_i64(reach.leading);
                    let rest_ts = mask_ts.narrow(1, leading, to_i64(reach.window.len()));
                    self.attend_turned(&queries, &turn, rows, Visibility::Masked(&rest_ts))
                }
            });
        }
        attend::join(outputs)
    }
}

impl HeadCache for SlidingCache {
    fn attend(
        &mut self,
        q_thd: &Tensor,
        k_tkd: &Tensor,
        v_tkd: &Tensor,
    ) -> Result<Tensor, InferError> {
        let heads = self.rows.num_kv_heads();
        if row_count(q_thd) == 1 {
            self.rows.push(k_tkd, v_tkd);
            let (keys_skd, values_skd) = self.rows.all();
            self.held = heads * to_u64(row_count(&keys_skd));
            self.pairs += self.held;
            let token = self.rows.seen() - 1;
            let Some(turn) = self.turn(&(token..token + 1)) else {
                return Ok(self.rows.attend_newest(q_thd));
            };
            let rows = Rows {
                k_skd: &keys_skd,
                v_skd: &values_skd,
            };
            return Ok(self.attend_turned(q_thd, &turn, rows, Visibility::All));
        }
        let (keys_skd, values_skd) = self.rows.before(self.span.window_len() - 1, k_tkd, v_tkd)?;
        self.held = heads * to_u64(row_count(&keys_skd));
        let out_thd = self.attend_chunk(q_thd, &keys_skd, &values_skd);
        self.rows.push(k_tkd, v_tkd);
        Ok(out_thd)
    }

    fn held(&self) -> u64 {
        self.held
    }

    fn stored(&self) -> u64 {
        let rows = self
            .span
            .cached_len(StreamingRule::Sliding, self.rows.seen());
        self.rows.num_kv_heads() * to_u64(rows)
    }

    fn allocated(&self) -> u64 {
        self.rows.allocated()
    }

    fn pairs(&self) -> u64 {
        let masked = u64::try_from(self.masked_pairs.int64_value(&[])).unwrap_or(0);
        self.pairs + self.rows.num_kv_heads() * masked
    }
}

#[cfg(test)]
mod tests;
