//! Token eviction, selected per kv head: all heads of a group share what stays of each chunk.

use super::attend::{Rows, after, pairs_after, row_count, slice};
use super::growing::Growing;
use super::keeper::{Keeper, Verdict};
use super::ranking::top;
use super::{HeadCache, RowSpec};
use crate::footprint::eviction::CallBudget;
use crate::infer::error::InferError;
use crate::infer::int::{to_i64, to_u64};
use crate::torch::dims::dims;
use tch::{Kind, Tensor};

/// Keeps a ranked share of each prefill chunk and every decoded token.
///
/// Rows are kept per kv head, the same number for each: row `i` of two kv heads may be different tokens.
pub struct EvictingCache {
    rows: Growing,
    keeper: Keeper,
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
        let (out_thd, pairs) = self.rows.append_and_attend(q_thd, k_tkd, v_tkd)?;
        self.held = self.rows.stored();
        self.pairs += pairs;
        Ok(out_thd)
    }

    /// Appends what stays of a call: the best-ranked rows, then the window unless it was a patch.
    fn keep(
        &mut self,
        verdict: &Verdict,
        k_tkd: &Tensor,
        v_tkd: &Tensor,
    ) -> Result<(), InferError> {
        let prompt_len = row_count(k_tkd) - verdict.budget.patch_len;
        match &verdict.scores {
            None => self
                .rows
                .append(&slice(k_tkd, 0, prompt_len), &slice(v_tkd, 0, prompt_len)),
            Some(scores_kgm) => {
                let kept_kn = kept(scores_kgm, &verdict.budget, prompt_len);
                self.rows
                    .append(&pick(k_tkd, &kept_kn), &pick(v_tkd, &kept_kn))
            }
        }
    }
}

/// Positions of what each kv head keeps of `prompt_len` tokens: `[K, N]`, ascending.
fn kept(scores_kgm: &Tensor, budget: &CallBudget, prompt_len: usize) -> Tensor {
    let [num_kv_heads, _, num_ranked] = dims(scores_kgm);
    let shared_km = scores_kgm.mean_dim(1, false, scores_kgm.kind());
    let options = (Kind::Int64, scores_kgm.device());
    let window = Tensor::arange_start(num_ranked, to_i64(prompt_len), options);
    let window_kn = window.expand([num_kv_heads, -1], false);
    Tensor::cat(&[top(&shared_km, budget.num_top), window_kn], 1)
}

/// Rows `[T, K, D]` at `positions` `[K, N]` -> `[N, K, D]`.
fn pick(rows_tkd: &Tensor, positions_kn: &Tensor) -> Tensor {
    let [_, _, head_dim] = dims(rows_tkd);
    let index = positions_kn.transpose(0, 1).unsqueeze(-1);
    rows_tkd.gather(0, &index.expand([-1, -1, head_dim], false), false)
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
        self.held = self.rows.num_kv_heads() * to_u64(past + call_len);
        self.pairs += self.rows.num_kv_heads() * pairs_after(call_len, past);
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
        self.rows.stored()
    }

    fn allocated(&self) -> u64 {
        self.rows.allocated()
    }

    fn pairs(&self) -> u64 {
        self.pairs
    }
}
