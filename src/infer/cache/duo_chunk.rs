//! `duo-chunk`: sinks and window from before the call, then the call's own tokens causally.

use super::attend::row_count;
use super::ring::SinkRing;
use super::{HeadCache, RowSpec, attend};
use crate::infer::error::InferError;
use crate::infer::int::to_u64;
use crate::span::{Span, StreamingRule};
use tch::Tensor;

/// Streaming heads as DuoAttention's and PruLong's published evaluation run them.
pub struct DuoChunkCache {
    rows: SinkRing,
    span: Span,
    held: u64,
    pairs: u64,
}

impl DuoChunkCache {
    /// Allocates sinks, window, and one row for the token being decoded.
    ///
    /// # Errors
    /// [`InferError::Torch`] if memory runs out.
    pub fn new(spec: RowSpec, span: Span) -> Result<Self, InferError> {
        Ok(Self {
            rows: SinkRing::new(spec, span.sink_len(), span.window_len() + 1)?,
            span,
            held: 0,
            pairs: 0,
        })
    }

    /// Counts the rows of one call.
    fn count(&mut self, q_thd: &Tensor, k_skd: &Tensor) {
        let heads = self.rows.num_kv_heads();
        self.held = heads * to_u64(row_count(k_skd));
        self.pairs += heads * attend::causal_pairs(q_thd, k_skd);
    }
}

impl HeadCache for DuoChunkCache {
    fn attend(
        &mut self,
        q_thd: &Tensor,
        k_tkd: &Tensor,
        v_tkd: &Tensor,
    ) -> Result<Tensor, InferError> {
        if row_count(q_thd) == 1 {
            self.rows.push(k_tkd, v_tkd);
            let (keys_skd, _) = self.rows.all();
            self.count(q_thd, &keys_skd);
            return Ok(self.rows.attend_newest(q_thd));
        }
        let (keys_skd, values_skd) = self.rows.before(self.span.window_len(), k_tkd, v_tkd)?;
        self.count(q_thd, &keys_skd);
        let out_thd = attend::causal(self.rows.backend(), q_thd, &keys_skd, &values_skd);
        self.rows.push(k_tkd, v_tkd);
        Ok(out_thd)
    }

    fn held(&self) -> u64 {
        self.held
    }

    fn stored(&self) -> u64 {
        let rows = self
            .span
            .cached_len(StreamingRule::DuoChunk, self.rows.seen());
        self.rows.num_kv_heads() * to_u64(rows)
    }

    fn allocated(&self) -> u64 {
        self.rows.allocated()
    }

    fn pairs(&self) -> u64 {
        self.pairs
    }
}
