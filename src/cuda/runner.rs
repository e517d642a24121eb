//! What launchers need of whatever runs kernels: a CUDA stream, or in tests the CPU.

use super::error::CudaError;
use super::source::Family;
use std::ffi::c_void;
use std::fmt;
use tch::Device;

/// Threads of every thread block; mirrored in `kernels/common.cuh`.
pub const THREADS: u32 = 256;

/// Thread blocks of a launch, at least 1 each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    /// Along x.
    pub x: u32,
    /// Along y.
    pub y: u32,
    /// Along z.
    pub z: u32,
}

/// Compiled kernels and where they run.
pub trait Runner: Send + Sync {
    /// The device whose tensors the kernels take.
    fn device(&self) -> Device;

    /// The most thread blocks along x; what is left over is done in a loop.
    fn max_blocks(&self) -> u32;

    /// Starts the device function `entry` of `family`, in order with libtorch's own work.
    ///
    /// # Errors
    /// [`CudaError::Driver`], [`CudaError::Stream`].
    ///
    /// # Safety
    /// `parameters` points to the struct that `entry` takes; every address in it is valid on [`Runner::device`] for what the
    /// kernel reads and writes.
    #[expect(unsafe_code, reason = "addresses cannot be checked")]
    unsafe fn launch(
        &self,
        family: Family,
        entry: &'static str,
        grid: Grid,
        parameters: *const c_void,
    ) -> Result<(), CudaError>;
}

/// A parameter struct that a kernel's source mirrors.
///
/// # Safety
/// The type is `repr(C)` and equals, field by field, the struct of the same name in `kernels/`.
#[expect(unsafe_code, reason = "the two layouts are compared by size alone")]
pub(super) unsafe trait Parameters: Copy {}

/// The kernels of one device.
pub struct Kernels {
    runner: Box<dyn Runner>,
}

impl fmt::Debug for Kernels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kernels on {:?}", self.device())
    }
}

impl Kernels {
    /// Kernels that `runner` starts.
    pub fn new(runner: Box<dyn Runner>) -> Self {
        Self { runner }
    }

    /// The device whose tensors they take.
    pub fn device(&self) -> Device {
        self.runner.device()
    }

    /// Thread blocks for `num_items` independent items, as many of them as run at once.
    pub(super) fn blocks(&self, num_items: i64) -> u32 {
        let limit = self.runner.max_blocks();
        u32::try_from(num_items).map_or(limit, |count| count.min(limit))
    }

    /// Starts a kernel; nothing, if one of the grid's sides is 0.
    ///
    /// # Errors
    /// As [`Runner::launch`].
    ///
    /// # Safety
    /// The addresses in `parameters` are valid for what the kernel reads and writes, and `entry` takes a `P`.
    #[expect(unsafe_code, reason = "addresses cannot be checked")]
    pub(super) unsafe fn launch<P: Parameters>(
        &self,
        family: Family,
        entry: &'static str,
        grid: Grid,
        parameters: &P,
    ) -> Result<(), CudaError> {
        if grid.x == 0 || grid.y == 0 || grid.z == 0 {
            return Ok(());
        }
        #[cfg(test)]
        super::testing::note_start(entry);
        let parameters = std::ptr::from_ref(parameters).cast();
        // SAFETY: the caller's promise, and the layout that `Parameters` promises.
        unsafe { self.runner.launch(family, entry, grid, parameters) }
    }
}

impl Grid {
    /// Thread blocks along x alone.
    pub(super) fn line(x: u32) -> Self {
        Self { x, y: 1, z: 1 }
    }
}
