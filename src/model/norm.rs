//! RMSNorm, forward and backward.
//!
//! `y = x / sqrt(mean(x^2) + eps) * w`, as in Llama.

use crate::attention::wide;
use crate::cuda::active;
use crate::cuda::rms_norm::{self, Norm, WeightGrad};
use crate::torch::host_view::with_f32;
use crate::torch::row_product::dot;
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
    if let Some(kernels) = active::kernels(x) {
        let x = &x.contiguous();
        return active::done(rms_norm::forward(kernels, Norm { x, weight, eps }));
    }
    one_row(x, weight, eps)
        .unwrap_or_else(|| Normalised::new(x, eps).unit.to_kind(x.kind()) * weight)
}

/// [`forward`] of one row of f32 on the CPU, `None` for others: what decoding asks for, where seven operators cost far more than
/// the numbers.
fn one_row(x: &Tensor, weight: &Tensor, eps: f64) -> Option<Tensor> {
    let size = x.size();
    let (width, leading) = size.split_last()?;
    if leading.iter().product::<i64>() != 1 || weight.size() != [*width] || !weight.is_contiguous()
    {
        return None;
    }
    let y = with_f32([&x.contiguous(), weight], |[x, weight]| {
        let (x, weight) = (x.values(), weight.values());
        let scale = scale(dot(x, x), x.len(), eps);
        let pairs = x.iter().zip(weight);
        pairs
            .map(|(x, weight)| x * scale * weight)
            .collect::<Vec<f32>>()
    })?;
    Some(Tensor::from_slice(&y).view(size.as_slice()))
}

/// `1 / sqrt(mean + eps)`.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "a width is small, and the factor is one of f32 numbers"
)]
fn scale(square_sum: f32, width: usize, eps: f64) -> f32 {
    (f64::from(square_sum) / width as f64 + eps).sqrt().recip() as f32
}

/// `x + update`, and its norm as [`forward`] gives it.
///
/// # Shapes
/// `x`, `update` `[.., C]`, `weight` `[C]`; returns two of the shape and dtype of `x`.
///
/// # Precision
/// The sum is rounded to the dtype before it is normalised.
pub fn forward_after(x: &Tensor, update: &Tensor, weight: &Tensor, eps: f64) -> (Tensor, Tensor) {
    if let Some(kernels) = active::kernels(x) {
        let (x, update) = (&x.contiguous(), &update.contiguous());
        let norm = Norm { x, weight, eps };
        return active::done(rms_norm::forward_after(kernels, norm, update));
    }
    let sum = x + update;
    let y = forward(&sum, weight, eps);
    (sum, y)
}

/// Gradient by `x` for `dy`, with `residual` added; the weight's is added to `dweight`, if it trains.
///
/// # Shapes
/// `dy`, `x`, `residual` `[T, C]`, `weight` `[C]`, `dweight` `[C]` in f32 or wider; returns `[T, C]` in the dtype of `x`.
pub fn backward(
    dy: &Tensor,
    (x, weight): (&Tensor, &Tensor),
    eps: f64,
    residual: Option<&Tensor>,
    dweight: Option<&mut Tensor>,
) -> Tensor {
    let Some(kernels) = active::kernels(x) else {
        let dx = backward_by_operators(dy, (x, weight), eps, dweight);
        return match residual {
            Some(residual) => dx + residual,
            None => dx,
        };
    };
    let wanted = match dweight {
        Some(_) => WeightGrad::Wanted,
        None => WeightGrad::Unwanted,
    };
    let (dy, x, residual) = (
        &dy.contiguous(),
        &x.contiguous(),
        residual.map(Tensor::contiguous),
    );
    let norm = Norm { x, weight, eps };
    let grads = rms_norm::backward(kernels, norm, dy, residual.as_ref(), wanted);
    let (dx, found) = active::done(grads);
    if let (Some(dweight), Some(found)) = (dweight, found) {
        let _ = dweight.g_add_(&found);
    }
    dx
}

/// Gradient by `x`; the weight's is added to `dweight`, if it trains.
fn backward_by_operators(
    dy: &Tensor,
    (x, weight): (&Tensor, &Tensor),
    eps: f64,
    dweight: Option<&mut Tensor>,
) -> Tensor {
    let normalised = Normalised::new(x, eps);
    let dy = dy.to_kind(wide(dy.kind()));
    if let Some(dweight) = dweight {
        let found = (&dy * &normalised.unit).sum_dim_intlist(0, false, None::<Kind>);
        let _ = dweight.g_add_(&found);
    }
    let scaled = dy * weight.to_kind(wide(weight.kind()));
    let along = (&scaled * &normalised.unit).mean_dim([-1].as_slice(), true, None::<Kind>);
    let dx = (scaled - &normalised.unit * along) * normalised.inverse_rms;
    dx.to_kind(x.kind())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attention::testing::{Naive, normal, relative_error};
    use crate::cuda::testing::{on_every_device, using};
    use tch::Device;

    #[test]
    fn one_row_is_normalised_as_one_of_many() {
        for width in [1, 7, 256, 1000] {
            let (x, weight) = (normal(1, &[2, width]) * 3.0, normal(2, &[width]));
            let exact = forward(&x, &weight, 1e-5).narrow(0, 0, 1);
            let [x, weight] = [x, weight].map(|numbers| numbers.to_kind(Kind::Float));
            let found = one_row(&x.narrow(0, 0, 1), &weight, 1e-5).unwrap();
            // A mean of squares, a root and two products: a handful of roundings, and those of the inputs.
            let error = relative_error(&found, &exact);
            assert!(error <= 8.0 * f64::from(f32::EPSILON), "{width}: {error:e}");
            assert!(one_row(&x, &weight, 1e-5).is_none());
        }
    }

    /// Every result of this file for `[x, update, dy, residual, weight]`.
    fn of([x, update, dy, residual, weight]: &[Tensor; 5]) -> [Tensor; 6] {
        const EPS: f64 = 1e-5;
        let [_, width] = crate::torch::dims::dims(x);
        let (sum, after) = forward_after(x, update, weight, EPS);
        let mut dweight = Tensor::ones([width], (wide(x.kind()), x.device()));
        let with_residual = backward(dy, (x, weight), EPS, Some(residual), Some(&mut dweight));
        let alone = backward(dy, (x, weight), EPS, None, None);
        let y = forward(x, weight, EPS);
        [y, sum, after, with_residual, alone, dweight]
    }

    #[test]
    fn the_kernels_are_as_good_as_libtorchs_operators() {
        // Whole packs and not; fewer and more rows than thread blocks and than a strip; narrower and wider than a thread block.
        for (rows, width) in [(1, 8), (5, 67), (130, 9), (2, 2048), (2, 1023)] {
            check_kernels(rows, width);
        }
    }

    fn check_kernels(rows: i64, width: i64) {
        on_every_device(|kernels, device: Device| {
            let matrix = |seed| normal(seed, &[rows, width]) * 3.0;
            let [x, update, dy, residual] = [1, 2, 3, 4].map(matrix);
            let exact = [x, update, dy, residual, normal(5, &[width])];
            for kind in [Kind::Float, Kind::BFloat16] {
                let naive = Naive::new(&exact, kind, device, of);
                let found = using(kernels, || of(&naive.inputs));
                let names = ["y", "sum", "norm of sum", "dx + residual", "dx", "dweight"];
                for ((index, found), name) in (0..).zip(&found).zip(names) {
                    let what = format!("{name} [{rows}, {width}] {kind:?}");
                    naive.assert_no_worse(index, found, &what);
                }
            }
        });
    }
}
