//! `sliding`: token-exact sinks and window, the query's own token included.
//!
//! A chunk is attended in query blocks, each over the sinks and the rows its windows reach, so the cost of a long chunk
//! grows with its length and never with its square.

use super::attend::{row_count, slice};
use super::ring::SinkRing;
use super::{HeadCache, RowSpec, attend};
use crate::infer::error::InferError;
use crate::infer::int::{to_i64, to_u64};
use crate::span::{Span, StreamingRule};
use std::ops::Range;
use tch::{Device, Kind, Tensor};

/// Shortest query block; below it the matrix products are too small to pay.
const MIN_BLOCK: usize = 64;

/// Streaming heads whose result does not depend on the chunk length.
pub struct SlidingCache {
    rows: SinkRing,
    span: Span,
    held: u64,
    pairs: u64,
    /// Pairs counted from the masks of query blocks: a device scalar, read when asked for, not once per block.
    masked_pairs: Tensor,
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
        })
    }

    /// Attends the queries of a chunk over the rows `before` gave, block by block.
    fn attend_chunk(&mut self, q_thd: &Tensor, k_skd: &Tensor, v_skd: &Tensor) -> Tensor {
        let num_queries = row_count(q_thd);
        let seen = self.rows.seen();
        let skipped = seen + num_queries - row_count(k_skd);
        let block_len = self.span.window_len().max(MIN_BLOCK).min(num_queries);
        let mut outputs = Vec::new();
        for start in (0..num_queries).step_by(block_len) {
            let len = block_len.min(num_queries - start);
            let reach = Reach::of(&self.span, seen + start..seen + start + len);
            let mask_ts = reach.mask(&self.span, q_thd.device());
            self.masked_pairs += mask_ts.sum(Kind::Int64);
            outputs.push(attend::masked(
                self.rows.backend(),
                &slice(q_thd, start, len),
                &reach.rows(k_skd, skipped),
                &reach.rows(v_skd, skipped),
                &mask_ts,
            ));
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
        let heads = to_u64(self.rows.num_kv_heads());
        if row_count(q_thd) == 1 {
            self.rows.push(k_tkd, v_tkd);
            let (keys_skd, values_skd) = self.rows.all();
            self.held = heads * to_u64(row_count(&keys_skd));
            self.pairs += self.held;
            return Ok(attend::causal(
                self.rows.backend(),
                q_thd,
                &keys_skd,
                &values_skd,
            ));
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
        to_u64(self.rows.num_kv_heads()) * to_u64(rows)
    }

    fn allocated(&self) -> u64 {
        to_u64(self.rows.num_kv_heads()) * to_u64(self.rows.capacity())
    }

    fn pairs(&self) -> u64 {
        let masked = u64::try_from(self.masked_pairs.int64_value(&[])).unwrap_or(0);
        self.pairs + to_u64(self.rows.num_kv_heads()) * masked
    }
}

/// The tokens a block of queries can see: leading ones, then the rows its windows reach.
struct Reach {
    queries: Range<usize>,
    leading: usize,
    window: Range<usize>,
}

impl Reach {
    fn of(span: &Span, queries: Range<usize>) -> Self {
        let start = (queries.start + 1).saturating_sub(span.window_len());
        Self {
            leading: span.sink_len().min(start),
            window: start..queries.end,
            queries,
        }
    }

    /// Picks the rows of these tokens out of `[S, K, D]`, in which `skipped` tokens after the sinks are missing.
    fn rows(&self, rows_skd: &Tensor, skipped: usize) -> Tensor {
        let end = self.window.end - skipped;
        let window = slice(rows_skd, end - self.window.len(), self.window.len());
        if self.leading == 0 {
            return window;
        }
        Tensor::cat(&[slice(rows_skd, 0, self.leading), window], 0)
    }

    /// Marks what each query sees: boolean `[T, leading + window]`.
    fn mask(&self, span: &Span, device: Device) -> Tensor {
        let tokens = |range: Range<usize>| {
            Tensor::arange_start(
                to_i64(range.start),
                to_i64(range.end),
                (Kind::Int64, device),
            )
        };
        let q_t1 = tokens(self.queries.clone()).unsqueeze(1);
        let k_s = Tensor::cat(&[tokens(0..self.leading), tokens(self.window.clone())], 0);
        let back_ts = &q_t1 - &k_s;
        let recent = back_ts.lt(to_i64(span.window_len()));
        let sink = k_s.lt(to_i64(span.sink_len()));
        back_ts.ge(0).logical_and(&recent.logical_or(&sink))
    }
}
