//! Helpers of the tests of arithmetic: reproducible tensors and the one comparison.

use crate::random;
use tch::{Device, Kind, Tensor};

/// A standard-normal-like f64 tensor that depends only on `seed` and the shape.
pub(crate) fn normal(seed: u64, shape: &[i64]) -> Tensor {
    let mut rng = random::stream("test tensor", &[seed]);
    let count: i64 = shape.iter().product();
    let values: Vec<f64> = (0..count)
        .map(|_| (0..12).map(|_| random::uniform(&mut rng)).sum::<f64>() - 6.0)
        .collect();
    Tensor::from_slice(&values).view(shape)
}

/// Largest difference relative to the oracle's largest magnitude.
///
/// Inputs are of order 1, so an oracle below 1e-3 everywhere is a cancelled zero and is compared absolutely.
pub(crate) fn relative_error(found: &Tensor, oracle: &Tensor) -> f64 {
    assert_eq!(found.size(), oracle.size(), "shapes differ");
    if oracle.numel() == 0 {
        return 0.0;
    }
    let largest = |x: &Tensor| x.abs().max().double_value(&[]);
    let (found, oracle) = (found.to_kind(Kind::Double), oracle.to_kind(Kind::Double));
    largest(&(&found - &oracle)) / largest(&oracle).max(1e-3)
}

/// Asserts the f64 rule: 1e-10 relative to the largest magnitude.
#[track_caller]
pub(crate) fn assert_close(found: &Tensor, oracle: &Tensor, what: &str) {
    let error = relative_error(found, oracle);
    assert!(error <= 1e-10, "{what}: relative error {error:e}");
}

/// Gradient of `(output * cotangent).sum()` for each of `inputs`, by autograd.
pub(crate) fn autograd(output: &Tensor, cotangent: &Tensor, inputs: &[&Tensor]) -> Vec<Tensor> {
    let scalar = (output * cotangent).sum(Kind::Double);
    Tensor::run_backward(&[scalar], inputs, false, false)
}

/// `x` as a leaf that autograd follows.
pub(crate) fn leaf(x: &Tensor) -> Tensor {
    x.detach().copy().set_requires_grad(true)
}

/// The CPU.
pub(crate) const CPU: Device = Device::Cpu;
