//! Functions of libtorch's C ABI that only its CUDA library has, looked up once.
//!
//! A program that links the CPU library alone cannot link them. Each is found by name after [`cuda::load`]; a missing one
//! disables what needs it, with a reason. Signatures follow
//! `torch/csrc/inductor/aoti_torch/generated/c_shim_cuda.h` of the bound release, which [`abi::check_version`] checks
//! first.
#![expect(unsafe_code, reason = "looks functions up by name")]

use crate::torch::handle::{Handle, Place};
use crate::torch::{abi, cuda};
use libloading::os::unix::Library;
use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::OnceLock;
use tch::{Device, Kind};

/// `q, k, v, cum_q?, cum_k?, max_q, max_k, dropout, causal, debug, scale?, left?, right?, seqused_k?, alibi?
/// -> out, lse, rng, unused, debug`
pub(super) type FlashForward = unsafe extern "C" fn(
    Handle,
    Handle,
    Handle,
    *const Handle,
    *const Handle,
    i64,
    i64,
    f64,
    i32,
    i32,
    *const f64,
    *const i64,
    *const i64,
    *const Handle,
    *const Handle,
    Place,
    Place,
    Place,
    Place,
    Place,
) -> c_int;

/// `dout, q, k, v, out, lse, cum_q, cum_k, max_q, max_k, dropout, causal, rng, unused, scale?, left?, right?
/// -> dq, dk, dv`
pub(super) type FlashBackward = unsafe extern "C" fn(
    Handle,
    Handle,
    Handle,
    Handle,
    Handle,
    Handle,
    Handle,
    Handle,
    i64,
    i64,
    f64,
    i32,
    Handle,
    Handle,
    *const f64,
    *const i64,
    *const i64,
    Place,
    Place,
    Place,
) -> c_int;

/// `q, k, v, bias?, compute_lse, dropout, causal, debug, scale?
/// -> out, lse, cum_q, cum_k, max_q, max_k, seed, offset, debug`
pub(super) type CudnnForward = unsafe extern "C" fn(
    Handle,
    Handle,
    Handle,
    *const Handle,
    i32,
    f64,
    i32,
    i32,
    *const f64,
    Place,
    Place,
    Place,
    Place,
    *mut i64,
    *mut i64,
    Place,
    Place,
    Place,
) -> c_int;

/// `dout, q, k, v, out, lse, seed, offset, bias, cum_q, cum_k, max_q, max_k, dropout, causal, scale?
/// -> dq, dk, dv`
pub(super) type CudnnBackward = unsafe extern "C" fn(
    Handle,
    Handle,
    Handle,
    Handle,
    Handle,
    Handle,
    Handle,
    Handle,
    Handle,
    Handle,
    Handle,
    i64,
    i64,
    f64,
    i32,
    *const f64,
    Place,
    Place,
    Place,
) -> c_int;

/// `device, where to write the stream`; null is the default stream, for libtorch and the driver alike.
pub(super) type CurrentStream = unsafe extern "C" fn(i32, *mut *mut c_void) -> c_int;

const CURRENT_STREAM: &str = "aoti_torch_get_current_cuda_stream";
const FLASH_FORWARD: &str = "aoti_torch_cuda__flash_attention_forward";
const FLASH_BACKWARD: &str = "aoti_torch_cuda__flash_attention_backward";
const CUDNN_FORWARD: &str = "aoti_torch_cuda__scaled_dot_product_cudnn_attention";
const CUDNN_BACKWARD: &str = "aoti_torch_cuda__scaled_dot_product_cudnn_attention_backward";

/// FlashAttention-2 as libtorch carries it.
#[derive(Debug, Clone, Copy)]
pub(super) struct FlashSymbols {
    pub(super) forward: FlashForward,
    pub(super) backward: FlashBackward,
}

/// cuDNN's attention through libtorch.
#[derive(Debug, Clone, Copy)]
pub(super) struct CudnnSymbols {
    pub(super) forward: CudnnForward,
    pub(super) backward: CudnnBackward,
}

/// Where the functions of a table compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Home {
    /// On CUDA devices, in the dtypes of the kernels.
    Cuda,
    /// In tests: functions of our own on the CPU, which also take f64.
    #[cfg(test)]
    StandIn,
}

impl Home {
    /// Whether tensors on `device` can be handed over.
    pub(super) fn has(self, device: Device) -> bool {
        match self {
            Self::Cuda => device.is_cuda(),
            #[cfg(test)]
            Self::StandIn => device == Device::Cpu,
        }
    }

    /// Whether a kernel for half precision takes this dtype.
    pub(super) fn takes(self, kind: Kind) -> bool {
        let half = matches!(kind, Kind::BFloat16 | Kind::Half);
        match self {
            Self::Cuda => half,
            #[cfg(test)]
            Self::StandIn => half || kind == Kind::Double,
        }
    }
}

/// The table: each family of functions, or why it cannot be called.
#[derive(Debug)]
pub struct CudaSymbols {
    pub(super) home: Home,
    pub(super) stream: Result<CurrentStream, String>,
    pub(super) flash: Result<FlashSymbols, String>,
    pub(super) cudnn: Result<CudnnSymbols, String>,
}

