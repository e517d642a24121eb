//! What a large matrix product reaches here: the roofline that a training step is held against.

use prulong::config::dtype::Dtype;
use prulong::model::linear;
use std::time::Instant;
use tch::{Device, Tensor};

/// Rows, columns and depth of the product.
const SIDE: i64 = 1024;
/// Products of which the fastest counts.
const NUM_PRODUCTS: usize = 8;

/// FLOP/s of the fastest of a few products, by the call that the model makes.
#[expect(clippy::cast_precision_loss, reason = "2^31")]
pub(crate) fn flops_per_s(dtype: Dtype) -> f64 {
    let square = || Tensor::ones([SIDE, SIDE], (dtype.kind(), Device::Cpu)) * 0.5;
    let (x, weight) = (square(), square());
    let seconds = (0..NUM_PRODUCTS).map(|_| {
        let start = Instant::now();
        let _ = std::hint::black_box(linear::forward(&x, &weight));
        start.elapsed().as_secs_f64()
    });
    let fastest = seconds.fold(f64::INFINITY, f64::min);
    2.0 * (SIDE * SIDE * SIDE) as f64 / fastest
}
