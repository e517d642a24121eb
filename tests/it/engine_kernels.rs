//! `benches/engine/kernels.rs` where nothing can be measured: launchers take the operands, and libtorch's operators do too.
#![expect(unsafe_code, reason = "stands in for a device")]

use crate::engine::kernels::KernelCase;
use prulong::cuda::error::CudaError;
use prulong::cuda::runner::{Grid, Runner};
use prulong::cuda::source::Family;
use std::ffi::c_void;
use tch::Device;

/// Starts nothing.
struct Idle;

impl Runner for Idle {
    fn device(&self) -> Device {
        Device::Cpu
    }

    fn max_blocks(&self) -> u32 {
        1
    }

    unsafe fn launch(
        &self,
        _family: Family,
        _entry: &'static str,
        _grid: Grid,
        _parameters: *const c_void,
    ) -> Result<(), CudaError> {
        Ok(())
    }
}

#[test]
fn every_launcher_starts_the_kernel_of_its_case_and_every_twin_computes() {
    for case in KernelCase::all(true) {
        let name = case.name();
        let samples = case.sample(Box::new(Idle), 2);
        assert_eq!(samples.wall_ms.len(), 2, "{name}");
        assert!(samples.wall_ms.iter().all(|ms| *ms > 0.0), "{name}");
    }
}
