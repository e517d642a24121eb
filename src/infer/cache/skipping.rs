//! Keeps every row and attends to a part of them while the prompt is read; decoding reads them all.

use super::attend::{Rows, causal_pairs};
use super::growing::Growing;
use super::pattern::{Call, Pattern};
use super::{HeadCache, RowSpec};
use crate::infer::error::InferError;
use crate::torch::dims::dims;
use tch::Tensor;

/// A growing cache under a pattern.
pub struct SkippingCache {
    rows: Growing,
    pattern: Box<dyn Pattern>,
    decoding: bool,
    pairs: u64,
    attended_pairs: u64,
}

impl SkippingCache {
    /// Allocates `spec.expected_len` rows.
    ///
    /// # Errors
    /// [`InferError::Torch`] if memory runs out.
    pub fn new(spec: RowSpec, pattern: Box<dyn Pattern>) -> Result<Self, InferError> {
        Ok(Self {
            rows: Growing::new(spec)?,
            pattern,
            decoding: false,
            pairs: 0,
            attended_pairs: 0,
        })
    }
}

impl HeadCache for SkippingCache {
    fn attend(
        &mut self,
        q_thd: &Tensor,
        k_tkd: &Tensor,
        v_tkd: &Tensor,
    ) -> Result<Tensor, InferError> {
        if self.decoding {
            let [_, num_heads, _] = dims(q_thd);
            let [_, num_kv_heads, _] = dims(k_tkd);
            let (out_thd, pairs) = self.rows.append_and_attend(q_thd, k_tkd, v_tkd)?;
            self.pairs += pairs;
            self.attended_pairs += pairs * (num_heads / num_kv_heads).unsigned_abs();
            return Ok(out_thd);
        }
        self.rows.append(k_tkd, v_tkd)?;
        let (keys_skd, values_skd) = self.rows.rows();
        self.pairs += self.rows.num_kv_heads() * causal_pairs(q_thd, &keys_skd);
        let rows = Rows {
            k_skd: &keys_skd,
            v_skd: &values_skd,
        };
        let part = self
            .pattern
            .attend(&Call::new(self.rows.backend(), q_thd, rows));
        self.attended_pairs += part.pairs;
        Ok(part.out)
    }

    fn end_prefill(&mut self) -> Result<(), InferError> {
        self.decoding = true;
        Ok(())
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

    fn attended_pairs(&self, _group_size: u64) -> u64 {
        self.attended_pairs
    }
}
