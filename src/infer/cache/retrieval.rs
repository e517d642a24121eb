//! Keeps every row: retrieval heads, and full attention.

use super::growing::Growing;
use super::{HeadCache, RowSpec, attend};
use crate::infer::error::InferError;
use crate::infer::int::to_u64;
use tch::Tensor;

/// A growing cache; each query sees every earlier token.
pub struct RetrievalCache {
    rows: Growing,
    num_kv_heads: u64,
    pairs: u64,
}

impl RetrievalCache {
    /// Allocates `spec.expected_len` rows.
    ///
    /// # Errors
    /// [`InferError::Torch`] if memory runs out.
    pub fn new(spec: RowSpec) -> Result<Self, InferError> {
        Ok(Self {
            num_kv_heads: to_u64(spec.num_kv_heads),
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
        self.rows.append(k_tkd, v_tkd)?;
        let (keys_skd, values_skd) = self.rows.rows();
        self.pairs += self.num_kv_heads * attend::causal_pairs(q_thd, &keys_skd);
        Ok(attend::causal(
            self.rows.backend(),
            q_thd,
            &keys_skd,
            &values_skd,
        ))
    }

    fn held(&self) -> u64 {
        self.stored()
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
