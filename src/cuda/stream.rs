//! Kernels loaded on one CUDA device, started on libtorch's current stream.
//!
//! cudarc retains the primary context, the one that libtorch uses, so addresses are good in both. Work on libtorch's own stream
//! runs in order with its operators, and its allocator gives memory away only behind work that was queued before.
#![expect(unsafe_code, reason = "loads code into the driver and starts it")]

use super::cache::{Cache, Origin};
use super::error::CudaError;
use super::nvrtc::{self, Arch};
use super::runner::{Grid, Kernels, Runner, THREADS};
use super::source::Family;
use crate::torch::cuda_symbols::CudaSymbols;
use cudarc::driver::result::{self, DriverError};
use cudarc::driver::{CudaContext, CudaFunction, sys};
use std::collections::BTreeMap;
use std::ffi::c_void;
use std::sync::Arc;
use tch::Device;

/// The oldest device that converts bf16 by itself: an A100.
const OLDEST: Arch = Arch { major: 8, minor: 0 };
/// The most thread blocks of a launch along x.
const MAX_BLOCKS: u32 = i32::MAX.unsigned_abs();

/// Every kernel, loaded.
pub struct Stream {
    index: usize,
    context: Arc<CudaContext>,
    functions: BTreeMap<&'static str, CudaFunction>,
}

/// What loading found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The compiler's release.
    pub compiler: String,
    /// What was compiled for.
    pub arch: Arch,
    /// Where each family's code came from, in the order of [`Family::ALL`].
    pub origins: Vec<Origin>,
}

impl Stream {
    /// Compiles and loads every kernel for device `index`; code is kept in `cache`.
    ///
    /// # Errors
    /// [`CudaError::NvrtcAbsent`], [`CudaError::Compile`], [`CudaError::Driver`], [`CudaError::Stream`].
    pub fn open(index: usize, cache: &Cache) -> Result<(Self, Report), CudaError> {
        let compiler = nvrtc::load()?;
        // SAFETY: tries to open the driver by name, which libtorch has opened before.
        if !unsafe { sys::is_culib_present() } {
            return Err(driver("start")("there is no NVIDIA driver"));
        }
        let context = CudaContext::new(index).map_err(|error| driver("open the device")(error))?;
        let (major, minor) = context
            .compute_capability()
            .map_err(|error| driver("tell the compute capability")(error))?;
        let arch = check_arch(Arch { major, minor })?;
        let told = CudaSymbols::loaded().has_stream();
        told.map_err(|reason| CudaError::Stream {
            reason: reason.to_owned(),
        })?;
        let mut functions = BTreeMap::new();
        let mut origins = Vec::new();
        for family in Family::ALL {
            let (code, origin) = cache.code(compiler, family, arch)?;
            load(&context, family, code, &mut functions)?;
            origins.push(origin);
        }
        let stream = Self {
            index,
            context,
            functions,
        };
        let report = Report {
            compiler: compiler.version(),
            arch,
            origins,
        };
        Ok((stream, report))
    }

    /// What the driver calls the device, e.g. `NVIDIA H200`.
    ///
    /// # Errors
    /// [`CudaError::Driver`].
    pub fn device_name(&self) -> Result<String, CudaError> {
        let name = self.context.name();
        name.map_err(|error| driver("name the device")(error))
    }

    /// libtorch's stream of this thread; null is the default stream, for libtorch and the driver alike.
    fn current(&self) -> Result<sys::CUstream, CudaError> {
        let stream = CudaSymbols::loaded().current_stream(self.index);
        let stream = stream.map_err(|reason| CudaError::Stream { reason })?;
        Ok(stream.cast())
    }
}

/// Refuses a device without bf16 conversions.
fn check_arch(arch: Arch) -> Result<Arch, CudaError> {
    if arch >= OLDEST {
        return Ok(arch);
    }
    Err(CudaError::Unavailable {
        request: "nvrtc",
        reason: format!("the device is {arch}, they need {OLDEST} or newer"),
    })
}

/// Loads a family's code and its functions; the functions keep the code loaded.
fn load(
    context: &Arc<CudaContext>,
    family: Family,
    code: Vec<u8>,
    functions: &mut BTreeMap<&'static str, CudaFunction>,
) -> Result<(), CudaError> {
    let action = || format!("load `kernels/{}`", family.file());
    let module = context
        .load_module(cudarc::nvrtc::Ptx::from_binary(code))
        .map_err(|error| driver(action())(error))?;
    for entry in family.entries() {
        let function = module
            .load_function(entry.name)
            .map_err(|error| driver(action())(error))?;
        functions.insert(entry.name, function);
    }
    Ok(())
}

