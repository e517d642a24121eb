//! Sink rows followed by a ring of the most recent rows, in one buffer.

use super::RowSpec;
use super::attend::{causal, row_count};
use super::growing::allocate;
use crate::attention::Backend;
use crate::cuda::{active, streaming_decode};
use crate::infer::error::InferError;
use crate::infer::int::{to_i64, to_u64};
use std::ops::Range;
use tch::Tensor;

/// The rows of tokens `0..sink_len` and of the last `ring_len` tokens after them.
///
/// Token `p` lives in row `p` if `p < sink_len`, else in row `sink_len + (p - sink_len) % ring_len`: the newest token
/// overwrites the oldest of the ring.
pub(super) struct SinkRing {
    spec: RowSpec,
    sink_len: usize,
    ring_len: usize,
    seen: usize,
    k_skd: Tensor,
    v_skd: Tensor,
}

impl SinkRing {
    pub(super) fn new(spec: RowSpec, sink_len: usize, ring_len: usize) -> Result<Self, InferError> {
        Ok(Self {
            sink_len,
            ring_len,
            seen: 0,
            k_skd: allocate(&spec, sink_len + ring_len)?,
            v_skd: allocate(&spec, sink_len + ring_len)?,
            spec,
        })
    }

    /// Takes in the next tokens, `[T, K, D]`.
    pub(super) fn push(&mut self, k_tkd: &Tensor, v_tkd: &Tensor) {
        let end = self.seen + row_count(k_tkd);
        let sinks = self.seen..end.min(self.sink_len);
        let recent = self
            .seen
            .max(self.sink_len)
            .max(end.saturating_sub(self.ring_len))..end;
        for tokens in [sinks].into_iter().chain(self.unwrapped(recent)) {
            if !tokens.is_empty() {
                let row = to_i64(self.row(tokens.start));
                let (offset, len) = (to_i64(tokens.start - self.seen), to_i64(tokens.len()));
                for (store, rows) in [(&self.k_skd, k_tkd), (&self.v_skd, v_tkd)] {
                    store
                        .narrow(0, row, len)
                        .copy_(&rows.narrow(0, offset, len));
                }
            }
        }
        self.seen = end;
    }

    /// Every row in use, in storage order: for a single query, which sees them all.
    pub(super) fn all(&self) -> (Tensor, Tensor) {
        let len = to_i64(self.seen.min(self.capacity()));
        (self.k_skd.narrow(0, 0, len), self.v_skd.narrow(0, 0, len))
    }

    /// Attends from the newest token over every row in use, its own included.
    ///
    /// # Shapes
    /// `q_thd`: `[1, H, D]`. Returns the same.
    pub(super) fn attend_newest(&self, q_thd: &Tensor) -> Tensor {
        let (k_skd, v_skd) = self.all();
        let Some(kernels) = active::kernels(q_thd) else {
            return causal(self.backend(), q_thd, &k_skd, &v_skd);
        };
        let q_hd = q_thd.squeeze_dim(0).contiguous();
        let decoded = streaming_decode::attend(kernels, &q_hd, &k_skd, &v_skd);
        active::done(decoded).out.unsqueeze(0)
    }

    /// The sinks and the last `recent` tokens after them, oldest first, followed by the rows of a chunk.
    ///
    /// # Shapes
    /// `k_tkd`, `v_tkd`: `[T, K, D]`. Returns `[kept + T, K, D]` each.
    pub(super) fn before(
        &self,
        recent: usize,
        k_tkd: &Tensor,
        v_tkd: &Tensor,
    ) -> Result<(Tensor, Tensor), InferError> {
        if self.seen == 0 {
            return Ok((k_tkd.shallow_clone(), v_tkd.shallow_clone()));
        }
        let first = self.seen.saturating_sub(recent).max(self.sink_len);
        let sinks = 0..self.seen.min(self.sink_len);
        let tokens: Vec<Range<usize>> = [sinks]
            .into_iter()
            .chain(self.unwrapped(first..self.seen.max(first)))
            .filter(|tokens| !tokens.is_empty())
            .collect();
        let gather = |store: &Tensor, chunk: &Tensor| {
            let mut rows: Vec<Tensor> = tokens
                .iter()
                .map(|t| store.narrow(0, to_i64(self.row(t.start)), to_i64(t.len())))
                .collect();
            rows.push(chunk.shallow_clone());
            Tensor::f_cat(&rows, 0).map_err(InferError::torch("join cached rows and a chunk"))
        };
        Ok((gather(&self.k_skd, k_tkd)?, gather(&self.v_skd, v_tkd)?))
    }

    /// Tokens taken in so far.
    pub(super) fn seen(&self) -> usize {
        self.seen
    }

    /// Entries for which memory is allocated.
    pub(super) fn allocated(&self) -> u64 {
        self.num_kv_heads() * to_u64(self.capacity())
    }

    /// The attention kernel.
    pub(super) fn backend(&self) -> &dyn Backend {
        &*self.spec.backend
    }

    /// Kv heads of each row.
    pub(super) fn num_kv_heads(&self) -> u64 {
        to_u64(self.spec.num_kv_heads)
    }

    fn capacity(&self) -> usize {
        self.sink_len + self.ring_len
    }

    fn row(&self, token: usize) -> usize {
        if token < self.sink_len {
            token
        } else {
            self.sink_len + (token - self.sink_len) % self.ring_len
        }
    }

    /// Splits tokens of the ring where their rows wrap around; at most `ring_len` of them.
    fn unwrapped(&self, tokens: Range<usize>) -> [Range<usize>; 2] {
        if tokens.is_empty() {
            return [0..0, 0..0];
        }
        let until_wrap = self.capacity() - self.row(tokens.start);
        let split = (tokens.start + until_wrap).min(tokens.end);
        [tokens.start..split, split..tokens.end]
    }
}
