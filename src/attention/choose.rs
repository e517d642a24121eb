//! Picks the backend once, by name or by device.

use super::{AttentionError, Backend, cpu_flash::CpuFlash, reference::Reference};
use tch::Device;

/// Names a user may ask for besides `auto`.
pub const BACKENDS: [&str; 2] = ["reference", "cpu-flash"];

/// The backend called `request`; `auto` takes the CPU flash kernel on the CPU and the reference elsewhere.
///
/// # Errors
/// [`AttentionError::Unknown`] for an unknown name, [`AttentionError::Unavailable`] for one that cannot run on `device`: never another backend instead.
pub fn choose(request: &str, device: Device) -> Result<Box<dyn Backend>, AttentionError> {
    let unavailable = |reason: &str| AttentionError::Unavailable {
        backend: request.to_owned(),
        reason: reason.to_owned(),
    };
    match (request, device) {
        ("auto" | "cpu-flash", Device::Cpu) => Ok(Box::new(CpuFlash)),
        ("cpu-flash", _) => Err(unavailable("it runs on the CPU only")),
        ("auto" | "reference", _) => Ok(Box::new(Reference)),
        _ => Err(AttentionError::Unknown {
            backend: request.to_owned(),
        }),
    }
}
