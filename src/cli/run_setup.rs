//! Steps that `train` and `pretrain` share before a run starts.

use crate::config::device::DeviceRequest as ConfigDevice;
use crate::config::loss::{LossSettings, MemorySettings, Saving as ConfigSaving};
use crate::fault::{Coded, Kind};
use crate::model::block::Saving;
use crate::model::train_pass::PassSettings;
use crate::torch::abi;
use crate::torch::device::{DeviceRequest, name as device_name};
use crate::torch::error::TorchError;
use crate::torch::threads::threads;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fmt::Write;

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

/// How a training pass trades memory for time.
pub fn pass_settings(memory: &MemorySettings, loss: &LossSettings) -> PassSettings {
    let signed = |len: usize| i64::try_from(len).unwrap_or(i64::MAX);
    PassSettings {
        saving: match memory.saving {
            ConfigSaving::Inputs => Saving::Inputs,
            ConfigSaving::InputsAndAttention => Saving::InputsAndAttention,
            ConfigSaving::All => Saving::All,
        },
        mlp_chunk_len: signed(memory.mlp_chunk_len),
        loss_chunk_len: signed(loss.chunk_len),
    }
}

/// What a run's numbers depend on besides its settings, as the text of `env.json`.
pub fn environment(device: tch::Device, backend: &str) -> String {
    let environment = json!({
        "prulong": env!("CARGO_PKG_VERSION"),
        "libtorch": abi::release(abi::loaded_version()),
        "device": device_name(device),
        "attention_backend": backend,
        "threads": threads(),
    });
    format!("{environment:#}\n")
}

/// SHA-256 of the settings that decide a run's numbers, paths left out, hex.
pub fn config_sha256(resolved: &str) -> String {
    let mut settings = deciding_settings(resolved);
    remove_paths(&mut settings);
    let digest = Sha256::digest(crate::mask::canonical::to_string(&settings));
    digest.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Drops every `path` below `value`: where files lie does not change what they say.
fn remove_paths(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.remove("path");
            fields.values_mut().for_each(remove_paths);
        }
        Value::Array(items) => items.iter_mut().for_each(remove_paths),
        _ => {}
    }
}
