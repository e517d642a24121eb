//! Muon: momentum whose matrix is orthogonalised by Newton and Schulz before it is applied.
//!
//! Rule and coefficients as published by Jordan et al. (2024, "Muon: an optimizer for hidden layers"): Nesterov momentum,
//! quintic iteration `X <- a X + (b A + c A^2) X` with `A = X X^T`, step scaled by `sqrt(max(1, rows / columns))`.

use super::host_adamw::Rate;
use tch::Tensor;

const COEFFICIENTS: [f64; 3] = [3.4445, -4.7750, 2.0315];

/// Constants of Muon.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MuonSettings {
    /// Momentum.
    pub momentum: f64,
    /// Newton-Schulz iterations.
    pub iterations: u32,
}

/// Momentum of one matrix.
#[derive(Debug)]
pub struct Muon {
    /// Running mean of gradients, f32 or wider.
    pub momentum: Tensor,
}

impl Muon {
    /// Zero momentum for a matrix like `weight`.
    ///
    /// # Shapes
    /// `weight` `[rows, columns]`.
    pub fn new(weight: &Tensor) -> Self {
        Self {
            momentum: weight.zeros_like(),
        }
    }

    /// Updates `weight` in place.
    ///
    /// # Shapes
    /// `weight` and `grad` `[rows, columns]`.
    pub fn update(
        &mut self,
        weight: &mut Tensor,
        grad: &Tensor,
        settings: MuonSettings,
        rate: Rate,
    ) {
        let _ = self.momentum.lerp_(grad, 1.0 - settings.momentum);
        let direction = grad.lerp(&self.momentum, settings.momentum);
        let update = orthogonalised(&direction, settings.iterations);
        let _ = weight.g_mul_scalar_(1.0 - rate.lr * rate.weight_decay);
        let _ = weight.g_sub_(&(update * (rate.lr * step_scale(weight))));
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "matrix sides are far below 2^52"
)]
fn step_scale(weight: &Tensor) -> f64 {
    let (rows, columns) = weight.size2().unwrap_or((1, 1));
    (rows as f64 / columns as f64).max(1.0).sqrt()
}

/// A matrix with nearly the singular vectors of `matrix` and singular values near 1.
///
/// # Shapes
/// `[rows, columns]` -> the same.
///
/// # Precision
/// In the dtype of `matrix`; singular values end within about 0.7 and 1.2, which the method is indifferent to.
pub fn orthogonalised(matrix: &Tensor, iterations: u32) -> Tensor {
    let (rows, columns) = matrix.size2().unwrap_or((1, 1));
    let tall = rows > columns;
    let mut x = if tall {
        matrix.tr()
    } else {
        matrix.shallow_clone()
    };
    x = &x / (x.norm() + 1e-7);
    let [a, b, c] = COEFFICIENTS;
    for _ in 0..iterations {
        let gram = x.matmul(&x.tr());
        let polynomial = &gram * b + gram.matmul(&gram) * c;
        x = &x * a + polynomial.matmul(&x);
    }
    if tall { x.tr() } else { x }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attention::testing::normal;

    #[test]
    fn singular_values_end_near_one_for_every_aspect() {
        for shape in [[8, 8], [4, 16], [16, 4]] {
            let found = orthogonalised(&normal(3, &shape), 5);
            let (_, values, _) = found.svd(true, true);
            let (low, high) = (
                values.min().double_value(&[]),
                values.max().double_value(&[]),
            );
            assert!(low > 0.3 && high < 1.4, "{shape:?}: {low} to {high}");
        }
    }

    #[test]
    fn singular_vectors_are_kept() {
        let matrix = normal(5, &[6, 9]);
        let (u, _, v) = matrix.svd(true, true);
        let oracle = u.matmul(&v.tr());
        let found = orthogonalised(&matrix, 5);
        let cosine = (&found * &oracle).sum(tch::Kind::Double) / (found.norm() * oracle.norm());
        assert!(cosine.double_value(&[]) > 0.95);
    }
}
