//! Token eviction, selected per head: each head sees its own share of each chunk.
//!
//! The rows that any head of a group selected are stored once, with one flag per head that says who sees them; the outputs
//! are those of a cache that repeats keys and values for every head.
//!
//! # Decisions
//! A chunk's queries meet the cached rows of their own head, gathered for the call: a mask of chunk x rows per head would be
//! larger than the rows. A decoded token has one query, so there the flags are the mask and nothing is copied.

use super::attend::{Rows, after_attended, attended, masked, row_count};
use super::growing::Growing;
use super::keeper::{Keeper, Verdict};
use super::ranking::top_marks;
use super::{HeadCache, RowSpec};
use crate::attention::{Attended, Visibility};
use crate::infer::error::InferError;
use crate::infer::int::{to_i64, to_u64, to_usize, triangle};
use crate::torch::dims::dims;
use tch::{Kind, Tensor};

/// Keeps the union of what the heads of each group select of each prefill chunk, and every decoded token.
pub struct UnionCache {
    groups: Vec<Group>,
    keeper: Keeper,
    held: u64,
    pairs: u64,
}

/// One kv head's rows, and who sees them.
struct Group {
    rows: Growing,
    /// `[G, S]` for the rows of the prompt; later rows are seen by all.
    seen_gs: Option<Tensor>,
}

impl UnionCache {
    /// Allocates nothing: how much stays is known only once chunks come.
    ///
    /// # Errors
    /// [`InferError::Torch`] if memory runs out.
    pub fn new(spec: &RowSpec, keeper: Keeper) -> Result<Self, InferError> {
        let open = |_| {
            let spec = RowSpec {
                num_kv_heads: 1,
                expected_len: 0,
                ..spec.clone()
            };
            Ok(Group {
                rows: Growing::new(spec)?,
                seen_gs: None,
            })
        };
        let groups = (0..spec.num_kv_heads).map(open);
        Ok(Self {
            groups: groups.collect::<Result<_, InferError>>()?,
            keeper,
            held: 0,
            pairs: 0,
        })
    }

    /// Hands each kv head its rows of a call and joins the outputs.
    fn each_group(
        &mut self,
        [q_thd, k_tkd, v_tkd]: [&Tensor; 3],
        attend: impl Fn(i64, &mut Group, &Tensor, Rows) -> Result<Tensor, InferError>,
    ) -> Result<Tensor, InferError> {
        let [_, num_heads, _] = dims(q_thd);
        let group_size = num_heads / to_i64(self.groups.len());
        let mut outputs = Vec::with_capacity(self.groups.len());
        for (kv_head, group) in (0..).zip(&mut self.groups) {
            let rows = Rows {
                k_skd: &k_tkd.narrow(1, kv_head, 1),
                v_skd: &v_tkd.narrow(1, kv_head, 1),
            };
            let heads = q_thd.narrow(1, kv_head * group_size, group_size);
            outputs.push(attend(kv_head, group, &heads, rows)?);
        }
        Tensor::f_cat(&outputs, 1).map_err(InferError::torch("join the heads' outputs"))
    }
}

impl Group {
    /// Decoded tokens: stored, and attended under the flags. Heads stand as further queries, for a mask is per query.
    fn decode(&mut self, q_tgd: &Tensor, own: Rows) -> Result<Tensor, InferError> {
        self.rows.append(own.k_skd, own.v_skd)?;
        let (keys_s1d, values_s1d) = self.rows.rows();
        let [num_queries, group_size, head_dim] = dims(q_tgd);
        let [num_rows, _, _] = dims(&keys_s1d);
        let all = |shape: [i64; 2]| Tensor::ones(shape, (Kind::Bool, q_tgd.device()));
        let later_gs = all([group_size, num_rows - to_i64(self.num_marked())]);
        let seen_gs = match &self.seen_gs {
            None => later_gs,
            Some(marked_gs) => Tensor::cat(&[marked_gs, &later_gs], 1),
        };
        let causal_ts = all([num_queries, num_rows]).tril(num_rows - num_queries);
        let mask_tgs = causal_ts.unsqueeze(1).logical_and(&seen_gs);
        let q_x1d = q_tgd.reshape([-1, 1, head_dim]);
        let mask_xs = mask_tgs.view([-1, num_rows]);
        let out_x1d = masked(
            self.rows.backend(),
            &q_x1d,
            &keys_s1d,
            &values_s1d,
            &mask_xs,
        );
        Ok(out_x1d.reshape([num_queries, group_size, head_dim]))
    }

