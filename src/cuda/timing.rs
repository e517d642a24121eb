//! Times one kernel of those that a launcher starts.
//!
//! A launcher allocates, checks and may start several kernels. Here it runs as ever, but the kernel in question is started many
//! times in a row between two waits for the device: what remains is the kernel, and the driver's part of a start where the kernel
//! is shorter than that.
#![expect(unsafe_code, reason = "passes launches on")]

use super::error::CudaError;
use super::runner::{Grid, Kernels, Runner};
use super::source::{self, Family};
use crate::torch::device;
use std::ffi::c_void;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tch::Device;

/// What is timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subject {
    /// The kernel, of any dtype, e.g. `rope`.
    pub kernel: &'static str,
    /// How often each launch of it starts it, at least once. One that works in place meets its own results again.
    pub times: u32,
}

/// Milliseconds of one start of the kernel, one number for every launch.
#[derive(Debug, Clone, Default)]
pub struct Times(Arc<Mutex<Vec<f64>>>);

impl Times {
    /// Those since the last call.
    pub fn take(&self) -> Vec<f64> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn push(&self, ms: f64) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(ms);
    }
}

/// A runner that starts the subject several times over.
struct Timed {
    runner: Box<dyn Runner>,
    subject: Subject,
    times: Times,
}

/// Kernels that `runner` starts, and the times of `subject` among them.
pub fn timed(runner: Box<dyn Runner>, subject: Subject) -> (Kernels, Times) {
    let times = Times::default();
    let timed = Timed {
        runner,
        subject,
        times: times.clone(),
    };
    (Kernels::new(Box::new(timed)), times)
}

impl Runner for Timed {
    fn device(&self) -> Device {
        self.runner.device()
    }

    fn max_blocks(&self) -> u32 {
        self.runner.max_blocks()
    }

    unsafe fn launch(
        &self,
        family: Family,
        entry: &'static str,
        grid: Grid,
        parameters: *const c_void,
    ) -> Result<(), CudaError> {
        let start = || {
            // SAFETY: the caller's promise, which holds as often as the kernel is started before this function returns.
            unsafe { self.runner.launch(family, entry, grid, parameters) }
        };
        if source::kernel(entry) != self.subject.kernel {
            return start();
        }
        let times = self.subject.times.max(1);
        device::wait(self.device());
        let since = Instant::now();
        for _ in 0..times {
            start()?;
        }
        device::wait(self.device());
        self.times
            .push(since.elapsed().as_secs_f64() * 1e3 / f64::from(times));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cuda::emulation::Emulation;
    use crate::cuda::rms_norm::{self, Norm, WeightGrad};
    use crate::cuda::testing::emulated;
    use std::sync::atomic::{AtomicU32, Ordering};
    use tch::{Kind, Tensor};

    /// Counts what it passes on.
    struct Counted(Arc<AtomicU32>);

    impl Runner for Counted {
        fn device(&self) -> Device {
            Emulation.device()
        }

        fn max_blocks(&self) -> u32 {
            Emulation.max_blocks()
        }

        unsafe fn launch(
            &self,
            family: Family,
            entry: &'static str,
            grid: Grid,
            parameters: *const c_void,
        ) -> Result<(), CudaError> {
            self.0.fetch_add(1, Ordering::Relaxed);
            // SAFETY: the caller's promise.
            unsafe { Emulation.launch(family, entry, grid, parameters) }
        }
    }

    /// Numbers between -1 and 1.
    fn wave(phase: f64, shape: &[i64]) -> Tensor {
        let count: i64 = shape.iter().product();
        let steps = Tensor::arange(count, (Kind::Float, Device::Cpu));
        (steps * 0.6 + phase).sin().view(shape)
    }

    #[test]
    fn one_kernel_of_a_launcher_is_repeated_and_timed_and_its_results_stay() {
        let [x, dy] = [1.0, 2.0].map(|phase| wave(phase, &[130, 9]));
        let weight = wave(3.0, &[9]);
        let norm = Norm {
            x: &x,
            weight: &weight,
            eps: 1e-5,
        };
        let gradients = |kernels: &Kernels| {
            let grads = rms_norm::backward(kernels, norm, &dy, None, WeightGrad::Wanted);
            let (dx, dweight) = grads.unwrap();
            (dx, dweight.unwrap())
        };
        let expected = gradients(emulated());
        let kernels = Family::RmsNorm.kernels();
        // The forward pass's kernel is not started.
        for (kernel, is_started) in kernels.into_iter().zip([false, true, true, true]) {
            let count = Arc::new(AtomicU32::new(0));
            let subject = Subject { kernel, times: 5 };
            let (kernels, times) = timed(Box::new(Counted(count.clone())), subject);
            let found = gradients(&kernels);
            assert!(found.0.equal(&expected.0) && found.1.equal(&expected.1));
            let repeated = if is_started { 5 - 1 } else { 0 };
            assert_eq!(count.load(Ordering::Relaxed), 3 + repeated, "{kernel}");
            let ms = times.take();
            assert_eq!(ms.len(), usize::from(is_started), "{kernel}");
            assert!(ms.iter().all(|ms| *ms > 0.0) && times.take().is_empty());
        }
    }
}