fn driver<R: ToString>(action: impl Into<String>) -> impl FnOnce(R) -> CudaError {
    let action = action.into();
    move |reason| CudaError::Driver {
        action,
        reason: reason.to_string(),
    }
}

impl Runner for Stream {
    fn device(&self) -> Device {
        Device::Cuda(self.index)
    }

    fn max_blocks(&self) -> u32 {
        MAX_BLOCKS
    }

    unsafe fn launch(
        &self,
        family: Family,
        entry: &'static str,
        grid: Grid,
        parameters: *const c_void,
    ) -> Result<(), CudaError> {
        let action = || format!("start `{entry}` of `kernels/{}`", family.file());
        let refused = |error: DriverError| driver(action())(error);
        let function = self
            .functions
            .get(entry)
            .ok_or_else(|| driver(action())("it is not in the source"))?;
        self.context.bind_to_thread().map_err(refused)?;
        let stream = self.current()?;
        let mut parameters = [parameters.cast_mut()];
        // SAFETY: the caller's promise about the parameters, which the driver copies before it returns; the stream is
        // libtorch's and alive.
        unsafe {
            result::launch_kernel(
                function.cu_function(),
                (grid.x, grid.y, grid.z),
                (THREADS, 1, 1),
                0,
                stream,
                &mut parameters,
            )
        }
        .map_err(refused)
    }
}

/// Kernels on device `index`, and what loading them found.
///
/// # Errors
/// As [`Stream::open`].
pub fn kernels(index: usize, cache: &Cache) -> Result<(Kernels, Report), CudaError> {
    let (stream, report) = Stream::open(index, cache)?;
    Ok((Kernels::new(Box::new(stream)), report))
}

impl Report {
    /// One phrase for logs, e.g. `NVRTC 13.0 for sm_90, from the cache`.
    pub fn phrase(&self) -> String {
        let Self {
            compiler,
            arch,
            origins,
        } = self;
        let unsaved = origins.iter().find_map(|origin| match origin {
            Origin::Unsaved { reason } => Some(reason),
            Origin::Disk | Origin::Compiled => None,
        });
        let is_kept = origins.iter().all(|origin| *origin == Origin::Disk);
        let from = match unsaved {
            Some(reason) => format!("compiled, not saved: {reason}"),
            None if is_kept => "from the cache".to_owned(),
            None => "compiled".to_owned(),
        };
        format!("NVRTC {compiler} for {arch}, {from}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::torch::cuda;

    #[test]
    fn where_nothing_can_run_opening_is_an_error_and_no_panic() {
        let usable = cuda::usable_devices();
        let opened = Stream::open(0, &Cache::default());
        assert_eq!(opened.is_ok(), usable.is_ok(), "{usable:?}");
        let missing = Stream::open(99, &Cache::default());
        assert!(missing.is_err());
    }

    #[test]
    fn a_device_that_is_too_old_is_named() {
        for (major, minor, is_new) in [(8, 0, true), (9, 0, true), (12, 1, true), (7, 5, false)] {
            let checked = check_arch(Arch { major, minor });
            assert_eq!(checked.is_ok(), is_new, "{checked:?}");
        }
        let error = check_arch(Arch { major: 7, minor: 5 }).unwrap_err();
        assert_eq!(
            error.to_string(),
            "kernels `nvrtc` cannot run: the device is sm_75, they need sm_80 or newer"
        );
    }

    #[test]
    fn the_log_says_where_code_came_from() {
        let phrase = |origins: &[Origin]| {
            let report = Report {
                compiler: "13.0".to_owned(),
                arch: Arch { major: 9, minor: 0 },
                origins: origins.to_vec(),
            };
            report.phrase()
        };
        let unsaved = Origin::Unsaved {
            reason: "no space".to_owned(),
        };
        assert_eq!(
            phrase(&[Origin::Disk, Origin::Disk]),
            "NVRTC 13.0 for sm_90, from the cache"
        );
        assert_eq!(
            phrase(&[Origin::Disk, Origin::Compiled]),
            "NVRTC 13.0 for sm_90, compiled"
        );
        assert_eq!(
            phrase(&[Origin::Compiled, unsaved]),
            "NVRTC 13.0 for sm_90, compiled, not saved: no space"
        );
    }
}
