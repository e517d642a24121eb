//! What a large matrix product reaches here, and a large copy: the rooflines that steps and kernels are held against.

use prulong::config::dtype::Dtype;
use prulong::model::linear;
use prulong::real::real;
use prulong::torch::device;
use std::time::Instant;
use tch::{Device, Kind, Tensor};

/// Rows, columns and depth of the product.
const SIDE: i64 = 1024;
/// Products of which the fastest counts.
const NUM_PRODUCTS: usize = 8;

/// Bytes that are copied on a CUDA device: far more than its caches hold.
const COPY_BYTES: i64 = 1 << 30;
/// Copies of which the fastest counts.
const NUM_COPIES: usize = 8;

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

/// Bytes read and written per second by the fastest of a few copies on `device`.
pub(crate) fn bytes_per_s(device: Device) -> f64 {
    let from = Tensor::ones([COPY_BYTES], (Kind::Uint8, device));
    let mut to = from.empty_like();
    let seconds = (0..NUM_COPIES).map(|_| {
        device::wait(device);
        let start = Instant::now();
        to.copy_(&from);
        device::wait(device);
        start.elapsed().as_secs_f64()
    });
    let fastest = seconds.fold(f64::INFINITY, f64::min);
    real(2 * COPY_BYTES) / fastest
}
