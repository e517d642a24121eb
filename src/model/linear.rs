//! Matrix products of a linear layer without bias, weights stored `[out, in]` as in checkpoints.

use tch::Tensor;

/// `x W^T`.
///
/// # Shapes
/// `x` `[T, in]`, `weight` `[out, in]` -> `[T, out]`.
pub fn forward(x: &Tensor, weight: &Tensor) -> Tensor {
    x.matmul(&weight.tr())
}

/// Gradient by `x`.
///
/// # Shapes
/// `dy` `[T, out]`, `weight` `[out, in]` -> `[T, in]`.
pub fn input_grad(dy: &Tensor, weight: &Tensor) -> Tensor {
    dy.matmul(weight)
}

/// Adds the gradient by the weight to `grad`, if weights train.
///
/// # Shapes
/// `dy` `[T, out]`, `x` `[T, in]`, `grad` `[out, in]`.
///
/// # Precision
/// Products in the compute dtype, summed into `grad`'s dtype (f32 or wider).
pub fn add_weight_grad(grad: Option<&mut Tensor>, dy: &Tensor, x: &Tensor) {
    if let Some(grad) = grad {
        let product = dy.tr().matmul(x).to_kind(grad.kind());
        let _ = grad.g_add_(&product);
    }
}
