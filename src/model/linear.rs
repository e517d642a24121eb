//! Matrix products of a linear layer without bias, weights stored `[out, in]` as in checkpoints.

use crate::torch::bf16;
use tch::{Kind, Tensor};

/// Rows from which converting a bf16 weight to f32 costs less than a slow product with it; `[2048, 768]` broke even at 4 to 8.
const MIN_CONVERTED_ROWS: i64 = 8;

/// `x W^T`.
///
/// # Shapes
/// `x` `[T, in]`, `weight` `[out, in]` -> `[T, out]`.
///
/// # Precision
/// Stored in the dtype of `x`; bf16 is multiplied in f32 where that is faster.
pub fn forward(x: &Tensor, weight: &Tensor) -> Tensor {
    product(x, &weight.tr())
}

/// Gradient by `x`.
///
/// # Shapes
/// `dy` `[T, out]`, `weight` `[out, in]` -> `[T, in]`.
///
/// # Precision
/// As [`forward`].
pub fn input_grad(dy: &Tensor, weight: &Tensor) -> Tensor {
    product(dy, weight)
}

/// Adds the gradient by the weight to `grad`, if weights train.
///
/// # Shapes
/// `dy` `[T, out]`, `x` `[T, in]`, `grad` `[out, in]`.
///
/// # Precision
/// Products in the compute dtype, or f32 where that is faster, summed into `grad`'s dtype (f32 or wider).
pub fn add_weight_grad(grad: Option<&mut Tensor>, dy: &Tensor, x: &Tensor) {
    if let Some(grad) = grad {
        let product = if bf16::is_slow(dy) {
            dy.to_kind(Kind::Float).tr().matmul(&x.to_kind(Kind::Float))
        } else {
            dy.tr().matmul(x)
        };
        let _ = grad.g_add_(&product.to_kind(grad.kind()));
    }
}

fn product(x: &Tensor, weight: &Tensor) -> Tensor {
    if bf16::is_slow(x) && num_rows(x) >= MIN_CONVERTED_ROWS {
        let product = x.to_kind(Kind::Float).matmul(&weight.to_kind(Kind::Float));
        return product.to_kind(x.kind());
    }
    x.matmul(weight)
}

/// Rows of `x` `[.., C]`.
fn num_rows(x: &Tensor) -> i64 {
    let sizes = x.size();
    sizes.iter().rev().skip(1).product()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attention::testing::normal;

    /// Rounding to bf16 once moves a value by at most 1/256 of itself; the kernels' own rounding is allowed as much again.
    #[track_caller]
    fn assert_rounded(found: &Tensor, oracle: &Tensor, what: &str) {
        let largest = oracle.abs().max().double_value(&[]);
        let error = (found.to_kind(Kind::Double) - oracle)
            .abs()
            .max()
            .double_value(&[]);
        assert!(error <= largest / 128.0, "{what}: {error} of {largest}");
    }

    #[test]
    fn bf16_products_are_those_of_f64_but_for_rounding_whatever_the_number_of_rows() {
        let weight = normal(1, &[24, 40]).to_kind(Kind::BFloat16);
        let exact_weight = weight.to_kind(Kind::Double);
        for rows in [1, 7, 8, 33] {
            let x = normal(2, &[rows, 40]).to_kind(Kind::BFloat16);
            let dy = normal(3, &[rows, 24]).to_kind(Kind::BFloat16);
            let (exact_x, exact_dy) = (x.to_kind(Kind::Double), dy.to_kind(Kind::Double));
            let y = forward(&x, &weight);
            assert_eq!(y.kind(), Kind::BFloat16);
            assert_rounded(&y, &exact_x.matmul(&exact_weight.tr()), "forward");
            let dx = input_grad(&dy, &weight);
            assert_eq!(dx.kind(), Kind::BFloat16);
            assert_rounded(&dx, &exact_dy.matmul(&exact_weight), "input gradient");
            let mut grad = Tensor::zeros([24, 40], (Kind::Float, x.device()));
            add_weight_grad(Some(&mut grad), &dy, &x);
            assert_rounded(&grad, &exact_dy.tr().matmul(&exact_x), "weight gradient");
        }
    }
}
