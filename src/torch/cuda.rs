//! Makes CUDA usable in a program that links only libtorch's CPU library.
//!
//! libtorch decides at its first use whether it knows CUDA, so [`load`] opens `libtorch_cuda.so` before that. Nothing here
//! needs a CUDA header or a cargo feature; the same executable runs on machines with and without a GPU.
//!
//! **Invariant:** the libraries stay open until the process ends, since libtorch keeps pointers into them.
#![expect(unsafe_code, reason = "loads shared libraries and calls the driver")]

use crate::torch::error::TorchError;
use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
use std::ffi::{CStr, c_char, c_int, c_uint};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The CUDA version libtorch's wheel is built for, as the driver counts: 1000 * major + 10 * minor.
pub const CUDA_VERSION: i32 = 13_000;

/// What became of the attempt to load libtorch's CUDA half.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CudaStatus {
    /// It is loaded.
    Loaded {
        /// The library.
        path: PathBuf,
    },
    /// This libtorch has none.
    Absent {
        /// The folder of the loaded libtorch.
        folder: PathBuf,
    },
    /// It is there and does not load.
    Broken {
        /// The library.
        path: PathBuf,
        /// The dynamic linker's answer.
        reason: String,
    },
}

/// Loads `libtorch_cuda.so` from the folder of the loaded libtorch, once per process.
///
/// Call it before the first tensor exists; afterwards libtorch answers "not compiled with CUDA" for good.
pub fn load() -> &'static CudaStatus {
    &loaded().0
}

/// The loaded CUDA half of libtorch, to look functions up in.
///
/// # Errors
/// [`TorchError::CudaAbsent`] or [`TorchError::CudaBroken`].
pub(super) fn library() -> Result<&'static Library, TorchError> {
    match loaded() {
        (_, Some(library)) => Ok(library),
        (CudaStatus::Broken { path, reason }, None) => Err(TorchError::CudaBroken {
            path: path.clone(),
            reason: reason.clone(),
        }),
        (CudaStatus::Absent { folder } | CudaStatus::Loaded { path: folder }, None) => {
            Err(TorchError::CudaAbsent {
                folder: folder.clone(),
            })
        }
    }
}

fn loaded() -> &'static (CudaStatus, Option<&'static Library>) {
    static LOADED: OnceLock<(CudaStatus, Option<&'static Library>)> = OnceLock::new();
    LOADED.get_or_init(|| {
        let folder = libtorch_folder().unwrap_or_default();
        let path = folder.join("libtorch_cuda.so");
        if !path.is_file() {
            return (CudaStatus::Absent { folder }, None);
        }
        match open(&path) {
            Ok(library) => (
                CudaStatus::Loaded { path },
                Some(Box::leak(Box::new(library))),
            ),
            Err(reason) => (CudaStatus::Broken { path, reason }, None),
        }
    })
}

/// The folder from which this process loaded libtorch.
pub fn libtorch_folder() -> Option<PathBuf> {
    folder_of(
        "libtorch_cpu.so",
        &fs::read_to_string("/proc/self/maps").ok()?,
    )
}

/// Finds a mapped library in the text of `/proc/PID/maps`.
fn folder_of(library: &str, maps: &str) -> Option<PathBuf> {
    let path = maps
        .lines()
        .filter_map(|line| line.find('/').map(|start| Path::new(&line[start..])));
    path.filter(|path| path.file_name().is_some_and(|name| name == library))
        .find_map(|path| path.parent().map(Path::to_owned))
}

/// Counts the CUDA devices that this process can use.
///
/// # Errors
/// The first thing that is missing: [`TorchError::CudaAbsent`], [`TorchError::CudaBroken`], [`TorchError::Driver`],
/// [`TorchError::NoDevice`].
pub fn usable_devices() -> Result<usize, TorchError> {
    library()?;
    check_driver(driver_version())?;
    match usize::try_from(tch::Cuda::device_count()) {
        Ok(count) if count > 0 => Ok(count),
        _ => Err(TorchError::NoDevice),
    }
}

/// Refuses a missing driver and one that is older than libtorch's CUDA.
fn check_driver(version: Result<i32, String>) -> Result<(), TorchError> {
    match version {
        Ok(version) if version / 1000 >= CUDA_VERSION / 1000 => Ok(()),
        Ok(version) => Err(TorchError::Driver {
            reason: format!(
                "the NVIDIA driver supports CUDA {}, libtorch needs {}",
                release(version),
                release(CUDA_VERSION)
            ),
        }),
        Err(reason) => Err(TorchError::Driver { reason }),
    }
}

/// Writes a driver's CUDA version as people do, e.g. `13.0`.
pub fn release(version: i32) -> String {
    format!("{}.{}", version / 1000, version % 1000 / 10)
}

/// The highest CUDA version that the NVIDIA driver supports, as the driver counts.
///
/// # Errors
/// A sentence: there is no driver, or what it says.
pub fn driver_version() -> Result<i32, String> {
    let driver = driver()?;
    // SAFETY: the signature is the driver API's.
    let query =
        unsafe { driver.get::<unsafe extern "C" fn(*mut c_int) -> c_int>(b"cuDriverGetVersion") };
    let query = query.map_err(|error| error.to_string())?;
    let mut version = 0;
    // SAFETY: `version` is a live integer.
    let code = unsafe { query(&raw mut version) };
    if code == 0 {
        Ok(version)
    } else {
        Err(error_text(driver, code))
    }
}

/// The NVIDIA driver, started; opened once per process, since it does not support being unloaded.
///
/// # Errors
/// A sentence: there is no driver, or what it says.
pub(super) fn driver() -> Result<&'static Library, String> {
    static DRIVER: OnceLock<Result<&'static Library, String>> = OnceLock::new();
    DRIVER.get_or_init(start_driver).clone()
}