impl CudaSymbols {
    /// The functions of the loaded libtorch; loads its CUDA half if that has not been tried.
    pub fn loaded() -> &'static Self {
        static TABLE: OnceLock<CudaSymbols> = OnceLock::new();
        TABLE.get_or_init(|| {
            let library = abi::check_version().and_then(|()| cuda::library());
            match library {
                Ok(library) => Self::of(library),
                Err(error) => Self::none(&error.to_string()),
            }
        })
    }

    /// A table in which everything is missing for one reason.
    fn none(reason: &str) -> Self {
        Self {
            home: Home::Cuda,
            stream: Err(reason.to_owned()),
            flash: Err(reason.to_owned()),
            cudnn: Err(reason.to_owned()),
        }
    }

    fn of(library: &'static Library) -> Self {
        Self {
            home: Home::Cuda,
            // SAFETY: the type is that of the header of the bound release.
            stream: unsafe { symbol(library, CURRENT_STREAM) },
            flash: flash(library),
            cudnn: cudnn(library),
        }
    }

    /// Whether libtorch's stream can be asked for.
    ///
    /// # Errors
    /// Why not.
    pub fn has_stream(&self) -> Result<(), &str> {
        self.stream.as_ref().map(|_| ()).map_err(String::as_str)
    }

    /// libtorch's current stream on `device` for this thread, the driver's handle; null is the default stream.
    ///
    /// # Errors
    /// A sentence: the function is missing, or it failed.
    pub fn current_stream(&self, device: usize) -> Result<*mut c_void, String> {
        let function = self.stream.as_ref().map_err(Clone::clone)?;
        let device = i32::try_from(device).unwrap_or(i32::MAX);
        let mut stream = ptr::null_mut();
        // SAFETY: the signature is that of the header of the bound release; `stream` is a live pointer.
        let code = unsafe { function(device, &raw mut stream) };
        if code == 0 {
            Ok(stream)
        } else {
            Err("its text stands above".to_owned())
        }
    }

    /// Whether FlashAttention-2 can be called.
    ///
    /// # Errors
    /// Why not.
    pub fn has_flash(&self) -> Result<(), &str> {
        self.flash.as_ref().map(|_| ()).map_err(String::as_str)
    }

    /// Whether cuDNN's attention can be called.
    ///
    /// # Errors
    /// Why not.
    pub fn has_cudnn(&self) -> Result<(), &str> {
        self.cudnn.as_ref().map(|_| ()).map_err(String::as_str)
    }
}

fn flash(library: &'static Library) -> Result<FlashSymbols, String> {
    Ok(FlashSymbols {
        // SAFETY: the type is that of the header of the bound release.
        forward: unsafe { symbol(library, FLASH_FORWARD) }?,
        // SAFETY: as above.
        backward: unsafe { symbol(library, FLASH_BACKWARD) }?,
    })
}

fn cudnn(library: &'static Library) -> Result<CudnnSymbols, String> {
    Ok(CudnnSymbols {
        // SAFETY: the type is that of the header of the bound release.
        forward: unsafe { symbol(library, CUDNN_FORWARD) }?,
        // SAFETY: as above.
        backward: unsafe { symbol(library, CUDNN_BACKWARD) }?,
    })
}

/// The function called `name`, for as long as the process lives.
///
/// # Safety
/// `F` is the type of a pointer to a function of exactly the library's signature.
unsafe fn symbol<F: Copy>(library: &'static Library, name: &str) -> Result<F, String> {
    // SAFETY: the caller vouches for the type; the library is never closed.
    let found = unsafe { library.get::<F>(name.as_bytes()) };
    found
        .map(|function| *function)
        .map_err(|_| format!("libtorch_cuda.so has no `{name}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_symbol_is_named_and_disables_only_its_family() {
        // SAFETY: the C library is open already.
        let library = unsafe { Library::new("libc.so.6") }.unwrap();
        let library: &'static Library = Box::leak(Box::new(library));
        let table = CudaSymbols::of(library);
        assert_eq!(
            table.has_flash().unwrap_err(),
            "libtorch_cuda.so has no `aoti_torch_cuda__flash_attention_forward`"
        );
        assert!(table.has_cudnn().unwrap_err().contains(CUDNN_FORWARD));
        let stream = table.current_stream(0).unwrap_err();
        assert!(stream.contains(CURRENT_STREAM), "{stream}");
        assert_eq!(table.has_stream(), Err(stream.as_str()));
        // The same lookup finds one that is there.
        // SAFETY: the signature of the C library's `abs`.
        let abs =
            unsafe { symbol::<unsafe extern "C" fn(c_int) -> c_int>(library, "abs") }.unwrap();
        // SAFETY: defined for every small integer.
        assert_eq!(unsafe { abs(-7) }, 7);
    }

    #[test]
    fn without_cuda_every_family_says_why() {
        let table = CudaSymbols::loaded();
        if let Err(error) = cuda::library() {
            assert_eq!(table.has_flash().unwrap_err(), error.to_string());
            assert_eq!(table.has_cudnn().unwrap_err(), error.to_string());
            assert_eq!(table.current_stream(0).unwrap_err(), error.to_string());
        }
        assert!(std::ptr::eq(table, CudaSymbols::loaded()));
    }

    #[test]
    fn the_kernels_take_half_precision_on_cuda_alone() {
        assert!(Home::Cuda.has(Device::Cuda(1)) && !Home::Cuda.has(Device::Cpu));
        assert!(Home::Cuda.takes(Kind::Half) && Home::Cuda.takes(Kind::BFloat16));
        assert!(!Home::Cuda.takes(Kind::Float) && !Home::Cuda.takes(Kind::Double));
    }
}
