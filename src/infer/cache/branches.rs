//! Keeps every row, and mixes three ways of reading them by gates that the model learnt: means of blocks, chosen blocks, a window.
//!
//! ```text
//! out = g_means * softmax(q . means of k) means of v  +  g_chosen * attention over chosen blocks  +  g_window * over the window
//! ```
//!
//! Gates are sigmoids of the layer's normalised input, one for each head and branch. Unlike patterns, which stand in for full
//! attention while the prompt is read, this is the model's own attention, of prompt and output alike.

use super::attend::{Rows, causal_pairs};
use super::blocks::{aligned, means};
use super::growing::Growing;
use super::pattern::{Call, Part};
use super::ranking::top_marks;
use super::{HeadCache, RowSpec};
use crate::attention::{scale, wide};
use crate::infer::error::InferError;
use crate::infer::int::{to_i64, to_u64, to_usize};
use crate::span::Span;
use crate::torch::dims::dims;
use std::ops::Range;
use tch::{Kind, Tensor};

/// Branches of every head: means of blocks, chosen blocks, window.
const NUM_BRANCHES: i64 = 3;

/// Sizes of the branches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Branches {
    /// Tokens of a block.
    pub block_len: usize,
    /// Blocks of each query; at least [`Self::MIN_BLOCKS`].
    pub num_blocks: usize,
    /// The window, without a sink.
    pub window: Span,
}

impl Branches {
    /// Published blocks of each query.
    pub const NUM_BLOCKS: usize = 16;
    /// Tokens of a block in the open implementation.
    pub const BLOCK_LEN: usize = 64;
    /// Published window, in tokens.
    pub const WINDOW_LEN: usize = 512;
    /// The blocks that are always read: a query's own, the one before it, the first.
    pub const MIN_BLOCKS: usize = 3;
}

/// A growing cache with the means of its blocks.
pub struct BranchCache {
    branches: Branches,
    rows: Growing,
    /// One row per complete block.
    means: Growing,
    /// `[3 H, C]`: the gates' weights, the three of a head together.
    gates: Tensor,
    /// The input of the call that comes, `[T, C]`.
    input: Option<Tensor>,
    pairs: u64,
    attended_pairs: u64,
}

/// What the means say of some queries.
struct Coarse {
    /// `[T, H, D]`.
    out: Tensor,
    /// The past blocks that each query of each kv head reads besides its own: `[K, T, N]`, boolean.
    chosen: Tensor,
    /// (query, mean) pairs, summed over query heads.
    pairs: u64,
}

impl BranchCache {
    /// Allocates `spec.expected_len` rows and their means.
    ///
    /// # Shapes
    /// `gates`: `[3 H, C]`.
    ///
    /// # Errors
    /// [`InferError::Torch`] if memory runs out.
    pub fn new(spec: RowSpec, branches: Branches, gates: Tensor) -> Result<Self, InferError> {
        let of_means = RowSpec {
            expected_len: spec.expected_len / branches.block_len,
            ..spec.clone()
        };
        Ok(Self {
            branches,
            rows: Growing::new(spec)?,
            means: Growing::new(of_means)?,
            gates,
            input: None,
            pairs: 0,
            attended_pairs: 0,
        })
    }

    /// Weights of the branches of each query and head, `[T, H, 3]`.
    fn weights(&mut self, num_queries: i64) -> Result<Tensor, InferError> {
        let input = self.input.take().filter(|input| {
            let shape = input.size();
            shape.first() == Some(&num_queries)
        });
        let input = input.ok_or_else(|| InferError::Shape {
            tensor: "h [T, C]",
            expected: format!("[{num_queries}, C], before the call's queries"),
            found: Vec::new(),
        })?;
        let kind = wide(input.kind());
        let logits = input.matmul(&self.gates.tr()).to_kind(kind);
        Ok(logits.view([num_queries, -1, NUM_BRANCHES]).sigmoid())
    }

