//! Matrix products of a linear layer without bias, weights stored `[out, in]` as in checkpoints.
//!
//! # Decisions
//! A bf16 weight may meet f32 rows: it is widened to f32, which is exact, a few rows at a time, so that the copy stays in the
//! cache. Products of such weights go forward only: nothing trains that lies in fewer bits than it is computed in.

use crate::torch::dims::dims;
use crate::torch::{bf16, products, row_product};
use tch::{Kind, Tensor};

/// Rows from which converting a bf16 weight to f32 costs less than a slow product with it; `[2048, 768]` broke even at 4 to 8.
const MIN_CONVERTED_ROWS: i64 = 8;

/// Numbers of a weight that are widened at a time: 1 MiB of f32.
const WIDENED_NUMBERS: i64 = 1 << 18;

/// `x W^T`.
///
/// # Shapes
/// `x` `[T, in]`, `weight` `[out, in]` -> `[T, out]`.
///
/// # Precision
/// Stored in the dtype of `x`; bf16 is multiplied in f32 where that is faster. A weight of fewer bits is widened.
pub fn forward(x: &Tensor, weight: &Tensor) -> Tensor {
    if let Some(y) = row_product::product(x, weight) {
        return y;
    }
    if weight.kind() == x.kind() {
        return product(x, weight);
    }
    widening(x, weight)
}

/// The product with a weight of fewer bits than `x`.
fn widening(x: &Tensor, weight: &Tensor) -> Tensor {
    let ([num_tokens, width], [num_rows, _]) = (dims(x), dims(weight));
    let y = Tensor::empty([num_tokens, num_rows], (x.kind(), x.device()));
    let block = (WIDENED_NUMBERS / width.max(1)).clamp(1, num_rows.max(1));
    let mut start = 0;
    while start < num_rows {
        let len = block.min(num_rows - start);
        let widened = weight.narrow(0, start, len).to_kind(x.kind());
        y.narrow(1, start, len)
            .copy_(&products::product(x, &widened));
        start += len;
    }
    y
}

/// Gradient by `x`.
///
/// # Shapes
/// `dy` `[T, out]`, `weight` `[out, in]` -> `[T, in]`.
///
/// # Precision
/// As [`forward`].
pub fn input_grad(dy: &Tensor, weight: &Tensor) -> Tensor {
    product(dy, &weight.tr())
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
            let [dy, x] = [dy, x].map(|operand| operand.to_kind(Kind::Float).tr());
            products::product(&dy, &x)
        } else {
            products::product(&dy.tr(), &x.tr())
        };
        let _ = grad.g_add_(&product.to_kind(grad.kind()));
    }
}

/// `x W^T` of one dtype.
fn product(x: &Tensor, weight: &Tensor) -> Tensor {
    if bf16::is_slow(x) && num_rows(x) >= MIN_CONVERTED_ROWS {
        let [wide_x, wide_weight] = [x, weight].map(|operand| operand.to_kind(Kind::Float));
        return products::product(&wide_x, &wide_weight).to_kind(x.kind());
    }
    products::product(x, weight)
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
    fn a_weight_of_fewer_bits_gives_what_its_widened_copy_gives() {
        for (out, width) in [(24, 40), (3, 7), (700, 768)] {
            let weight = normal(1, &[out, width]).to_kind(Kind::BFloat16);
            for rows in [0, 1, 2, 9] {
                let x = normal(2, &[rows, width]).to_kind(Kind::Float);
                let exact = x.to_kind(Kind::Double);
                let exact = exact.matmul(&weight.to_kind(Kind::Double).tr());
                let y = forward(&x, &weight);
                assert_eq!((y.kind(), y.size()), (Kind::Float, vec![rows, out]));
                if rows == 0 {
                    continue;
                }
                let error = (y.to_kind(Kind::Double) - &exact).abs().max();
                let sizes = exact_sizes(&x, &weight).max().double_value(&[]);
                let bound =
                    f64::from(f32::EPSILON) * f64::from(i32::try_from(width).unwrap()) * sizes;
                assert!(error.double_value(&[]) <= bound, "{rows} x {out} x {width}");
            }
        }
    }

    /// `|x| |W|^T`: what errors of sums are measured by.
    fn exact_sizes(x: &Tensor, weight: &Tensor) -> Tensor {
        let [x, weight] = [x, weight].map(|numbers| numbers.to_kind(Kind::Double).abs());
        x.matmul(&weight.tr())
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