fn start_driver() -> Result<&'static Library, String> {
    let driver = open(Path::new("libcuda.so.1"))
        .map_err(|reason| format!("there is no NVIDIA driver ({reason})"))?;
    let driver: &'static Library = Box::leak(Box::new(driver));
    // SAFETY: the signature is the driver API's, stable since its first release.
    let init = unsafe { driver.get::<unsafe extern "C" fn(c_uint) -> c_int>(b"cuInit") };
    let init = init.map_err(|error| error.to_string())?;
    // SAFETY: 0 is the only defined flag.
    let code = unsafe { init(0) };
    if code == 0 {
        return Ok(driver);
    }
    Err(format!(
        "the NVIDIA driver does not start: {}",
        error_text(driver, code)
    ))
}

/// The driver's own words for an error code.
pub(super) fn error_text(driver: &Library, code: c_int) -> String {
    type Describe = unsafe extern "C" fn(c_int, *mut *const c_char) -> c_int;
    // SAFETY: the signature is the driver API's.
    let Ok(describe) = (unsafe { driver.get::<Describe>(b"cuGetErrorString") }) else {
        return format!("error {code}");
    };
    let mut text = std::ptr::null();
    // SAFETY: `text` is a live pointer.
    let found = unsafe { describe(code, &raw mut text) };
    if found != 0 || text.is_null() {
        return format!("error {code}");
    }
    // SAFETY: the driver answers with a static string.
    let text = unsafe { CStr::from_ptr(text) };
    format!("{} (error {code})", text.to_string_lossy())
}

fn open(path: &Path) -> Result<Library, String> {
    // SAFETY: the library's initialisers are NVIDIA's and PyTorch's, meant to run at load.
    let library = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_GLOBAL) };
    library.map_err(|error| {
        // The linker's sentence is in the source; the error itself only says that dlopen failed.
        std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapped_library_is_found_by_its_whole_name() {
        let maps = "7f00-7f01 r-xp 00000000 08:01 12   /usr/lib/libc.so.6\n\
                    7f02-7f03 r-xp 00000000 08:01 13   /a/libtorch_cpu.so.old\n\
                    7f04-7f05 r-xp 00000000 00:00 0    [stack]\n\
                    7f06-7f07 r-xp 00000000 08:01 14   /opt/my torch/lib/libtorch_cpu.so\n";
        assert_eq!(
            folder_of("libtorch_cpu.so", maps),
            Some("/opt/my torch/lib".into())
        );
        assert_eq!(folder_of("libtorch_cuda.so", maps), None);
    }

    #[test]
    fn this_process_knows_its_libtorch_and_loads_cuda_once() {
        // Refers to libtorch, so that the linker keeps it.
        crate::torch::abi::check_version().unwrap();
        let folder = libtorch_folder().unwrap();
        assert!(folder.join("libtorch_cpu.so").is_file());
        match load() {
            CudaStatus::Absent { folder: looked } => assert_eq!(*looked, folder),
            CudaStatus::Loaded { path } | CudaStatus::Broken { path, .. } => {
                assert_eq!(path.parent(), Some(folder.as_path()));
            }
        }
        assert!(std::ptr::eq(load(), load()));
    }

    #[test]
    fn a_driver_that_is_missing_or_old_is_refused_with_both_versions() {
        check_driver(Ok(13_020)).unwrap();
        let old = check_driver(Ok(12_080)).unwrap_err().to_string();
        assert_eq!(
            old,
            "cannot use CUDA: the NVIDIA driver supports CUDA 12.8, libtorch needs 13.0"
        );
        let none = check_driver(Err("there is no NVIDIA driver".to_owned())).unwrap_err();
        assert_eq!(
            none.to_string(),
            "cannot use CUDA: there is no NVIDIA driver"
        );
    }
}
