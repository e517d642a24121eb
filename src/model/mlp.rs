//! SwiGLU feed-forward with its norm and residual, in chunks of tokens: `y = x + W_down (silu(W_gate h) * W_up h)`, `h = norm(x)`.
//!
//! Gate and up activations exist for one chunk at a time; the backward pass recomputes them.

use super::block::{LayerGrads, LayerWeights};
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
struct Activations {
    h: Tensor,
    gate: Tensor,
    up: Tensor,
}

impl Activations {
    fn new(weights: &LayerWeights, x: &Tensor, eps: f64) -> Self {
        let h = norm::forward(x, &weights.mlp_norm, eps);
        let (gate, up) = (
            linear::forward(&h, &weights.gate),
            linear::forward(&h, &weights.up),
        );
        Self { h, gate, up }
    }
}

/// Output with residual.
///
/// # Shapes
/// `x` `[T, C]` -> `[T, C]`.
pub fn forward(weights: &LayerWeights, settings: MlpSettings, x: &Tensor) -> Tensor {
    let chunks: Vec<Tensor> = chunks(x, settings.chunk_len)
        .map(|x| {
            let a = Activations::new(weights, &x, settings.eps);
            x + linear::forward(&(a.gate.silu() * a.up), &weights.down)
        })
        .collect();
    joined(chunks)
}

/// Gradient by `x`; weight gradients are added to `grads`, if weights train.
///
/// # Shapes
/// `x`, `dy` `[T, C]` -> `[T, C]`.
pub fn backward(
    weights: &LayerWeights,
    settings: MlpSettings,
    x: &Tensor,
    dy: &Tensor,
    mut grads: Option<&mut LayerGrads>,
) -> Tensor {
    let pieces = chunks(x, settings.chunk_len).zip(chunks(dy, settings.chunk_len));
    let chunks: Vec<Tensor> = pieces
        .map(|(x, dy)| backward_chunk(weights, settings.eps, &x, &dy, grads.as_deref_mut()))
        .collect();
    joined(chunks)
}

fn backward_chunk(
    weights: &LayerWeights,
    eps: f64,
    x: &Tensor,
    dy: &Tensor,
    grads: Option<&mut LayerGrads>,
) -> Tensor {
    let a = Activations::new(weights, x, eps);
    let silu = a.gate.silu();
    let dproduct = linear::input_grad(dy, &weights.down);
    let dup = &dproduct * &silu;
    let dgate = a.gate.silu_backward(&(dproduct * &a.up));
    let dh = linear::input_grad(&dgate, &weights.gate) + linear::input_grad(&dup, &weights.up);
    let (dx, dnorm) = norm::backward(&dh, x, &weights.mlp_norm, eps);
    if let Some(grads) = grads {
        linear::add_weight_grad(Some(&mut grads.down), dy, &(silu * &a.up));
        linear::add_weight_grad(Some(&mut grads.gate), &dgate, &a.h);
        linear::add_weight_grad(Some(&mut grads.up), &dup, &a.h);
        let _ = grads.mlp_norm.g_add_(&dnorm);
    }
    dx + dy
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
