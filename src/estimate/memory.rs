//! Bytes that one training step holds at its largest moment.
//!
//! What the forward pass keeps is exact. Beside it, two moments of a step can be its largest: the loss, and the backward pass
//! of the last layer, when nothing kept has been freed yet; the same layer's forward pass holds less. Each is the sum of the
//! tensors that `model::block`, `model::mlp`, `model::loss` and `attention` hold at that time, for a kernel that needs no memory
//! beyond its inputs and outputs; gradients by keys count once per query head, as flash kernels write them.
//!
//! What is kept in host memory leaves a layer's worth on the device at any time: the last layer's stays, and is gone when that of the
//! layer before it comes back.
//!
//! # Decisions
//! Not counted, because libraries decide about it: workspaces of matrix products, what an allocator rounds up or keeps, the
//! CUDA context, and the power of two to which pinned host memory is rounded up. A test compares with the tensors that a step really holds.

use super::plan::{Plan, WeightUpdates};
use crate::config::dtype::Dtype;
use crate::config::loss::{Offload, Saving};
use crate::real::real;

/// Bytes of one step, by part.
///
/// # Units
/// Bytes.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Memory {
    /// Weights.
    pub weights: f64,
    /// Gradients, f32 masters and moments, if weights train.
    pub optimizer: f64,
    /// Token ids and rotary angles of the row.
    pub row: f64,
    /// Kept by every layer, or by one where the others' waits in host memory: its input.
    pub saved_inputs: f64,
    /// The same: attention's outputs and their logsumexp.
    pub saved_attention: f64,
    /// The same: queries, keys, values, and what the feed-forward computes.
    pub saved_rest: f64,
    /// Kept in host memory by all layers but one.
    pub host: f64,
    /// Beside all that, while the loss is computed.
    pub loss: f64,
    /// Beside all that, while the last layer goes back.
    pub backward: f64,
    /// Logits of one chunk of the loss and what is computed from them; part of `loss`.
    pub logits_chunk: f64,
}

impl Memory {
    /// Counts the bytes of `plan`.
    pub fn new(plan: &Plan) -> Self {
        let step = Step::new(plan);
        let layers = real(plan.model.shape.num_layers);
        let params = plan.model.num_params();
        let optimizer = match plan.weights {
            WeightUpdates::Frozen => 0.0,
            WeightUpdates::AdamW => params * optimizer_bytes(plan),
        };
        let keeps = plan.memory.saving;
        let if_kept = |kept: bool, bytes: f64| if kept { bytes } else { 0.0 };
        let attention = if_kept(keeps != Saving::Inputs, step.branches());
        let rest = if_kept(keeps == Saving::All, step.rest());
        let here = match plan.memory.offload {
            Offload::None => layers,
            Offload::Host => layers.min(1.0),
        };
        Self {
            weights: params * real(plan.dtype.size_bytes()),
            optimizer,
            row: step.n * (2.0 * 8.0 + 8.0 + 4.0 * real(plan.model.shape.head_dim)),
            saved_inputs: here * step.hidden,
            // The teacher's attention output stays: the mix's gradient reads it.
            saved_attention: here * attention + layers * if_kept(step.has_teacher, step.queries),
            saved_rest: here * rest,
            host: (layers - here) * (step.hidden + attention + rest),
            loss: step.loss(plan),
            backward: step.backward(keeps),
            logits_chunk: step.logits_chunk(plan),
        }
    }

    /// What the forward pass keeps on the device for the backward pass.
    pub fn saved(&self) -> f64 {
        self.saved_inputs + self.saved_attention + self.saved_rest
    }

    /// The most that is held beside weights, optimizer, row and what is kept.
    pub fn transient(&self) -> f64 {
        self.loss.max(self.backward)
    }

    /// Everything on the device at the largest moment.
    pub fn peak(&self) -> f64 {
        self.weights + self.optimizer + self.row + self.saved() + self.transient()
    }
}