    /// Stores a call's rows, and the means of the blocks that it completes.
    fn append(&mut self, k_tkd: &Tensor, v_tkd: &Tensor) -> Result<(), InferError> {
        self.rows.append(k_tkd, v_tkd)?;
        let block_len = self.branches.block_len;
        let new = self.means.len()..self.rows.len() / block_len;
        if new.is_empty() {
            return Ok(());
        }
        let blocks = new.map(|block| block * block_len..(block + 1) * block_len);
        let blocks: Vec<Range<usize>> = blocks.collect();
        let (k_skd, v_skd) = self.rows.rows();
        let [k, v] = [k_skd, v_skd].map(|rows| means(&rows, 0, &blocks));
        self.means.append(&k, &v)
    }

    /// Attends to the means of complete blocks, and chooses blocks by it.
    fn coarse(&self, call: &Call) -> Coarse {
        let pieces: Vec<Coarse> = aligned(call.queries(), self.branches.block_len)
            .map(|queries| self.coarse_piece(call, queries))
            .collect();
        let join = |pick: fn(&Coarse) -> &Tensor, axis| {
            Tensor::cat(&pieces.iter().map(pick).collect::<Vec<_>>(), axis)
        };
        Coarse {
            out: join(|piece| &piece.out, 0),
            chosen: join(|piece| &piece.chosen, 1),
            pairs: pieces.iter().map(|piece| piece.pairs).sum(),
        }
    }

    /// The same for queries of one block, so that no queries x blocks scores of a whole call exist.
    fn coarse_piece(&self, call: &Call, queries: Range<usize>) -> Coarse {
        let (k_nkd, v_nkd) = self.means.rows();
        let [num_means, num_kv_heads, head_dim] = dims(&k_nkd);
        let q_thd = call.q_of(&queries);
        let kind = wide(q_thd.kind());
        let num_queries = to_i64(queries.len());
        let q_tkgd = q_thd.view([num_queries, num_kv_heads, -1, head_dim]);
        let q_ktgd = q_tkgd.to_kind(kind).permute([1, 0, 2, 3]);
        let [_, _, group_size, _] = dims(&q_ktgd);
        let q_kmd = q_ktgd.reshape([num_kv_heads, num_queries * group_size, head_dim]);
        let scores = q_kmd.matmul(&k_nkd.to_kind(kind).permute([1, 2, 0])) * scale(head_dim);
        let scores_ktgn = scores.view([num_kv_heads, num_queries, group_size, num_means]);
        let ends_tn = self.complete(&queries, num_means, &scores_ktgn);
        let hidden_tgn = ends_tn.logical_not().unsqueeze(1);
        let scores_ktgn = scores_ktgn.masked_fill(&hidden_tgn, f64::NEG_INFINITY);
        // Queries before the end of the first block see no mean: their weights are 0, not 0 / 0.
        let weights_ktgn = scores_ktgn.softmax(-1, kind).masked_fill(&hidden_tgn, 0.0);
        let weights_kmn = weights_ktgn.reshape([num_kv_heads, num_queries * group_size, num_means]);
        let out_kmd = weights_kmn.matmul(&v_nkd.to_kind(kind).permute([1, 0, 2]));
        let out_ktgd = out_kmd.view([num_kv_heads, num_queries, group_size, head_dim]);
        let importance_ktn = weights_ktgn.sum_dim_intlist([2_i64].as_slice(), false, kind);
        let block_len = self.branches.block_len;
        let seen: usize = queries.clone().map(|query| (query + 1) / block_len).sum();
        Coarse {
            out: out_ktgd.permute([1, 0, 2, 3]).flatten(1, 2),
            chosen: self.choose(&importance_ktn, &queries),
            pairs: to_u64(seen * call.num_heads()),
        }
    }

    /// Marks the means whose block ends at or before each query: `[T, N]`.
    fn complete(&self, queries: &Range<usize>, num_means: i64, like: &Tensor) -> Tensor {
        let options = (Kind::Int64, like.device());
        let q_t = Tensor::arange_start(to_i64(queries.start), to_i64(queries.end), options);
        let ends_n = (Tensor::arange(num_means, options) + 1) * to_i64(self.branches.block_len);
        ends_n.le_tensor(&(q_t + 1).unsqueeze(1))
    }

