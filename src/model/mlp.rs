//! SwiGLU feed-forward with its norm and residual, in chunks of tokens: `y = x + W_down (silu(W_gate h) * W_up h)`, `h = norm(x)`.
//!
//! Gate and up activations exist for one chunk at a time, and the backward pass recomputes them, unless they are kept.

use super::block::{LayerGrads, LayerWeights};
use super::swiglu::{self, Product};
use super::{linear, norm};
use crate::torch::dims::dims;
use tch::Tensor;

/// Sizes the feed-forward needs.
#[derive(Debug, Clone, Copy)]
pub struct MlpSettings {
    /// RMSNorm epsilon.
    pub eps: f64,
    /// Tokens per chunk.
    pub chunk_len: i64,
}

/// Activations of one chunk.
#[derive(Debug)]
pub struct Activations {
    h: Tensor,
    gate: Tensor,
    up: Tensor,
}

impl Activations {
    /// The same with every tensor replaced by what `place` makes of it.
    pub(super) fn map(self, place: &impl Fn(&Tensor) -> Tensor) -> Self {
        Self {
            h: place(&self.h),
            gate: place(&self.gate),
            up: place(&self.up),
        }
    }

    fn new(weights: &LayerWeights, x: &Tensor, eps: f64) -> Self {
        Self::of_normalised(weights, norm::forward(x, &weights.mlp_norm, eps))
    }

    fn of_normalised(weights: &LayerWeights, h: Tensor) -> Self {
        let (gate, up) = (
            linear::forward(&h, &weights.gate),
            linear::forward(&h, &weights.up),
        );
        Self { h, gate, up }
    }
}

/// Output with residual for `x + update`.
///
/// # Shapes
/// `x`, `update` `[T, C]` -> `[T, C]`.
pub fn forward(
    weights: &LayerWeights,
    settings: MlpSettings,
    x: &Tensor,
    update: &Tensor,
) -> Tensor {
    let pieces = chunks(x, settings.chunk_len).zip(chunks(update, settings.chunk_len));
    let outputs = pieces.map(|(x, update)| {
        let (sum, h) = norm::forward_after(&x, &update, &weights.mlp_norm, settings.eps);
        output(weights, &sum, &Activations::of_normalised(weights, h))
    });
    joined(outputs.collect())
}

/// As [`forward`] for `x` itself, with the activations of every chunk for [`backward`].
///
/// # Shapes
/// `x` `[T, C]` -> `[T, C]`.
pub fn forward_keeping(
    weights: &LayerWeights,
    settings: MlpSettings,
    x: &Tensor,
) -> (Tensor, Vec<Activations>) {
    let pieces = chunks(x, settings.chunk_len).map(|x| {
        let activations = Activations::new(weights, &x, settings.eps);
        (output(weights, &x, &activations), activations)
    });
    let (outputs, kept) = pieces.unzip();
    (joined(outputs), kept)
}

fn output(weights: &LayerWeights, x: &Tensor, a: &Activations) -> Tensor {
    x + linear::forward(&swiglu::forward(&a.gate, &a.up), &weights.down)
}

/// Gradient by `x`; weight gradients are added to `grads`, if weights train.
///
/// `kept`: what [`forward_keeping`] kept of the same `x` under the same settings; recomputed where nothing was.
///
/// # Shapes
/// `x`, `dy` `[T, C]` -> `[T, C]`.
pub fn backward(
    weights: &LayerWeights,
    settings: MlpSettings,
    (x, kept): (&Tensor, Option<&[Activations]>),
    dy: &Tensor,
    mut grads: Option<&mut LayerGrads>,
) -> Tensor {
    let pieces = chunks(x, settings.chunk_len).zip(chunks(dy, settings.chunk_len));
    let chunks = pieces.enumerate().map(|(index, (x, dy))| {
        let grads = grads.as_deref_mut();
        let computed;
        let activations = if let Some(kept) = kept {
            &kept[index]
        } else {
            computed = Activations::new(weights, &x, settings.eps);
            &computed
        };
        backward_chunk(weights, settings.eps, (&x, activations), &dy, grads)
    });
    joined(chunks.collect())
}

fn backward_chunk(
    weights: &LayerWeights,
    eps: f64,
    (x, a): (&Tensor, &Activations),
    dy: &Tensor,
    grads: Option<&mut LayerGrads>,
) -> Tensor {
    let product = match grads {
        Some(_) => Product::Wanted,
        None => Product::Unwanted,
    };
    let dproduct = linear::input_grad(dy, &weights.down);
    let activation = swiglu::backward(&dproduct, &a.gate, &a.up, product);
    let (dgate, dup) = (&activation.dgate, &activation.dup);
    let dh = linear::input_grad(dgate, &weights.gate) + linear::input_grad(dup, &weights.up);
    let mut dnorm = None;
    if let Some(grads) = grads {
        if let Some(product) = &activation.product {
            linear::add_weight_grad(Some(&mut grads.down), dy, product);
        }
        linear::add_weight_grad(Some(&mut grads.gate), dgate, &a.h);
        linear::add_weight_grad(Some(&mut grads.up), dup, &a.h);
        dnorm = Some(&mut grads.mlp_norm);
    }
    norm::backward(&dh, (x, &weights.mlp_norm), eps, Some(dy), dnorm)
}

/// Views of at most `len` rows.
fn chunks(x: &Tensor, len: i64) -> impl Iterator<Item = Tensor> {
    let [rows, _] = dims(x);
    let len = len.max(1);
    (0..rows)
        .step_by(usize::try_from(len).unwrap_or(1))
        .map(move |start| x.narrow(0, start, len.min(rows - start)))
}

fn joined(mut chunks: Vec<Tensor>) -> Tensor {
    if chunks.len() == 1 {
        chunks.remove(0)
    } else {
        Tensor::cat(&chunks, 0)
    }
}
