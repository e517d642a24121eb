//! What a command that runs a model computes on: device, dtype, threads, attention kernel.

use crate::attention::choose::{self as attention, Case};
use crate::attention::{AttentionError, Backend};
use crate::cli::amounts::parse_word;
use crate::cli::{kernels, output, run_setup};
use crate::config::device::{DeviceRequest as ConfigDevice, KernelRequest};
use crate::config::dtype::{Dtype, DtypeRequest};
use crate::config::run::{MachineSettings, ProductsRequest};
use crate::eval::results::MachineIdentity;
use crate::fault::AnyFault;
use crate::shape::AttentionShape;
use crate::torch::device::DeviceRequest;
use crate::torch::dtype::DtypeChoice;
use crate::torch::{abi, device, threads};
use std::sync::Arc;

/// What to compute on.
#[derive(clap::Args, Debug)]
pub struct ComputeArgs {
    /// Device: `auto`, `cpu`, `cuda` or `cuda:INDEX`.
    #[arg(long, default_value = "auto")]
    device: DeviceRequest,

    /// Dtype of weights, activations and caches: `auto`, `f32`, `bf16` or `f64`. Auto: bf16 on a GPU, and on a CPU whose products of
    /// bf16 a short probe finds clearly faster; else f32.
    #[arg(long, default_value = "auto", value_parser = parse_word::<DtypeRequest>)]
    dtype: DtypeRequest,

    /// Threads of one operator: `OMP_NUM_THREADS`, else all cores, unless named.
    #[arg(long, value_name = "N")]
    threads: Option<usize>,

    /// Library that multiplies f32 matrices on the CPU: the one that a short probe finds faster, unless named.
    #[arg(long, value_enum)]
    products: Option<ProductsName>,
}

#[derive(clap::ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
enum ProductsName {
    /// Intel's, as libtorch does by itself.
    Mkl,
    /// oneDNN.
    Onednn,
}

impl From<ProductsName> for ProductsRequest {
    fn from(name: ProductsName) -> Self {
        match name {
            ProductsName::Mkl => Self::Mkl,
            ProductsName::Onednn => Self::OneDnn,
        }
    }
}

/// A machine, chosen once.
pub struct Compute {
    /// The device.
    pub device: tch::Device,
    /// Dtype of weights, activations and caches.
    pub dtype: Dtype,
    /// Why that dtype.
    pub dtype_reason: &'static str,
    /// The attention kernel.
    pub backend: Arc<dyn Backend>,
    /// Why that kernel.
    pub backend_reason: String,
    /// Whose other kernels.
    pub kernels: &'static str,
}

impl Compute {
    /// What results say about it.
    pub fn identity(&self) -> MachineIdentity {
        MachineIdentity {
            libtorch: abi::release(abi::loaded_version()),
            dtype: self.dtype.name().to_owned(),
            device: device::name(self.device),
            backend: self.backend.name().to_owned(),
            products: run_setup::products_name(self.device).to_owned(),
            kernels: self.kernels.to_owned(),
            num_threads: threads::threads(),
        }
    }
}

impl Compute {
    /// Attends with the kernel of this name, in place of the one chosen.
    ///
    /// # Errors
    /// If it is unknown or cannot run.
    pub fn attend_with(&mut self, name: &str) -> Result<(), AttentionError> {
        let case = Case {
            device: self.device,
            kind: self.dtype.kind(),
        };
        let choice = attention::choose(name, case)?;
        self.backend = Arc::from(choice.backend);
        self.backend_reason = choice.reason;
        Ok(())
    }

    /// Refuses a model that the attention kernel cannot compute.
    ///
    /// # Errors
    /// Its heads are too wide.
    pub fn check(&self, shape: &AttentionShape) -> Result<(), AttentionError> {
        attention::check_head_dim(&*self.backend, shape.head_dim)
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
            dtype: self.dtype,
            kernels: KernelRequest::Auto,
            threads: self.threads,
            products: self.products.map(ProductsRequest::from),
        }
    }
}

/// Chooses the device and sets the number of threads; the first thing to do before anything is computed.
///
/// # Errors
/// If an explicit choice cannot run: nothing else is used in its place.
pub fn choose(settings: &MachineSettings) -> Result<Compute, AnyFault> {
    let device = run_setup::device(settings.device)?;
    run_setup::arithmetic(device, settings.threads, settings.products)?;
    let dtype = DtypeChoice::new(settings.dtype, device);
    let kind = dtype.dtype.kind();
    let kernels = kernels::choose(settings.kernels, device, kind)?;
    if kernels.reason.is_some() {
        output::note(kernels.phrase());
    }
    let choice = attention::choose("auto", Case { device, kind })?;
    Ok(Compute {
        device,
        dtype: dtype.dtype,
        dtype_reason: dtype.reason,
        backend: Arc::from(choice.backend),
        backend_reason: choice.reason,
        kernels: kernels.name,
    })
}
