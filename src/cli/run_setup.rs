//! Steps that `train` and `pretrain` share before a run starts.

use crate::config::device::DeviceRequest as ConfigDevice;
use crate::config::dtype::DtypeRequest;
use crate::config::error::ConfigError;
use crate::config::load::{ConfigFile, Loaded, load_changed};
use crate::config::loss::{
    LossSettings, MemorySettings, Offload as ConfigOffload, Saving as ConfigSaving,
};
use crate::config::run::ProductsRequest;
use crate::fault::{Coded, Kind};
use crate::mask::gate_method::GateMethod;
use crate::model::block::Saving;
use crate::model::train_pass::PassSettings;
use crate::torch::abi;
use crate::torch::allocator::{self, Kept, Setting};
use crate::torch::device::{DeviceRequest, name as device_name};
use crate::torch::dtype::DtypeChoice;
use crate::torch::error::TorchError;
use crate::torch::offload::Offload;
use crate::torch::products::{self, Products};
use crate::torch::threads::{choose_threads, threads};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::ffi::OsString;
use std::fmt::Write;
use std::path::Path;

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

/// The settings that decide a run's numbers: everything but the tables `run` (device, threads, logging), `checkpoint` and
/// `validation`, where saved activations wait, since a copy is exact, and a `method` that is the default.
pub fn deciding_settings(resolved: &str) -> Value {
    // The text was printed by `config`, so it parses; an empty table would only make resuming stricter.
    let mut settings = crate::config::load::values(resolved).unwrap_or_default();
    if let Some(tables) = settings.as_object_mut() {
        tables.remove("run");
        tables.remove("checkpoint");
        tables.remove("validation");
        if let Some(memory) = tables.get_mut("memory").and_then(Value::as_object_mut) {
            memory.remove("offload");
        }
        // Runs from before there was a choice have no such key, and are continued.
        let default = GateMethod::default().name();
        if tables.get("method").and_then(Value::as_str) == Some(default) {
            tables.remove("method");
        }
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

/// Sets the number of threads and the library that multiplies f32 matrices on the CPU; the second thing a command does that
/// computes, after [`device`].
///
/// # Errors
/// As [`choose_threads`].
pub fn arithmetic(
    device: tch::Device,
    threads: Option<usize>,
    products: Option<ProductsRequest>,
) -> Result<(), TorchError> {
    choose_threads(threads)?;
    if device == tch::Device::Cpu {
        let asked = products.map(|request| match request {
            ProductsRequest::Mkl => Products::Mkl,
            ProductsRequest::OneDnn => Products::OneDnn,
        });
        products::choose(asked);
    }
    Ok(())
}

/// Makes the C library's allocator keep what a training step on the CPU frees, unless the environment sets it; before weights are
/// loaded. On another device tensors are not its business, and nothing is changed.
pub fn keep_freed_memory(device: tch::Device) -> Kept {
    if device != tch::Device::Cpu {
        return Kept::No;
    }
    let is_about_malloc = |(name, value): (OsString, OsString)| {
        let [name, value] = [name, value].map(|text| text.to_string_lossy().into_owned());
        name.starts_with("MALLOC_") || (name == "GLIBC_TUNABLES" && value.contains("glibc.malloc"))
    };
    allocator::keep_freed(if std::env::vars_os().any(is_about_malloc) {
        Setting::ByUser
    } else {
        Setting::Free
    })
}

/// The library that multiplies matrices on `device`, as logs and results name it.
pub fn products_name(device: tch::Device) -> &'static str {
    match device {
        tch::Device::Cpu => products::chosen().name(),
        _ => "cublas",
    }
}

/// The dtype that `request` asks for on `device`, and the settings with its name in them: a run that goes on somewhere else
/// either computes in the same or is refused. `name` is the file's.
///
/// # Errors
/// As [`load_changed`].
pub fn settle_dtype<F: ConfigFile>(
    name: &Path,
    loaded: Loaded<F::Checked>,
    request: DtypeRequest,
    device: tch::Device,
) -> Result<(Loaded<F::Checked>, DtypeChoice), ConfigError> {
    let choice = DtypeChoice::new(request, device);
    if request == DtypeRequest::from(choice.dtype) {
        return Ok((loaded, choice));
    }
    let settled = format!("model.dtype={}", choice.dtype);
    Ok((
        load_changed::<F>(name, &loaded.resolved, &[settled])?,
        choice,
    ))
}

/// How a training pass on `device` trades memory for time.
///
/// # Errors
/// [`TorchError::NoOffload`] if host memory is to hold what the device keeps there anyway.
pub fn pass_settings(
    memory: &MemorySettings,
    loss: &LossSettings,
    device: tch::Device,
) -> Result<PassSettings, TorchError> {
    let signed = |len: usize| i64::try_from(len).unwrap_or(i64::MAX);
    let offload = match memory.offload {
        ConfigOffload::None => Offload::None,
        ConfigOffload::Host => Offload::Host,
    };
    offload.check(device)?;
    Ok(PassSettings {
        offload,
        saving: match memory.saving {
            ConfigSaving::Inputs => Saving::Inputs,
            ConfigSaving::InputsAndAttention => Saving::InputsAndAttention,
            ConfigSaving::All => Saving::All,
        },
        mlp_chunk_len: signed(memory.mlp_chunk_len),
        loss_chunk_len: signed(loss.chunk_len),
    })
}

/// What a run's numbers depend on besides its settings, as the text of `env.json`.
///
/// `backend`: the attention backend and why it was chosen; `kernels`: whose other kernels.
pub fn environment(device: tch::Device, (backend, reason): (&str, &str), kernels: &str) -> String {
    let environment = json!({
        "prulong": env!("CARGO_PKG_VERSION"),
        "libtorch": abi::release(abi::loaded_version()),
        "device": device_name(device),
        "attention_backend": backend,
        "attention_backend_reason": reason,
        "products": products_name(device),
        "kernels": kernels,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::config_args::ConfigArgs;
    use crate::config::train::TrainFile;

    #[test]
    fn where_activations_wait_decides_no_number_and_what_is_saved_might() {
        let sha = |memory: &str| config_sha256(&format!("seed = 1\n[memory]\n{memory}"));
        let plain = sha("saving = \"x\"\n");
        assert_eq!(sha("saving = \"x\"\noffload = \"host\"\n"), plain);
        assert_ne!(sha("saving = \"all\"\n"), plain);
    }

    #[test]
    fn an_automatic_dtype_is_named_in_the_settings_that_a_run_keeps() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let args = ConfigArgs {
            config: root.join("configs/quickstart.toml"),
            overrides: vec!["model.dtype=auto".to_owned()],
            device: None,
        };
        let load = || args.load::<TrainFile>().unwrap();
        assert_eq!(load().config.model.dtype, DtypeRequest::Auto);
        let on = |device| {
            settle_dtype::<TrainFile>(&args.config, load(), DtypeRequest::Auto, device).unwrap()
        };
        let (on_gpu, choice) = on(tch::Device::Cuda(0));
        assert_eq!(on_gpu.config.model.dtype, DtypeRequest::Bf16);
        assert_eq!(choice.to_string(), "bf16 (a GPU)");
        assert!(on_gpu.resolved.contains("dtype = \"bf16\""));
        // A checkpoint's identity holds it: the run is not continued in another one.
        let (on_cpu, choice) = on(tch::Device::Cpu);
        assert_eq!(on_cpu.config.model.dtype, choice.dtype.into());
        let differ = deciding_settings(&on_cpu.resolved) != deciding_settings(&on_gpu.resolved);
        assert_eq!(differ, on_cpu.config.model.dtype != DtypeRequest::Bf16);
    }
}
