//! `frozen-prompt`: dense prefill, one cut to sinks and window, then every decoded row is kept.

use super::growing::Growing;
use super::{HeadCache, RowSpec, attend};
use crate::infer::error::InferError;
use crate::infer::int::to_u64;
use crate::span::Span;
use tch::Tensor;

/// Streaming heads whose prompt is cut once, at the end of prefill; the window never slides.
pub struct FrozenPromptCache {
    rows: Growing,
    span: Span,
    num_kv_heads: u64,
    held: u64,
    pairs: u64,
}

impl FrozenPromptCache {
    /// Allocates `spec.expected_len` rows: the prompt is held whole until its end.
    ///
    /// # Errors
    /// [`InferError::Torch`] if memory runs out.
    pub fn new(spec: RowSpec, span: Span) -> Result<Self, InferError> {
        Ok(Self {
            num_kv_heads: to_u64(spec.num_kv_heads),
            rows: Growing::new(spec)?,
            span,
            held: 0,
            pairs: 0,
        })
    }
}

impl HeadCache for FrozenPromptCache {
    fn attend(
        &mut self,
        q_thd: &Tensor,
        k_tkd: &Tensor,
        v_tkd: &Tensor,
    ) -> Result<Tensor, InferError> {
        self.rows.append(k_tkd, v_tkd)?;
        let (keys_skd, values_skd) = self.rows.rows();
        self.held = self.stored();
        self.pairs += self.num_kv_heads * attend::causal_pairs(q_thd, &keys_skd);
        Ok(attend::causal(
            self.rows.backend(),
            q_thd,
            &keys_skd,
            &values_skd,
        ))
    }

    fn end_prefill(&mut self) -> Result<(), InferError> {
        self.rows
            .keep_ends(self.span.sink_len(), self.span.window_len())
    }

    fn held(&self) -> u64 {
        self.held
    }

    fn stored(&self) -> u64 {
        self.num_kv_heads * to_u64(self.rows.len())
    }

    fn allocated(&self) -> u64 {
        self.num_kv_heads * to_u64(self.rows.capacity())
    }

    fn pairs(&self) -> u64 {
        self.pairs
    }
}