    /// The past blocks of highest importance, the first and the one before the own block first: `[K, T, N]`; all of `queries`
    /// stand in one block.
    fn choose(&self, importance_ktn: &Tensor, queries: &Range<usize>) -> Tensor {
        let own = to_i64(queries.start / self.branches.block_len);
        let [_, _, num_means] = dims(importance_ktn);
        let options = (Kind::Int64, importance_ktn.device());
        let n = Tensor::arange(num_means, options);
        let past_n = n.lt(own);
        let forced_n = n.eq(0).logical_or(&n.eq(own - 1));
        let scores = importance_ktn
            .masked_fill(&forced_n, f64::INFINITY)
            .masked_fill(&past_n.logical_not(), f64::NEG_INFINITY);
        let count = (self.branches.num_blocks - 1).min(to_usize(num_means));
        top_marks(&scores, count).logical_and(&past_n)
    }

    /// Attends to every query's own block and to the chosen ones.
    fn fine(&self, call: &Call, chosen_ktn: &Tensor) -> Part {
        let block_len = self.branches.block_len;
        let [num_kv_heads, _, _] = dims(chosen_ktn);
        let of_kv_head = |kv_head: i64| {
            let call = call.kv_head(to_usize(kv_head));
            let mut sum = call.attend_own_blocks(block_len).widened();
            let chosen_tn = chosen_ktn.select(0, kv_head);
            let any = chosen_tn.any_dim(0, false).nonzero().squeeze_dim(1);
            for block in Vec::<i64>::try_from(any).unwrap_or_default() {
                let queries = chosen_tn.select(1, block).nonzero().squeeze_dim(1);
                let start = to_usize(block) * block_len;
                sum.add(
                    &queries,
                    &call.attend_at(&queries, &(start..start + block_len)),
                );
            }
            sum
        };
        Part::beside((0..num_kv_heads).map(of_kv_head))
    }
}

impl HeadCache for BranchCache {
    fn see_input(&mut self, h_tc: &Tensor) {
        self.input = Some(h_tc.shallow_clone());
    }

    fn attend(
        &mut self,
        q_thd: &Tensor,
        k_tkd: &Tensor,
        v_tkd: &Tensor,
    ) -> Result<Tensor, InferError> {
        let [num_queries, _, _] = dims(q_thd);
        let weights_th3 = self.weights(num_queries)?;
        self.append(k_tkd, v_tkd)?;
        let (keys_skd, values_skd) = self.rows.rows();
        self.pairs += self.rows.num_kv_heads() * causal_pairs(q_thd, &keys_skd);
        let rows = Rows {
            k_skd: &keys_skd,
            v_skd: &values_skd,
        };
        let call = Call::new(self.rows.backend(), q_thd, rows);
        let coarse = self.coarse(&call);
        let fine = self.fine(&call, &coarse.chosen);
        let near = call.attend_span(&self.branches.window);
        self.attended_pairs += coarse.pairs + fine.pairs + near.pairs;
        let outputs = [coarse.out, fine.out, near.out];
        let mixed = (0..).zip(outputs).map(|(branch, out)| {
            let weight_th1 = weights_th3.narrow(2, branch, 1);
            out.to_kind(weight_th1.kind()) * weight_th1
        });
        let sum: Tensor = mixed.sum();
        Ok(sum.to_kind(q_thd.kind()))
    }

    fn held(&self) -> u64 {
        self.stored()
    }

    fn stored(&self) -> u64 {
        self.rows.stored()
    }

    /// With the means, which are no entries of tokens.
    fn allocated(&self) -> u64 {
        self.rows.allocated() + self.means.allocated()
    }

    fn pairs(&self) -> u64 {
        self.pairs
    }

    fn attended_pairs(&self, _group_size: u64) -> u64 {
        self.attended_pairs
    }
}
