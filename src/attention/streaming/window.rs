//! Streaming attention, exact to the token, without a mask: one window over all rows behind the dense prefix, one problem
//! for the sinks, merged.
//!
//! ```text
//! sink 2, window 3, rows from 5 on        keys 0 1 | 2 | 3 4 5 6 7
//!   5  x x . x x x                        sinks     : keys 0 .. sink, all
//!   6  x x . . x x x                      window    : keys sink + 1 .., causal, the 3 most recent
//!   7  x x . . . x x x
//! ```
//!
//! The two key sets are disjoint, because every one of these windows begins behind the sinks. Backward, each part gets the
//! merged output and lse, so its probabilities are those of the whole.

use super::super::merge::merge;
use super::super::{Attended, Backend, InputGrads, Qkv, Visibility, wide};
use super::{Backward, KeyGrads, add_rows};
use crate::span::Span;
use crate::torch::dims::dims;
use tch::Tensor;

/// Rows behind the dense prefix; all lengths in tokens.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    /// First row.
    start: i64,
    /// Sink keys.
    sink: i64,
    /// First key of the first row's window.
    first: i64,
    /// Keys of one window.
    len: i64,
}

impl Window {
    /// The rows from `start` on, which must be the dense prefix's end.
    pub(super) fn new(span: &Span, start: i64) -> Self {
        let signed = |x: usize| i64::try_from(x).unwrap_or(i64::MAX);
        Self {
            start,
            sink: signed(span.sink_len()),
            first: signed(span.window_start(span.dense_prefix())),
            len: signed(span.window_len()),
        }
    }

    /// `x` `[B, T, n, D]` behind the dense prefix.
    fn rows(&self, x: &Tensor) -> Tensor {
        let [_, len, _, _] = dims(x);
        x.narrow(1, self.start, len - self.start)
    }

    /// Keys that the windows reach, and their number.
    fn recent(&self, x: &Tensor) -> (Tensor, i64) {
        let [_, len, _, _] = dims(x);
        (x.narrow(1, self.first, len - self.first), len - self.first)
    }

    fn sinks(&self, x: &Tensor) -> Tensor {
        x.narrow(1, 0, self.sink)
    }

    /// Output and lse of the rows.
    pub(super) fn forward(self, backend: &dyn Backend, qkv: Qkv) -> Attended {
        let q = self.rows(qkv.q);
        let ((k, _), (v, _)) = (self.recent(qkv.k), self.recent(qkv.v));
        let (k, v) = (&k, &v);
        let window = backend.forward(Qkv { q: &q, k, v }, Visibility::Window(self.len));
        if self.sink == 0 {
            return window;
        }
        let (k, v) = (&self.sinks(qkv.k), &self.sinks(qkv.v));
        let sinks = backend.forward(Qkv { q: &q, k, v }, Visibility::All);
        merge(&window, &sinks)
    }

    /// dq of the rows; adds what their keys get to `grads`.
    pub(super) fn backward(self, problem: &Backward, grads: &KeyGrads) -> Tensor {
        let (q, dout) = (self.rows(problem.qkv.q), self.rows(problem.dout));
        let [_, num_rows, _, _] = dims(&q);
        let saved = Attended {
            out: self.rows(&problem.attended.out),
            lse: problem
                .attended
                .lse
                .narrow(2, self.start, num_rows)
                .contiguous(),
        };
        let part = |k: &Tensor, v: &Tensor, visibility| -> InputGrads {
            let qkv = Qkv { q: &q, k, v };
            problem.backend.backward(&dout, qkv, &saved, visibility)
        };
        let ((k, num_keys), (v, _)) = (self.recent(problem.qkv.k), self.recent(problem.qkv.v));
        let window = part(&k, &v, Visibility::Window(self.len));
        add_rows(&grads.dk, self.first, num_keys, &window.dk);
        add_rows(&grads.dv, self.first, num_keys, &window.dv);
        if self.sink == 0 {
            return window.dq;
        }
        let (k, v) = (self.sinks(problem.qkv.k), self.sinks(problem.qkv.v));
        let sinks = part(&k, &v, Visibility::All);
        add_rows(&grads.dk, 0, self.sink, &sinks.dk);
        add_rows(&grads.dv, 0, self.sink, &sinks.dv);
        let kind = wide(q.kind());
        (window.dq.to_kind(kind) + sinks.dq.to_kind(kind)).to_kind(q.kind())
    }
}
