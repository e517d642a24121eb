//! The compute capability of a CUDA device, asked of the driver: libtorch's C ABI does not tell.
#![expect(unsafe_code, reason = "calls the driver")]

use crate::torch::cuda;
use libloading::os::unix::Library;
use std::ffi::c_int;
use std::fmt;

/// Generation of a CUDA device, e.g. 9.0; ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Capability {
    /// Generation.
    pub major: c_int,
    /// Variant.
    pub minor: c_int,
}

impl Capability {
    /// `major.minor`.
    pub const fn new(major: c_int, minor: c_int) -> Self {
        Self { major, minor }
    }

    /// That of the device with this index among those the process sees.
    ///
    /// # Errors
    /// A sentence: there is no driver, or what it says.
    pub fn of(device: usize) -> Result<Self, String> {
        type Get = unsafe extern "C" fn(*mut c_int, c_int) -> c_int;
        let driver = cuda::driver()?;
        let index = c_int::try_from(device).map_err(|error| error.to_string())?;
        let mut handle = 0;
        // SAFETY: the type is the driver API's, stable since its first release.
        let get = unsafe { function::<Get>(driver, "cuDeviceGet") }?;
        // SAFETY: `handle` is a live integer; the driver refuses an index it does not know.
        check(driver, unsafe { get(&raw mut handle, index) })?;
        Ok(Self {
            major: attribute(driver, MAJOR, handle)?,
            minor: attribute(driver, MINOR, handle)?,
        })
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// `CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR`.
const MAJOR: c_int = 75;
/// `CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR`.
const MINOR: c_int = 76;

fn attribute(driver: &Library, attribute: c_int, device: c_int) -> Result<c_int, String> {
    type Query = unsafe extern "C" fn(*mut c_int, c_int, c_int) -> c_int;
    // SAFETY: the type is the driver API's, stable since its first release.
    let query = unsafe { function::<Query>(driver, "cuDeviceGetAttribute") }?;
    let mut value = 0;
    // SAFETY: `value` is a live integer; the driver checks the others.
    check(driver, unsafe { query(&raw mut value, attribute, device) })?;
    Ok(value)
}

/// # Safety
/// `F` is the type of a pointer to a function of exactly the driver's signature.
unsafe fn function<F: Copy>(driver: &Library, name: &str) -> Result<F, String> {
    // SAFETY: the caller vouches for the type.
    let found = unsafe { driver.get::<F>(name.as_bytes()) };
    found
        .map(|function| *function)
        .map_err(|_| format!("the NVIDIA driver has no `{name}`"))
}

fn check(driver: &Library, code: c_int) -> Result<(), String> {
    if code == 0 {
        return Ok(());
    }
    Err(cuda::error_text(driver, code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generations_are_ordered_and_printed_as_people_do() {
        assert!(Capability::new(9, 0) > Capability::new(8, 9));
        assert!(Capability::new(12, 0) > Capability::new(9, 0));
        assert_eq!(Capability::new(8, 6).to_string(), "8.6");
    }

    #[test]
    fn a_device_that_is_not_there_is_a_sentence() {
        let reason = Capability::of(4096).unwrap_err();
        assert!(!reason.is_empty());
        if cuda::driver().is_err() {
            assert!(reason.starts_with("there is no NVIDIA driver"), "{reason}");
        }
    }
}