/// Bytes of one value of statistics, losses and sums: f32, or f64 for f64.
fn wide_bytes(dtype: Dtype) -> f64 {
    real(dtype.size_bytes().max(4))
}

/// Gradient, master (where the weight is not one itself) and two moments of a weight, f32.
fn optimizer_bytes(plan: &Plan) -> f64 {
    let is_own_master = plan.dtype.size_bytes() >= 4;
    let wide = wide_bytes(plan.dtype);
    wide + 8.0 + if is_own_master { 0.0 } else { 4.0 }
}

/// Tensors of one layer over the whole row, and of one chunk of the feed-forward, in bytes.
struct Step {
    /// Tokens.
    n: f64,
    /// `[T, C]`.
    hidden: f64,
    /// `[T, C]` in the wide dtype.
    wide_hidden: f64,
    /// `[T, H * D]`.
    queries: f64,
    /// The same in the wide dtype.
    wide_queries: f64,
    /// `[T, K * D]`.
    keys: f64,
    /// `[H, T]`, wide.
    lse: f64,
    /// `[T, I]`.
    inner: f64,
    /// Share of heads in each branch: full, streaming.
    shares: [f64; 2],
    is_mixed: bool,
    /// Whether full attention is a teacher's: its output is kept, and nothing goes back into it.
    has_teacher: bool,
    /// Share of the row in one chunk of the feed-forward.
    chunk: f64,
    /// Bytes of gathered keys, as a multiple of the keys themselves.
    gather: f64,
    /// Share of the row that is gathered at one time.
    segment: f64,
    /// Wide bytes over stored bytes.
    widening: f64,
}

impl Step {
    fn new(plan: &Plan) -> Self {
        let n = real(plan.num_tokens);
        let (stored, wide) = (real(plan.dtype.size_bytes()), wide_bytes(plan.dtype));
        let model = &plan.model;
        let behind_prefix = (n - real(plan.span.dense_prefix())).max(0.0) / n.max(1.0);
        Self {
            n,
            hidden: n * real(model.hidden_size) * stored,
            wide_hidden: n * real(model.hidden_size) * wide,
            queries: n * model.query_width() * stored,
            wide_queries: n * model.query_width() * wide,
            keys: n * model.key_width() * stored,
            lse: n * real(model.shape.num_heads) * wide,
            inner: n * real(model.intermediate_size) * stored,
            shares: [
                plan.gates.full_backward_share(),
                plan.gates.streaming_share(),
            ],
            is_mixed: plan.gates.is_mixed(),
            has_teacher: plan.gates.has_teacher(),
            chunk: (real(plan.memory.mlp_chunk_len) / n.max(1.0)).min(1.0),
            gather: behind_prefix * real(plan.span.tile_keys()) / real(plan.span.tile_len()),
            segment: (real(plan.span.segment_tiles() * plan.span.tile_len()) / n.max(1.0)).min(1.0),
            widening: wide / stored,
        }
    }

    /// Outputs and lse of both branches.
    fn branches(&self) -> f64 {
        self.shares.iter().sum::<f64>() * (self.queries + self.lse)
    }

    /// What `Saving::All` keeps besides: h, q, k, v, x1 and the feed-forward's h, gate and up.
    fn rest(&self) -> f64 {
        self.projected() + 2.0 * self.hidden + 2.0 * self.inner
    }

    /// The normalised input, queries, keys, values.
    fn projected(&self) -> f64 {
        self.hidden + self.queries + 2.0 * self.keys
    }

    /// The mix of both branches; the only branch's output itself where there is one.
    fn mixed(&self) -> f64 {
        if self.is_mixed { self.queries } else { 0.0 }
    }

    /// Copies of a branch's heads of q, k and v; none where the branch has all of them.
    fn selected(&self, share: f64) -> f64 {
        let is_part = share > 0.0 && share < 1.0;
        if is_part {
            share * (self.queries + 2.0 * self.keys)
        } else {
            0.0
        }
    }

    /// A chunk's `num_inner` inner tensors and its normalised input, for the whole row.
    fn mlp_chunk(&self, num_inner: f64) -> f64 {
        num_inner * self.inner + self.hidden
    }

