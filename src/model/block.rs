//! One decoder layer, forward and backward by hand.
//!
//! ```text
//! h  = norm(x)            q, k, v = h W_q^T, h W_k^T, h W_v^T     q, k rotated
//! x1 = x + attention(q, k, v) W_o^T
//! y  = x1 + mlp(norm(x1))
//! ```
//!
//! The forward pass keeps `x` and, by policy, the attention outputs with their lse, or everything; the backward pass
//! recomputes the rest.
//!
//! **Invariant:** gates arrive as numbers; where they come from is not known here.

use super::mlp::{self, Activations, MlpSettings};
use super::rotation::Rotation;
use super::{linear, norm};
use crate::attention::Qkv;
use crate::attention::gated::{GatedAttention, Wanted};
use crate::attention::packed::{Documents, PackedBranches};
use crate::shape::AttentionShape;
use crate::torch::dims::dims;
use tch::Tensor;

/// One value per weight of a layer, in checkpoint order.
#[derive(Debug)]
pub struct PerLayer<T> {
    /// RMSNorm before attention, `[C]`.
    pub attn_norm: T,
    /// `[H * D, C]`.
    pub q: T,
    /// `[K * D, C]`.
    pub k: T,
    /// `[K * D, C]`.
    pub v: T,
    /// `[C, H * D]`.
    pub o: T,
    /// RMSNorm before the feed-forward, `[C]`.
    pub mlp_norm: T,
    /// `[I, C]`.
    pub gate: T,
    /// `[I, C]`.
    pub up: T,
    /// `[C, I]`.
    pub down: T,
}

/// A layer's weights.
pub type LayerWeights = PerLayer<Tensor>;
/// Gradients of a layer's weights, f32 or wider.
pub type LayerGrads = PerLayer<Tensor>;

/// What a forward pass keeps for the backward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Saving {
    /// The layer's input alone; attention is computed again.
    Inputs,
    /// The layer's input, attention outputs and lse.
    InputsAndAttention,
    /// Also the feed-forward's gate and up: only norms and activation functions are computed again.
    All,
}

/// What stays the same for every layer of one pass.
#[derive(Clone, Copy)]
pub struct BlockContext<'a> {
    /// Head counts.
    pub shape: AttentionShape,
    /// Norm and chunk settings.
    pub mlp: MlpSettings,
    /// cos and sin of every token.
    pub rotation: &'a Rotation,
    /// Documents of the row.
    pub documents: &'a Documents,
    /// Backend and span.
    pub attention: GatedAttention<'a>,
    /// Policy.
    pub saving: Saving,
}

/// A layer's memory of its forward pass.
#[derive(Debug)]
pub struct SavedBlock {
    x: Tensor,
    attention: Option<(Tensor, PackedBranches)>,
    rest: Option<Rest>,
}

/// What only [`Saving::All`] keeps.
#[derive(Debug)]
struct Rest {
    projected: Projected,
    x1: Tensor,
    mlp: Vec<Activations>,
}

/// Rotated queries and keys, values, and the normalised input they came from.
#[derive(Debug)]
struct Projected {
    h: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
}

impl Projected {
    fn new(weights: &LayerWeights, context: &BlockContext, x: &Tensor) -> Self {
        let h = norm::forward(x, &weights.attn_norm, context.mlp.eps);
        let (q, k, v) = project(weights, &context.shape, &h);
        Self {
            q: context.rotation.apply(&q),
            k: context.rotation.apply(&k),
            v,
            h,
        }
    }

    fn qkv(&self) -> Qkv<'_> {
        Qkv {
            q: &self.q,
            k: &self.k,
            v: &self.v,
        }
    }
}

/// Unrotated q `[T, H, D]`, k and v `[T, K, D]` of the normalised input `h` `[T, C]`.
pub(super) fn project(
    weights: &LayerWeights,
    shape: &AttentionShape,
    h: &Tensor,
) -> (Tensor, Tensor, Tensor) {
    let [t, _] = dims(h);
    let split = |x: Tensor| x.view([t, -1, i64::try_from(shape.head_dim).unwrap_or(0)]);
    (
        split(linear::forward(h, &weights.q)),
        split(linear::forward(h, &weights.k)),
        split(linear::forward(h, &weights.v)),
    )
}

/// Attention's output `[T, H * D]`, and what its backward pass needs.
fn attend(context: &BlockContext, projected: &Projected, z: &[f64]) -> (Tensor, PackedBranches) {
    let (attended, branches) = context
        .documents
        .forward(&context.attention, projected.qkv(), z);
    (attended.flatten(1, 2), branches)
}

