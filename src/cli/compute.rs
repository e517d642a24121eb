//! What a command that runs a model computes on: device, dtype, threads, attention kernel.

use crate::attention::{Backend, choose};
use crate::cli::run_setup;
use crate::config::device::DeviceRequest as ConfigDevice;
use crate::config::run::{ComputeDtype, MachineSettings};
use crate::eval::results::MachineIdentity;
use crate::fault::AnyFault;
use crate::torch::device::DeviceRequest;
use crate::torch::dtype::Dtype;
use crate::torch::{abi, device, threads};
use std::sync::Arc;

/// What to compute on.
#[derive(clap::Args, Debug)]
pub struct ComputeArgs {
    /// Device: `auto`, `cpu`, `cuda` or `cuda:INDEX`.
    #[arg(long, default_value = "auto")]
    device: DeviceRequest,

    /// Dtype of weights, activations and caches: f32 on the CPU and bf16 elsewhere unless named.
    #[arg(long, value_enum)]
    dtype: Option<DtypeName>,

    /// Threads of one operator: `OMP_NUM_THREADS`, else all cores, unless named.
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
}

#[derive(clap::ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
enum DtypeName {
    /// 32-bit float.
    F32,
    /// Brain float.
    Bf16,
    /// 64-bit float.
    F64,
}

impl From<DtypeName> for ComputeDtype {
    fn from(name: DtypeName) -> Self {
        match name {
            DtypeName::F32 => Self::F32,
            DtypeName::Bf16 => Self::Bf16,
            DtypeName::F64 => Self::F64,
        }
    }
}

/// A machine, chosen once.
pub struct Compute {
    /// The device.
    pub device: tch::Device,
    /// Dtype of weights, activations and caches.
    pub dtype: Dtype,
    /// The attention kernel.
    pub backend: Arc<dyn Backend>,
}

impl Compute {
    /// What results say about it.
    pub fn identity(&self) -> MachineIdentity {
        MachineIdentity {
            libtorch: abi::release(abi::loaded_version()),
            dtype: self.dtype.name().to_owned(),
            device: device::name(self.device),
            backend: self.backend.name().to_owned(),
            num_threads: threads::threads(),
        }
    }
}

impl ComputeArgs {
    /// Chooses the device and sets the number of threads; the first thing to do before anything is computed.
    ///
    /// # Errors
    /// If an explicit choice cannot run: nothing else is used in its place.
    pub fn choose(&self) -> Result<Compute, AnyFault> {
        choose(&self.settings())
    }

    /// The same as a configuration says it.
    pub fn settings(&self) -> MachineSettings {
        MachineSettings {
            device: match self.device {
                DeviceRequest::Auto => ConfigDevice::Auto,
                DeviceRequest::Cpu => ConfigDevice::Cpu,
                DeviceRequest::Cuda(index) => ConfigDevice::Cuda(index.unwrap_or(0)),
            },
            dtype: self.dtype.map(ComputeDtype::from),
            threads: self.threads,
        }
    }
}

/// Chooses the device and sets the number of threads; the first thing to do before anything is computed.
///
/// # Errors
/// If an explicit choice cannot run: nothing else is used in its place.
pub fn choose(settings: &MachineSettings) -> Result<Compute, AnyFault> {
    let device = run_setup::device(settings.device)?;
    threads::choose_threads(settings.threads)?;
    let dtype = match (settings.dtype, device) {
        (None, tch::Device::Cpu) | (Some(ComputeDtype::F32), _) => Dtype::F32,
        (None | Some(ComputeDtype::Bf16), _) => Dtype::Bf16,
        (Some(ComputeDtype::F64), _) => Dtype::F64,
    };
    Ok(Compute {
        device,
        dtype,
        backend: Arc::from(choose::choose("auto", device)?),
    })
}