    /// The last layer's output, its norm and the gradient, beside the chunk's logits.
    fn loss(&self, plan: &Plan) -> f64 {
        let norm = 4.0 * self.wide_hidden;
        if self.has_teacher {
            // Both streams' last outputs and the gradient; both norms of every row, should each be a label, and their difference.
            return 3.0 * self.hidden + norm + 2.0 * self.wide_hidden;
        }
        3.0 * self.hidden + self.logits_chunk(plan).max(norm)
    }

    /// Stored logits, wide ones where these differ, and what is computed from them.
    fn logits_chunk(&self, plan: &Plan) -> f64 {
        if self.has_teacher {
            return 0.0;
        }
        let rows = real(plan.loss.chunk_len).min(self.n);
        // The stored logits live as long as the wide ones; where they are the same there is one of them.
        let (stored, wide) = (real(plan.dtype.size_bytes()), wide_bytes(plan.dtype));
        let narrow = if self.widening > 1.0 { stored } else { 0.0 };
        rows * real(plan.model.vocab_size) * (2.0 * wide + narrow)
    }

    /// What the last layer adds going back, beside everything kept.
    fn backward(&self, keeps: Saving) -> f64 {
        let (projected, branches, x1) = match keeps {
            Saving::All => (0.0, 0.0, 0.0),
            Saving::InputsAndAttention => (self.projected(), 0.0, self.hidden),
            Saving::Inputs => (self.projected(), self.branches(), self.hidden),
        };
        // The gradient that came from above is there all along.
        let held = self.hidden + projected + branches + self.mixed() + x1;
        let kept_inner = if keeps == Saving::All { 2.0 } else { 0.0 };
        let mlp = 2.0 * self.hidden
            + self.chunk * (self.mlp_chunk(6.0 - kept_inner) + 4.0 * self.wide_hidden);
        // dx1, and the gradient of attention's output.
        let attending = self.hidden + self.queries + self.attention_backward();
        // dx1, the gradients of q, k and v, the first two before and after their rotation, and that of the normalised input.
        let inputs = 2.0 * self.hidden + 2.0 * self.queries + 3.0 * self.keys;
        let norm = inputs + 4.0 * self.wide_hidden;
        held + mlp.max(attending).max(norm)
    }

    /// The larger branch going back, with the other one's results.
    fn attention_backward(&self) -> f64 {
        let [full, streaming] = self.shares;
        let results = |share: f64| share * (self.queries + 2.0 * self.keys);
        let first = self.branch_backward(full, false);
        let second = results(full) + self.branch_backward(streaming, true);
        let combining = if self.is_mixed {
            results(full) + results(streaming) + results(1.0)
        } else {
            0.0
        };
        first.max(second).max(combining)
    }

    /// Copies of a branch's inputs, its scaled output gradient, and the most that its kernel holds beside them.
    fn branch_backward(&self, share: f64, is_streaming: bool) -> f64 {
        let scaling = self.queries + self.wide_queries;
        let kernel = if is_streaming && self.gather > 0.0 {
            self.tiles_backward()
        } else {
            // dq as summed and as returned, dk and dv of every head and of every kv head.
            self.queries + self.wide_queries + 2.0 * self.queries + 2.0 * self.keys
        };
        self.selected(share) + share * scaling.max(self.queries + kernel)
    }

    /// Gradients of earlier segments and the tiles of one, or everything joined.
    fn tiles_backward(&self) -> f64 {
        let group = self.queries / self.keys;
        let wide_keys = 2.0 * self.widening * self.keys;
        // q, dout and out as tiles and in the kernel's layout, dq; k and v twice, too, and their gradients of every head.
        let gathered = 7.0 * self.queries + 2.0 * self.gather * self.keys * (2.0 + group);
        let earlier = (1.0 - self.segment) * self.queries;
        wide_keys + (earlier + self.segment * gathered).max(2.0 * self.queries)
    }
}

#[cfg(test)]
mod tests;
