//! How fast a device reads its memory.

use crate::torch::device;
use std::time::Instant;
use tch::{Device, Kind, Tensor};

/// Numbers that are read on the CPU: 256 MiB, beyond every cache.
const CPU_LEN: i64 = 1 << 26;
/// Numbers that are read on a CUDA device: 2 GiB take 0.4 ms of an H200, far more than to start a kernel.
const CUDA_LEN: i64 = 1 << 29;
/// Readings of which the fastest counts.
const NUM_READINGS: usize = 5;

/// Bytes per second, and where the number comes from.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub(super) struct Bandwidth {
    /// Bytes read per second.
    pub(super) bytes_per_s: f64,
    /// Whether it was measured here; else it was given.
    pub(super) is_measured: bool,
}

impl Bandwidth {
    /// What somebody says.
    pub(super) fn given(bytes_per_s: f64) -> Self {
        Self {
            bytes_per_s,
            is_measured: false,
        }
    }
}

/// The fastest of a few sums over a large f32 tensor on `device`, with the threads that operators use.
pub(super) fn measure(device: Device) -> Bandwidth {
    let len = if device.is_cuda() { CUDA_LEN } else { CPU_LEN };
    let numbers = Tensor::ones([len], (Kind::Float, device));
    let seconds = (0..NUM_READINGS).map(|_| {
        device::wait(device);
        let start = Instant::now();
        let _ = std::hint::black_box(numbers.sum(Kind::Float));
        device::wait(device);
        start.elapsed().as_secs_f64()
    });
    let fastest = seconds.fold(f64::INFINITY, f64::min);
    #[expect(clippy::cast_precision_loss, reason = "2^31")]
    let bytes = (4 * len) as f64;
    Bandwidth {
        bytes_per_s: bytes / fastest,
        is_measured: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_reads_its_memory() {
        let found = measure(Device::Cpu);
        assert!(found.is_measured && found.bytes_per_s.is_finite());
        assert!(found.bytes_per_s > 0.0, "{found:?}");
    }
}
