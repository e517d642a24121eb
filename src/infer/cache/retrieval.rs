//! Keeps every row: retrieval heads, and full attention.

use super::growing::Growing;
use super::{HeadCache, RowSpec};
use crate::infer::error::InferError;
use tch::Tensor;

/// A growing cache; each query sees every earlier token.
pub struct RetrievalCache {
    rows: Growing,
    pairs: u64,
}

impl RetrievalCache {
    /// Allocates `spec.expected_len` rows.
    ///
    /// # Errors
    /// [`InferError::Torch`] if memory runs out.
    pub fn new(spec: RowSpec) -> Result<Self, InferError> {
        Ok(Self {
            rows: Growing::new(spec)?,
            pairs: 0,
        })
    }
}

impl HeadCache for RetrievalCache {
    fn attend(
        &mut self,
        q_thd: &Tensor,
        k_tkd: &Tensor,
        v_tkd: &Tensor,
    ) -> Result<Tensor, InferError> {
        let (out_thd, pairs) = self.rows.append_and_attend(q_thd, k_tkd, v_tkd)?;
        self.pairs += pairs;
        Ok(out_thd)
    }

    fn held(&self) -> u64 {
        self.stored()
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