    fn num_marked(&self) -> usize {
        self.seen_gs.as_ref().map_or(0, |seen_gs| {
            let [_, num_rows] = dims(seen_gs);
            to_usize(num_rows)
        })
    }

    /// A chunk over each head's cached rows and causally over its own.
    fn prefill(&self, q_tgd: &Tensor, own: Rows) -> Tensor {
        let cached = self
            .seen_gs
            .as_ref()
            .filter(|_| self.num_marked() > 0)
            .map(|seen_gs| self.attend_cached(q_tgd, seen_gs));
        after_attended(self.rows.backend(), q_tgd, cached.as_ref(), own)
    }

    fn attend_cached(&self, q_tgd: &Tensor, seen_gs: &Tensor) -> Attended {
        let (keys_s1d, values_s1d) = self.rows.rows();
        let [group_size, _] = dims(seen_gs);
        let of_head = |head| {
            let places = seen_gs.get(head).nonzero().squeeze_dim(1);
            let rows = Rows {
                k_skd: &keys_s1d.index_select(0, &places),
                v_skd: &values_s1d.index_select(0, &places),
            };
            let queries = q_tgd.narrow(1, head, 1);
            attended(self.rows.backend(), &queries, rows, Visibility::All)
        };
        let parts: Vec<Attended> = (0..group_size).map(of_head).collect();
        let join = |part: fn(&Attended) -> &Tensor, axis| {
            Tensor::cat(&parts.iter().map(part).collect::<Vec<_>>(), axis)
        };
        Attended {
            out: join(|part| &part.out, 2),
            lse: join(|part| &part.lse, 1),
        }
    }

    /// Stores the rows that `kept_gt` marks for any head, and the marks.
    fn keep(&mut self, kept_gt: &Tensor, own: Rows) -> Result<(), InferError> {
        let places = kept_gt.any_dim(0, false).nonzero().squeeze_dim(1);
        let keys = own.k_skd.index_select(0, &places);
        let values = own.v_skd.index_select(0, &places);
        self.rows.append(&keys, &values)?;
        let marks_gs = kept_gt.index_select(1, &places);
        self.seen_gs = Some(match &self.seen_gs {
            None => marks_gs,
            Some(seen_gs) => Tensor::cat(&[seen_gs, &marks_gs], 1),
        });
        Ok(())
    }
}

/// What each head keeps of a call of `call_len` tokens: `[K, G, T]`, a patch never.
fn marks(verdict: &Verdict, num_kv_heads: i64, group_size: i64, call: &Tensor) -> Tensor {
    let call_len = row_count(call);
    let budget = &verdict.budget;
    let fill = |len: usize, kept: bool| {
        let value = i64::from(kept);
        let shape = [num_kv_heads, group_size, to_i64(len)];
        Tensor::full(shape, value, (Kind::Bool, call.device()))
    };
    let ranked = match &verdict.scores {
        None => fill(call_len - budget.window_len, true),
        Some(scores_kgm) => top_marks(scores_kgm, budget.num_top),
    };
    let window = fill(budget.window_len, budget.patch_len == 0);
    Tensor::cat(&[ranked, window], 2)
}

impl HeadCache for UnionCache {
    fn attend(
        &mut self,
        q_thd: &Tensor,
        k_tkd: &Tensor,
        v_tkd: &Tensor,
    ) -> Result<Tensor, InferError> {
        let call_len = row_count(q_thd);
        let past = self.stored();
        self.held = past + to_u64(self.groups.len() * call_len);
        self.pairs += past * to_u64(call_len) + to_u64(self.groups.len()) * triangle(call_len);
        let call = [q_thd, k_tkd, v_tkd];
        if self.keeper.decoding() {
            return self.each_group(call, |_, group, queries, own| group.decode(queries, own));
        }
        let verdict = self.keeper.judge(q_thd, k_tkd)?;
        let [_, num_heads, _] = dims(q_thd);
        let num_kv_heads = to_i64(self.groups.len());
        let kept_kgt = marks(&verdict, num_kv_heads, num_heads / num_kv_heads, q_thd);
        self.each_group(call, |kv_head, group, queries, own| {
            let out_tgd = group.prefill(queries, own);
            group.keep(&kept_kgt.get(kv_head), own)?;
            Ok(out_tgd)
        })
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
        self.groups.iter().map(|group| group.rows.stored()).sum()
    }

    fn allocated(&self) -> u64 {
        self.groups.iter().map(|group| group.rows.allocated()).sum()
    }

    fn pairs(&self) -> u64 {
        self.pairs
    }
}
