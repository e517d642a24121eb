//! Which bf16 arithmetic is slow on this machine.
//!
//! # Decisions
//! Without AVX-512 libtorch 2.11 multiplies bf16 matrices by plain loops. On one thread of an AVX2 EPYC it reached 10 GFLOP/s
//! for `A B^T` and 1 for `A B`, where f32 reached 93 (1024^3); flash attention's backward took 7 times as long as in f32, its
//! forward the same time. So such products convert their operands to f32 and round once at the end, which is also more exact.
//! Storage stays bf16.

use tch::{Device, Kind, Tensor};

/// Whether products of `x` are better done in f32: it is bf16 on a CPU whose libtorch kernels loop.
///
/// # Shapes
/// Any.
pub fn is_slow(x: &Tensor) -> bool {
    x.kind() == Kind::BFloat16 && x.device() == Device::Cpu && !has_products()
}

/// What oneDNN asks for before it takes a bf16 product.
#[cfg(target_arch = "x86_64")]
fn has_products() -> bool {
    std::is_x86_feature_detected!("avx512bw")
        && std::is_x86_feature_detected!("avx512vl")
        && std::is_x86_feature_detected!("avx512dq")
}

#[cfg(not(target_arch = "x86_64"))]
fn has_products() -> bool {
    true
}
