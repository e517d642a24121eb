//! One decoder layer, forward and backward by hand.
//!
//! ```text
//! h  = norm(x)            q, k, v = h W_q^T, h W_k^T, h W_v^T     q, k rotated
//! x1 = x + attention(q, k, v) W_o^T
//! y  = x1 + mlp(norm(x1))
//! ```
//!
//! The forward pass keeps `x` and, by policy, the branches of attention with their lse, or everything; the backward pass
//! recomputes the rest.
//!
//! **Invariant:** gates arrive as numbers; where they come from is not known here.

use super::mlp::{self, Activations, MlpSettings};
use super::rotation::Rotation;
use super::watch::Watch;
use super::{linear, norm};
use crate::attention::Qkv;
use crate::attention::gated::{GatedAttention, Wanted};
use crate::attention::head_mix::{HeadMix, MixBranches, MixedRow};
use crate::attention::packed::Documents;
use crate::profile::recorder;
use crate::profile::span::Part;
use crate::shape::AttentionShape;
use crate::torch::dims::dims;
use tch::Tensor;

pub mod pair;

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
    /// The layer's input, the outputs of both branches of attention and their lse; only their mix is computed again.
    InputsAndAttention,
    /// Also the feed-forward's gate and up: only the mix, norms and activation functions are computed again.
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
    /// Whether attention's gradients are looked at.
    pub watch: Watch,
}

impl BlockContext<'_> {
    fn mixed_row(&self) -> MixedRow<'_> {
        MixedRow {
            documents: self.documents,
            attention: self.attention,
        }
    }
}

/// A layer's memory of its forward pass.
#[derive(Debug)]
pub struct SavedBlock {
    x: Tensor,
    attention: Option<MixBranches>,
    rest: Option<Rest>,
}

impl SavedBlock {
    /// The same with every tensor replaced by what `place` makes of it.
    pub(super) fn map(self, place: &impl Fn(&Tensor) -> Tensor) -> Self {
        Self {
            x: place(&self.x),
            attention: self.attention.map(|branches| branches.map(place)),
            rest: self.rest.map(|rest| rest.map(place)),
        }
    }
}

/// What only [`Saving::All`] keeps.
#[derive(Debug)]
struct Rest {
    projected: Projected,
    x1: Tensor,
    mlp: Vec<Activations>,
}

impl Rest {
    fn map(self, place: &impl Fn(&Tensor) -> Tensor) -> Self {
        let Projected { h, q, k, v } = self.projected;
        let [h, q, k, v] = [h, q, k, v].map(|x| place(&x));
        Self {
            projected: Projected { h, q, k, v },
            x1: place(&self.x1),
            mlp: self.mlp.into_iter().map(|kept| kept.map(place)).collect(),
        }
    }
}

/// Rotated queries and keys, values, and the normalised input they came from.
#[derive(Debug)]
pub(super) struct Projected {
    h: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
}

impl Projected {
    pub(super) fn new(weights: &LayerWeights, context: &BlockContext, x: &Tensor) -> Self {
        let h = recorder::forward(Part::Norm, &[x], || {
            norm::forward(x, &weights.attn_norm, context.mlp.eps)
        });
        let (q, k, v) =
            recorder::forward(Part::Qkv, &[&h], || project(weights, &context.shape, &h));
        let (q, k) = recorder::forward(Part::Rope, &[&q, &k], || {
            (context.rotation.apply(&q), context.rotation.apply(&k))
        });
        Self { h, q, k, v }
    }

