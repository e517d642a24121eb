//! Token eviction, selected per kv head: all heads of a group share what stays of each chunk.

use super::attend::{Rows, after, causal, causal_pairs, pairs_after, row_count, slice};
use super::growing::Growing;
use super::keeper::{Keeper, Verdict};
use super::ranking::top;
use super::{HeadCache, RowSpec};
use crate::infer::error::InferError;
use crate::infer::int::to_u64;
use crate::torch::dims::dims;
use tch::Tensor;

/// Keeps a ranked share of each prefill chunk and every decoded token.
///
/// Rows are kept per kv head, the same number for each: row `i` of two kv heads may be different tokens.
pub struct EvictingCache {
    rows: Growing,
    keeper: Keeper,
    num_kv_heads: u64,
    held: u64,
    pairs: u64,
}

impl EvictingCache {
    /// Allocates nothing: how much stays is known only once chunks come.
    ///
    /// # Errors
    /// [`InferError::Torch`] if memory runs out.
    pub fn new(spec: RowSpec, keeper: Keeper) -> Result<Self, InferError> {
        let spec = RowSpec {
            expected_len: 0,
            ..spec
        };
        Ok(Self {
            num_kv_heads: to_u64(spec.num_kv_heads),
            rows: Growing::new(spec)?,
            keeper,
            held: 0,
            pairs: 0,
        })
    }

    fn decode(
        &mut self,
        q_thd: &Tensor,
        k_tkd: &Tensor,
        v_tkd: &Tensor,
    ) -> Result<Tensor, InferError> {
        self.rows.append(k_tkd, v_tkd)?;
        let (keys_skd, values_skd) = self.rows.rows();
        self.held = self.stored();
        self.pairs += self.num_kv_heads * causal_pairs(q_thd, &keys_skd);
        Ok(causal(self.rows.backend(), q_thd, &keys_skd, &values_skd))
    }

    /// Appends what stays of a call: the best-ranked rows, then the window unless it was a patch.
    fn keep(
        &mut self,
        verdict: &Verdict,
        k_tkd: &Tensor,
        v_tkd: &Tensor,
    ) -> Result<(), InferError> {
        let budget = &verdict.budget;
        let before = row_count(k_tkd) - budget.window_len;
        let best = |rows: &Tensor| {
            let ranked = slice(rows, 0, before);
            match &verdict.scores {
                None => ranked,
                Some(scores_kgm) => {
                    let shared_km = scores_kgm.mean_dim(1, false, scores_kgm.kind());
                    pick(&ranked, &top(&shared_km, budget.num_top))
                }
            }
        };
        self.rows.append(&best(k_tkd), &best(v_tkd))?;
        if budget.patch_len > 0 {
            return Ok(());
        }
        let window = |rows: &Tensor| slice(rows, before, budget.window_len);
        self.rows.append(&window(k_tkd), &window(v_tkd))
    }
}

/// Rows `[M, K, D]` at `positions` `[K, N]` -> `[N, K, D]`.
fn pick(rows_mkd: &Tensor, positions_kn: &Tensor) -> Tensor {
    let [_, _, head_dim] = dims(rows_mkd);
    let index = positions_kn.transpose(0, 1).unsqueeze(-1);
    rows_mkd.gather(0, &index.expand([-1, -1, head_dim], false), false)
}

impl HeadCache for EvictingCache {
    fn attend(
        &mut self,
        q_thd: &Tensor,
        k_tkd: &Tensor,
        v_tkd: &Tensor,
    ) -> Result<Tensor, InferError> {
        if self.keeper.decoding() {
            return self.decode(q_thd, k_tkd, v_tkd);
        }
        let (keys_skd, values_skd) = self.rows.rows();
        let cached = Rows {
            k_skd: &keys_skd,
            v_skd: &values_skd,
        };
        let own = Rows {
            k_skd: k_tkd,
            v_skd: v_tkd,
        };
        let out_thd = after(self.rows.backend(), q_thd, cached, own);
        let (past, call_len) = (self.rows.len(), row_count(q_thd));
        self.held = self.num_kv_heads * to_u64(past + call_len);
        self.pairs += self.num_kv_heads * pairs_after(call_len, past);
        let verdict = self.keeper.judge(q_thd, k_tkd)?;
        self.keep(&verdict, k_tkd, v_tkd)?;
        Ok(out_thd)
    }

    fn expect_patch(&mut self, patch_len: usize) -> Result<(), InferError> {
        self.keeper.expect_patch(patch_len);
        Ok(())
    }

    fn end_prefill(&mut self) -> Result<(), InferError> {
        self.keeper.end_prefill();
        Ok(())
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
