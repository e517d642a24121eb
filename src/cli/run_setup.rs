//! Steps that `train` and `pretrain` share before a run starts.

use crate::config::device::DeviceRequest as ConfigDevice;
use crate::fault::{Coded, Kind};
use crate::torch::device::DeviceRequest;
use crate::torch::error::TorchError;
use serde_json::Value;

/// Signal handlers could not be installed.
#[derive(Debug, thiserror::Error)]
#[error("cannot install signal handlers")]
pub struct SignalError {
    source: std::io::Error,
}

impl Coded for SignalError {
    fn code(&self) -> &'static str {
        "env.signals"
    }
    fn kind(&self) -> Kind {
        Kind::Environment
    }
}

/// Wraps the operating system's answer.
pub fn signals(source: std::io::Error) -> SignalError {
    SignalError { source }
}

/// The settings that decide a run's numbers: everything but the tables `run` (device, threads, logging) and `checkpoint`.
pub fn deciding_settings(resolved: &str) -> Value {
    // The text was printed by `config`, so it parses; an empty table would only make resuming stricter.
    let mut settings = crate::config::load::values(resolved).unwrap_or_default();
    if let Some(tables) = settings.as_object_mut() {
        tables.remove("run");
        tables.remove("checkpoint");
    }
    settings
}

/// The device a configuration asks for, ready to compute.
///
/// # Errors
/// An explicit device that cannot be used, with the reason; another libtorch than the bound one.
pub fn device(request: ConfigDevice) -> Result<tch::Device, TorchError> {
    let request = match request {
        ConfigDevice::Auto => DeviceRequest::Auto,
        ConfigDevice::Cpu => DeviceRequest::Cpu,
        ConfigDevice::Cuda(index) => DeviceRequest::Cuda(Some(index)),
    };
    request.resolve()
}
