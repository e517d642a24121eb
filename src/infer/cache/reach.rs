//! The rows that a block of queries sees under sink and window, token-exact.

use super::attend::slice;
use crate::infer::int::to_i64;
use crate::span::Span;
use std::ops::Range;
use tch::{Device, Kind, Tensor};

/// Shortest query block; below it the matrix products are too small to pay.
pub(super) const MIN_BLOCK: usize = 64;

/// The tokens a block of queries can see: leading ones, then the rows its windows reach.
pub(super) struct Reach {
    pub(super) queries: Range<usize>,
    pub(super) leading: usize,
    pub(super) window: Range<usize>,
}

impl Reach {
    pub(super) fn of(span: &Span, queries: Range<usize>) -> Self {
        let start = (queries.start + 1).saturating_sub(span.window_len());
        Self {
            leading: span.sink_len().min(start),
            window: start..queries.end,
            queries,
        }
    }

    /// Picks the rows of these tokens out of `[S, K, D]`, in which `skipped` tokens after the sinks are missing.
    pub(super) fn rows(&self, rows_skd: &Tensor, skipped: usize) -> Tensor {
        let end = self.window.end - skipped;
        let window = slice(rows_skd, end - self.window.len(), self.window.len());
        if self.leading == 0 {
            return window;
        }
        Tensor::cat(&[slice(rows_skd, 0, self.leading), window], 0)
    }

    /// Marks what each query sees: boolean `[T, leading + window]`.
    pub(super) fn mask(&self, span: &Span, device: Device) -> Tensor {
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
