//! `frozen-prompt`: dense prefill, one cut to sinks and window, then every decoded row is kept.

use super::growing::Growing;
use super::{HeadCache, RowSpec};
use crate::infer::error::InferError;
use crate::span::Span;
use tch::Tensor;

/// Streaming heads whose prompt is cut once, at the end of prefill; the window never slides.
pub struct FrozenPromptCache {
    rows: Growing,
    span: Span,
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
        let (out_thd, pairs) = self.rows.append_and_attend(q_thd, k_tkd, v_tkd)?;
        self.held = self.rows.stored();
        self.pairs += pairs;
        Ok(out_thd)
    }

    fn end_prefill(&mut self) -> Result<(), InferError> {
        self.rows
            .keep_ends(self.span.sink_len(), self.span.window_len())
    }

    fn held(&self) -> u64 {
        self.held
    }

    fn stored(&self) -> u64 {
        self.rows.stored()
    }

    fn allocated(&self) -> u64 {
        self.rows.allocated()
    }

    fn pairs(&self) -> u64 {
        self.pairs
    }
}
