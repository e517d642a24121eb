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

/// Results of one composition of operators in a kernel's dtype, and exactly.
pub(crate) struct Naive<const N: usize, const M: usize> {
    /// What both compute from, in the kernel's dtype on its device.
    pub(crate) inputs: [Tensor; N],
    naive: [Tensor; M],
    oracle: [Tensor; M],
}

impl<const N: usize, const M: usize> Naive<N, M> {
    /// Runs `of` on `exact` rounded to `kind`, in that dtype and in f64.
    pub(crate) fn new(
        exact: &[Tensor; N],
        kind: Kind,
        device: Device,
        of: impl Fn(&[Tensor; N]) -> [Tensor; M],
    ) -> Self {
        let inputs = exact.each_ref().map(|x| x.to_kind(kind).to_device(device));
        let rounded = inputs.each_ref().map(|x| x.to_kind(Kind::Double));
        let (naive, oracle) = (of(&inputs), of(&rounded));
        Self {
            inputs,
            naive,
            oracle,
        }
    }

    /// Asserts that result `index` is as close to the exact one as twice what the composition is, and a unit in the last place.
    #[track_caller]
    pub(crate) fn assert_no_worse(&self, index: usize, found: &Tensor, what: &str) {
        assert_no_worse(found, &self.naive[index], &self.oracle[index], what);
    }
}

/// Asserts `max|found - oracle| <= 2 max|naive - oracle| + eps`, eps one unit in the last place of the largest value.
#[track_caller]
pub(crate) fn assert_no_worse(found: &Tensor, naive: &Tensor, oracle: &Tensor, what: &str) {
    assert_eq!(found.size(), oracle.size(), "{what}: shapes differ");
    assert_eq!(found.kind(), naive.kind(), "{what}: dtypes differ");
    if oracle.numel() == 0 {
        return;
    }
    let unit = match found.kind() {
        Kind::BFloat16 => 2.0_f64.powi(-8),
        Kind::Half => 2.0_f64.powi(-11),
        Kind::Float => 2.0_f64.powi(-23),
        _ => f64::EPSILON,
    };
    let error = |x: &Tensor| (x.to_kind(Kind::Double) - oracle).abs();
    let largest = |x: &Tensor| x.max().double_value(&[]);
    let (found, naive) = (error(found), error(naive));
    let allowed = 2.0 * largest(&naive) + unit * largest(&oracle.abs());
    let index = found.flatten(0, -1).argmax(0, false).int64_value(&[]);
    // Written so that NaN fails.
    assert!(
        largest(&found) <= allowed,
        "{what}: error {:e} at {index}, naive {:e}, allowed {allowed:e}",
        largest(&found),
        largest(&naive)
    );
}

/// The CPU.
pub(crate) const CPU: Device = Device::Cpu;
