//! Memory beside a CUDA device's own, in which tensors wait until they are needed again.
//!
//! # Decisions
//! Both copies are enqueued on libtorch's current stream, the one that computes, and the host waits for neither:
//!
//! - Away: a copy to the CPU that does not block makes libtorch take its place from the caching allocator of pinned host memory
//!   (`_to_copy` of its `TensorConversions.cpp`), so that the driver copies without a buffer of its own. The original may be
//!   dropped at once: what gets its memory next is enqueued on the same stream, behind the copy.
//! - Back: enqueued behind the copy away, so nobody has to ask whether that is done. The pinned original may be dropped at once,
//!   too: libtorch notes an event behind every copy that does not block (`CachingHostAllocator_recordEvent`), and its allocator
//!   gives a block to the next taker only when the events noted for it have passed.
//!
//! One stream does one thing at a time, so copies take time from computing, and fetching a layer before it is needed would cost
//! memory and save nothing. To hide them behind the computing needs a second stream and events between the two; that is to be
//! written where it can be run and measured. Not measured on a GPU.
//!
//! The pinned allocator rounds every block up to a power of two.

use crate::torch::device;
use crate::torch::error::TorchError;
use tch::{Device, Tensor};

/// Where tensors wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Offload {
    /// Where they are.
    #[default]
    None,
    /// In host memory: pinned, if they come from a CUDA device.
    Host,
}

impl Offload {
    /// Refuses host memory for tensors that are in it already.
    ///
    /// # Errors
    /// [`TorchError::NoOffload`] for a device that has no memory of its own.
    pub fn check(self, device: Device) -> Result<(), TorchError> {
        if self == Self::None || device.is_cuda() {
            return Ok(());
        }
        let device = device::name(device);
        Err(TorchError::NoOffload { device })
    }

    /// `x` where it waits; its numbers, shape and dtype are the same.
    ///
    /// # Shapes
    /// Any.
    pub fn away(self, x: &Tensor) -> Tensor {
        match self {
            Self::None => x.shallow_clone(),
            Self::Host => moved(x, Device::Cpu),
        }
    }

    /// What [`Self::away`] put somewhere, on `device` again.
    ///
    /// # Shapes
    /// Any.
    pub fn back(self, x: &Tensor, device: Device) -> Tensor {
        match self {
            Self::None => x.shallow_clone(),
            Self::Host => moved(x, device),
        }
    }
}

/// A copy on `device`, always another one: tests run the same path where both places are the CPU.
fn moved(x: &Tensor, device: Device) -> Tensor {
    let (non_blocking, copy) = (true, true);
    x.to_device_(device, x.kind(), non_blocking, copy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::{Coded, Kind as Fault};
    use crate::torch::cuda;
    use crate::torch::testing::waves;
    use tch::Kind;

    #[test]
    fn what_went_away_comes_back_bit_for_bit_and_was_somewhere_else() {
        let x = waves(3, &[5, 7]).to_kind(Kind::BFloat16);
        for x in [x.shallow_clone(), x.tr(), x.narrow(1, 2, 3)] {
            let away = Offload::Host.away(&x);
            assert_ne!(away.data_ptr(), x.data_ptr());
            let back = Offload::Host.back(&away, x.device());
            assert_ne!(back.data_ptr(), away.data_ptr());
            assert!(back.equal(&x) && back.kind() == x.kind());
            let stays = Offload::None.back(&Offload::None.away(&x), x.device());
            assert_eq!(stays.data_ptr(), x.data_ptr());
        }
    }

    #[test]
    fn the_cpu_has_nothing_to_offload_to() {
        for device in [Device::Cpu, Device::Cuda(1)] {
            Offload::None.check(device).unwrap();
        }
        Offload::Host.check(Device::Cuda(0)).unwrap();
        let error = Offload::Host.check(Device::Cpu).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot keep in host memory what a step saves: device `cpu` computes in that memory"
        );
        assert_eq!(
            (error.code(), error.kind()),
            ("env.offload", Fault::Environment)
        );
        assert!(error.hint().unwrap().contains("memory.offload"));
    }

    /// Blocks are dropped as soon as their copies are enqueued, many times over the same memory.
    #[test]
    #[expect(clippy::print_stderr, reason = "a test that does not run says so")]
    fn on_a_gpu_blocks_that_are_dropped_at_once_keep_their_numbers() {
        if let Err(error) = cuda::usable_devices() {
            eprintln!("not run: {error}");
            return;
        }
        let device = Device::Cuda(0);
        let x = waves(5, &[1 << 20]).to_kind(Kind::Float).to_device(device);
        for round in 0..32 {
            let scaled = &x * f64::from(round);
            let away = Offload::Host.away(&scaled);
            assert!(away.is_pinned(device));
            drop(scaled);
            let overwritten = Tensor::zeros_like(&x);
            let back = Offload::Host.back(&away, device);
            drop(away);
            assert!(back.equal(&(&x * f64::from(round))), "{round}");
            drop(overwritten);
        }
    }
}
