//! Safe faces of the functions in `src/torch/shim.cpp`.
#![expect(unsafe_code, reason = "binds our own C functions")]

use crate::torch::error::TorchError;
use std::ffi::{CStr, c_char, c_int};

/// Longest message taken over from a C++ exception.
const TEXT_LEN: usize = 1024;

unsafe extern "C" {
    fn prulong_set_deterministic(on: bool, text: *mut c_char, text_len: usize) -> c_int;
    safe fn prulong_deterministic() -> c_int;
    fn prulong_device_memory(
        device: i8,
        memory: *mut DeviceMemory,
        text: *mut c_char,
        text_len: usize,
    ) -> c_int;
    fn prulong_reset_peak(device: i8, text: *mut c_char, text_len: usize) -> c_int;
}

/// Memory of one CUDA device.
///
/// # Units
/// Bytes. `free` and `total` are the driver's and count every process; `allocated` and `peak` are this process's tensors.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
#[repr(C)]
pub struct DeviceMemory {
    /// Not in use by anybody.
    pub free_bytes: u64,
    /// On the card.
    pub total_bytes: u64,
    /// Held by tensors now.
    pub allocated_bytes: u64,
    /// The most held by tensors since the start or [`reset_peak`].
    pub peak_bytes: u64,
}
const _: () = assert!(size_of::<DeviceMemory>() == 32);

/// Makes libtorch use only deterministic algorithms, and fail where there is none.
///
/// # Errors
/// [`TorchError::Operator`] with libtorch's text.
pub fn set_deterministic(on: bool) -> Result<(), TorchError> {
    call("the deterministic-algorithms switch", |text| {
        // SAFETY: `text` points to `TEXT_LEN` writable bytes.
        unsafe { prulong_set_deterministic(on, text, TEXT_LEN) }
    })
}

/// Whether only deterministic algorithms are allowed now.
pub fn deterministic() -> bool {
    prulong_deterministic() != 0
}

/// Asks the driver and libtorch's allocator for the memory of a CUDA device.
///
/// # Errors
/// [`TorchError::Operator`] if CUDA is not loaded or the device does not exist.
pub fn device_memory(device: usize) -> Result<DeviceMemory, TorchError> {
    let device = device_index(device)?;
    let mut memory = DeviceMemory::default();
    call("the device memory query", |text| {
        // SAFETY: `memory` is a live struct of the C layout, `text` points to `TEXT_LEN` writable bytes.
        unsafe { prulong_device_memory(device, &raw mut memory, text, TEXT_LEN) }
    })?;
    Ok(memory)
}

/// Starts a new peak for [`DeviceMemory::peak_bytes`].
///
/// # Errors
/// [`TorchError::Operator`] if CUDA is not loaded or the device does not exist.
pub fn reset_peak(device: usize) -> Result<(), TorchError> {
    let device = device_index(device)?;
    call("the device memory reset", |text| {
        // SAFETY: `text` points to `TEXT_LEN` writable bytes.
        unsafe { prulong_reset_peak(device, text, TEXT_LEN) }
    })
}

fn device_index(device: usize) -> Result<i8, TorchError> {
    i8::try_from(device).map_err(|_| TorchError::DeviceIndex {
        index: device,
        count: 0,
    })
}

/// Runs one shim function and turns its text into an error.
fn call(
    operation: &'static str,
    function: impl FnOnce(*mut c_char) -> c_int,
) -> Result<(), TorchError> {
    let mut text = [0_u8; TEXT_LEN];
    if function(text.as_mut_ptr().cast()) == 0 {
        return Ok(());
    }
    let reason = CStr::from_bytes_until_nul(&text).map_or_else(
        |_| "no text".into(),
        |text| text.to_string_lossy().trim().to_owned(),
    );
    Err(TorchError::Operator { operation, reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deterministic_switch_is_seen_by_libtorch() {
        set_deterministic(true).unwrap();
        assert!(deterministic());
        set_deterministic(false).unwrap();
        assert!(!deterministic());
    }

    #[test]
    fn an_exception_becomes_an_error_with_its_text() {
        // No CUDA allocator is registered before the CUDA libraries are loaded.
        if let Err(error) = device_memory(0) {
            let text = error.to_string();
            assert!(
                text.starts_with("libtorch failed in the device memory query: "),
                "{text}"
            );
            assert!(text.contains("llocator"), "{text}");
        }
        assert!(matches!(
            device_memory(999),
            Err(TorchError::DeviceIndex { .. })
        ));
    }
}