/// The layer's output, and what its backward pass needs.
///
/// # Shapes
/// `x` `[T, C]` -> `[T, C]`; `z`: one gate per kv head.
pub fn forward(
    weights: &LayerWeights,
    context: &BlockContext,
    x: &Tensor,
    z: &[f64],
) -> (Tensor, SavedBlock) {
    let projected = Projected::new(weights, context, x);
    let (attended, branches) = attend(context, &projected, z);
    let x1 = x + linear::forward(&attended, &weights.o);
    let (y, rest) = if context.saving == Saving::All {
        let (y, mlp) = mlp::forward_keeping(weights, context.mlp, &x1);
        (y, Some(Rest { projected, x1, mlp }))
    } else {
        (mlp::forward(weights, context.mlp, &x1), None)
    };
    let saved = SavedBlock {
        x: x.shallow_clone(),
        attention: (context.saving != Saving::Inputs).then_some((attended, branches)),
        rest,
    };
    (y, saved)
}

/// Gradients of one layer.
#[derive(Debug)]
pub struct BlockGrads {
    /// `[T, C]`, if wanted.
    pub dx: Option<Tensor>,
    /// dL/dz per kv head.
    pub dz: Vec<f64>,
}

/// Gradients for `dy` `[T, C]`; weight gradients are added to `grads`, if weights train.
///
/// # Shapes
/// As [`forward`], with the same gates.
pub fn backward(
    weights: &LayerWeights,
    context: &BlockContext,
    (saved, z): (&SavedBlock, &[f64]),
    dy: &Tensor,
    wanted: Wanted,
    mut grads: Option<&mut LayerGrads>,
) -> BlockGrads {
    let rest = saved.rest.as_ref();
    let (new_projected, new_attention, new_x1);
    let projected = if let Some(rest) = rest {
        &rest.projected
    } else {
        new_projected = Projected::new(weights, context, &saved.x);
        &new_projected
    };
    let (attended, branches) = if let Some(attention) = &saved.attention {
        attention
    } else {
        new_attention = attend(context, projected, z);
        &new_attention
    };
    let x1 = if let Some(rest) = rest {
        &rest.x1
    } else {
        new_x1 = &saved.x + linear::forward(attended, &weights.o);
        &new_x1
    };
    let kept = rest.map(|rest| rest.mlp.as_slice());
    let dx1 = mlp::backward(weights, context.mlp, (x1, kept), dy, grads.as_deref_mut());
    let dattended = linear::input_grad(&dx1, &weights.o).view_as(&projected.q);
    linear::add_weight_grad(
        grads.as_deref_mut().map(|grads| &mut grads.o),
        &dx1,
        attended,
    );
    let attention = context.documents.backward(
        &context.attention,
        &dattended,
        projected.qkv(),
        (z, branches),
        wanted,
    );
    let dx = attention.inputs.map(|inputs| {
        let rotation = context.rotation;
        let dqkv = [
            rotation.undo(&inputs.dq),
            rotation.undo(&inputs.dk),
            inputs.dv,
        ];
        dx1 + backward_projection(weights, context, &saved.x, &projected.h, &dqkv, grads)
    });
    BlockGrads {
        dx,
        dz: attention.dz,
    }
}

/// Gradient of the layer's input through q, k, v and the first norm.
fn backward_projection(
    weights: &LayerWeights,
    context: &BlockContext,
    x: &Tensor,
    h: &Tensor,
    dqkv: &[Tensor; 3],
    grads: Option<&mut LayerGrads>,
) -> Tensor {
    let [dq, dk, dv] = [0, 1, 2].map(|i: usize| dqkv[i].flatten(1, 2));
    let dh = linear::input_grad(&dq, &weights.q)
        + linear::input_grad(&dk, &weights.k)
        + linear::input_grad(&dv, &weights.v);
    let (dx, dnorm) = norm::backward(&dh, x, &weights.attn_norm, context.mlp.eps);
    if let Some(grads) = grads {
        linear::add_weight_grad(Some(&mut grads.q), &dq, h);
        linear::add_weight_grad(Some(&mut grads.k), &dk, h);
        linear::add_weight_grad(Some(&mut grads.v), &dv, h);
        let _ = grads.attn_norm.g_add_(&dnorm);
    }
    dx
}
