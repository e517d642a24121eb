//! What a command that runs a model computes on: device, dtype, threads, attention kernel.

use crate::attention::{Backend, choose};
use crate::fault::AnyFault;
use crate::torch::device::DeviceRequest;
use crate::torch::dtype::Dtype;
use crate::torch::threads;
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

impl From<DtypeName> for Dtype {
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

impl ComputeArgs {
    /// Chooses the device and sets the number of threads; the first thing to do before anything is computed.
    ///
    /// # Errors
    /// If an explicit choice cannot run: nothing else is used in its place.
    pub fn choose(&self) -> Result<Compute, AnyFault> {
        let choice = self.device.choose()?;
        threads::choose_threads(self.threads)?;
        let natural = match choice.device {
            tch::Device::Cpu => Dtype::F32,
            _ => Dtype::Bf16,
        };
        Ok(Compute {
            device: choice.device,
            dtype: self.dtype.map_or(natural, Dtype::from),
            backend: Arc::from(choose::choose("auto", choice.device)?),
        })
    }
}
