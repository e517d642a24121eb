//! Helpers of the tests of C functions: reproducible numbers, one comparison, and whether calls keep memory.

use tch::{Device, Kind, Tensor};

/// Reproducible numbers in [-1, 1], f64.
pub(super) fn waves(seed: i32, shape: &[i64]) -> Tensor {
    let count: i64 = shape.iter().product();
    let steps = Tensor::arange(count, (Kind::Double, Device::Cpu));
    ((steps + 1) * (f64::from(seed) + 0.37)).sin().view(shape)
}

#[track_caller]
pub(super) fn assert_near(found: &Tensor, oracle: &Tensor, tolerance: f64) {
    assert_eq!(found.size(), oracle.size());
    let error = (found.to_kind(Kind::Double) - oracle).abs().max();
    let error = error.double_value(&[]);
    assert!(error <= tolerance, "differs by {error:e}");
}

/// KiB by which resident memory grew over 10,000 calls, after some that may fill caches.
pub(super) fn grown_kib(call: impl Fn()) -> u64 {
    (0..100).for_each(|_| call());
    let before = resident_kib();
    (0..10_000).for_each(|_| call());
    resident_kib().saturating_sub(before)
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    kib.unwrap().parse().unwrap()
}