    /// `[T, H | K, D]`.
    pub(super) fn qkv(&self) -> Qkv<'_> {
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
fn attend(context: &BlockContext, projected: &Projected, mix: HeadMix) -> (Tensor, MixBranches) {
    let (attended, branches) = context.mixed_row().forward(projected.qkv(), mix);
    (attended.flatten(1, 2), branches)
}

/// `x + attended W_o^T`.
fn output(weights: &LayerWeights, x: &Tensor, attended: &Tensor) -> Tensor {
    recorder::forward(Part::Output, &[attended], || {
        x + linear::forward(attended, &weights.o)
    })
}

/// The layer's output, and what its backward pass needs.
///
/// # Shapes
/// `x` `[T, C]` -> `[T, C]`; `mix`: one gate per kv head.
pub fn forward(
    weights: &LayerWeights,
    context: &BlockContext,
    x: &Tensor,
    mix: HeadMix,
) -> (Tensor, SavedBlock) {
    let projected = Projected::new(weights, context, x);
    forward_from(weights, context, (x, projected), mix)
}

/// [`forward`] from what `x` was projected to.
fn forward_from(
    weights: &LayerWeights,
    context: &BlockContext,
    (x, projected): (&Tensor, Projected),
    mix: HeadMix,
) -> (Tensor, SavedBlock) {
    let (attended, branches) = attend(context, &projected, mix);
    let (y, rest) = if context.saving == Saving::All {
        let x1 = output(weights, x, &attended);
        let (y, mlp) = recorder::forward(Part::Mlp, &[&x1], || {
            mlp::forward_keeping(weights, context.mlp, &x1)
        });
        (y, Some(Rest { projected, x1, mlp }))
    } else {
        (forgetting(weights, context, x, &attended), None)
    };
    let saved = SavedBlock {
        x: x.shallow_clone(),
        attention: (context.saving != Saving::Inputs).then_some(branches),
        rest,
    };
    (y, saved)
}

/// What follows attention, nothing of it kept.
fn forgetting(
    weights: &LayerWeights,
    context: &BlockContext,
    x: &Tensor,
    attended: &Tensor,
) -> Tensor {
    let update = recorder::forward(Part::Output, &[attended], || {
        linear::forward(attended, &weights.o)
    });
    recorder::forward(Part::Mlp, &[x], || {
        mlp::forward(weights, context.mlp, x, &update)
    })
}

/// Gradients of one layer.
#[derive(Debug)]
pub struct BlockGrads {
    /// `[T, C]`, if wanted.
    pub dx: Option<Tensor>,
    /// dL/dz per kv head.
    pub dz: Vec<f64>,
    /// Name and shape of a gradient of attention that is not finite, if the context asks to look.
    pub bad: Option<(&'static str, Vec<i64>)>,
}

/// Gradients for `dy` `[T, C]`; weight gradients are added to `grads`, if weights train.
///
/// # Shapes
/// As [`forward`], with the same gates.
pub fn backward(
    weights: &LayerWeights,
    context: &BlockContext,
    (saved, mix): (&SavedBlock, HeadMix),
    dy: &Tensor,
    wanted: Wanted,
    mut grads: Option<&mut LayerGrads>,
) -> BlockGrads {
    let rest = saved.rest.as_ref();
    let (new_projected, new_branches, new_x1);
    let projected = if let Some(rest) = rest {
        &rest.projected
    } else {
        new_projected = Projected::new(weights, context, &saved.x);
        &new_projected
    };
    let (attended, branches) = if let Some(branches) = &saved.attention {
        let mixed = context.mixed_row().mixed(&projected.q, mix, branches);
        (mixed.flatten(1, 2), branches)
    } else {
        let attended;
        (attended, new_branches) = attend(context, projected, mix);
        (attended, &new_branches)
    };
    let x1 = if let Some(rest) = rest {
        &rest.x1
    } else {
        new_x1 = output(weights, &saved.x, &attended);
        &new_x1
    };
    let kept = rest.map(|rest| rest.mlp.as_slice());
    let dx1 = recorder::backward(Part::Mlp, &[dy], || {
        mlp::backward(weights, context.mlp, (x1, kept), dy, grads.as_deref_mut())
    });
    let dattended = recorder::backward(Part::Output, &[&dx1], || {
        let grad = grads.as_deref_mut().map(|grads| &mut grads.o);
        linear::add_weight_grad(grad, &dx1, &attended);
        linear::input_grad(&dx1, &weights.o).view_as(&projected.q)
    });
    let attention =
        context
            .mixed_row()
            .backward(&dattended, projected.qkv(), (mix, branches), wanted);
    drop(dattended);
    let bad = attention
        .inputs
        .as_ref()
        .and_then(|inputs| context.watch.look(inputs));
    let dx = attention.inputs.map(|inputs| {
        let rotation = context.rotation;
        let (dq, dk) = recorder::backward(Part::Rope, &[&inputs.dq, &inputs.dk], || {
            (rotation.undo(&inputs.dq), rotation.undo(&inputs.dk))
        });
        let dqkv = [dq, dk, inputs.dv];
        let inputs = (&saved.x, &projected.h);
        backward_projection(weights, context, inputs, &dqkv, &dx1, grads)
    });
    BlockGrads {
        dx,
        dz: attention.dz,
        bad,
    }
}

/// Gradient of the layer's input through q, k, v and the first norm, and past them: `dx1`.
fn backward_projection(
    weights: &LayerWeights,
    context: &BlockContext,
    (x, h): (&Tensor, &Tensor),
    dqkv: &[Tensor; 3],
    dx1: &Tensor,
    mut grads: Option<&mut LayerGrads>,
) -> Tensor {
    let [dq, dk, dv] = [0, 1, 2].map(|i: usize| dqkv[i].flatten(1, 2));
    let dh = recorder::backward(Part::Qkv, &[&dq, &dk], || {
        if let Some(grads) = grads.as_deref_mut() {
            linear::add_weight_grad(Some(&mut grads.q), &dq, h);
            linear::add_weight_grad(Some(&mut grads.k), &dk, h);
            linear::add_weight_grad(Some(&mut grads.v), &dv, h);
        }
        linear::input_grad(&dq, &weights.q)
            + linear::input_grad(&dk, &weights.k)
            + linear::input_grad(&dv, &weights.v)
    });
    let norm = (x, &weights.attn_norm);
    let dnorm = grads.map(|grads| &mut grads.attn_norm);
    recorder::backward(Part::Norm, &[&dh], || {
        norm::backward(&dh, norm, context.mlp.eps, Some(dx1), dnorm)
    })
}
