//! RMSNorm, forward and backward.
//!
//! `y = x / sqrt(mean(x^2) + eps) * w`, as in Llama.

use crate::attention::wide;
use tch::{Kind, Tensor};

/// Normalised rows and the factors that made them, for the backward pass.
struct Normalised {
    /// `x / rms`, wide dtype.
    unit: Tensor,
    /// `1 / rms` per row, `[T, 1]`, wide dtype.
    inverse_rms: Tensor,
}

impl Normalised {
    fn new(x: &Tensor, eps: f64) -> Self {
        let x = x.to_kind(wide(x.kind()));
        let mean_square = x.square().mean_dim([-1].as_slice(), true, None::<Kind>);
        let inverse_rms = (mean_square + eps).rsqrt();
        Self {
            unit: x * &inverse_rms,
            inverse_rms,
        }
    }
}

/// Normalises the rows of `x` and scales them by `weight`.
///
/// # Shapes
/// `x` `[.., C]`, `weight` `[C]`; returns the shape and dtype of `x`.
///
/// # Precision
/// Statistics in f32 (f64 for f64 inputs).
pub fn forward(x: &Tensor, weight: &Tensor, eps: f64) -> Tensor {
    Normalised::new(x, eps).unit.to_kind(x.kind()) * weight
}

/// Gradients by `x` and by `weight` for `dy`.
///
/// # Shapes
/// `dy`, `x` `[T, C]`, `weight` `[C]`; returns `[T, C]` in the dtype of `x`, and `[C]` in the wide dtype.
pub fn backward(dy: &Tensor, x: &Tensor, weight: &Tensor, eps: f64) -> (Tensor, Tensor) {
    let normalised = Normalised::new(x, eps);
    let dy = dy.to_kind(wide(dy.kind()));
    let dweight = (&dy * &normalised.unit).sum_dim_intlist(0, false, None::<Kind>);
    let scaled = dy * weight.to_kind(wide(weight.kind()));
    let along = (&scaled * &normalised.unit).mean_dim([-1].as_slice(), true, None::<Kind>);
    let dx = (scaled - &normalised.unit * along) * normalised.inverse_rms;
    (dx.to_kind(x.kind()), dweight)
}
