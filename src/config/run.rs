//! `[run]` and `[checkpoint]`: where a run computes, how often it reports and saves.
//!
//! **Invariant:** nothing of [`RunSettings`] and [`CheckpointSettings`] changes a result.

use crate::config::check;
use crate::config::device::{DeviceRequest, KernelRequest};
use crate::config::dtype::DtypeRequest;
use crate::config::error::Bad;

/// Reporting and the machine.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunSettings {
    /// Steps between two lines of progress and of the metrics. 1: a step takes seconds, a line bytes.
    #[serde(default = "one")]
    pub log_every: u64,
    /// Where to compute. Auto: the same file runs on a laptop and on a GPU; the choice is logged.
    #[serde(default = "auto")]
    pub device: DeviceRequest,
    /// Whose kernels compute on a GPU: `auto`, `aten` or `nvrtc`. Auto: our own where they run; the choice is logged.
    #[serde(default)]
    pub kernels: KernelRequest,
    /// Threads of the CPU kernels; absent = `OMP_NUM_THREADS`, else one per core.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threads: Option<usize>,
    /// Library that multiplies f32 matrices on the CPU; absent = the one that a short probe finds faster. It is part of the
    /// rounding, so the choice is logged and stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub products: Option<ProductsRequest>,
}

/// What an evaluation computes on; all of it is part of the rounding, so results store what was chosen.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MachineSettings {
    /// Where to compute. Auto: the same file runs on a laptop and on a GPU.
    #[serde(default = "auto")]
    pub device: DeviceRequest,
    /// Whose kernels compute on a GPU: `auto`, `aten` or `nvrtc`. Auto: our own where they run.
    #[serde(default)]
    pub kernels: KernelRequest,
    /// Dtype of weights, activations and caches, as `model.dtype` of a training run.
    #[serde(default)]
    pub dtype: DtypeRequest,
    /// Threads of the CPU kernels; absent = `OMP_NUM_THREADS`, else one per core.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threads: Option<usize>,
    /// Library that multiplies f32 matrices on the CPU; absent = the one that a short probe finds faster. It is part of the
    /// rounding, so the choice is logged and stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub products: Option<ProductsRequest>,
}

/// A library that multiplies f32 matrices on the CPU.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum ProductsRequest {
    /// Intel's, as libtorch does by itself.
    Mkl,
    /// oneDNN.
    OneDnn,
}

/// Which states are kept on disk.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckpointSettings {
    /// Steps between two checkpoints.
    pub every: u64,
    /// Newest checkpoints kept. 3: a bad newest one leaves two to fall back to.
    #[serde(default = "three")]
    pub keep_last: u64,
    /// Checkpoints at multiples of so many steps are kept for good; absent = none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_every: Option<u64>,
    /// Longest time a save waits for space on a full disk, in seconds; then the run ends with code 4.
    #[serde(default = "ten_minutes")]
    pub full_disk_wait_s: u64,
}

fn one() -> u64 {
    1
}

fn auto() -> DeviceRequest {
    DeviceRequest::Auto
}

fn three() -> u64 {
    3
}

fn ten_minutes() -> u64 {
    600
}

impl Default for RunSettings {
    fn default() -> Self {
        Self {
            log_every: one(),
            device: auto(),
            kernels: KernelRequest::Auto,
            threads: None,
            products: None,
        }
    }
}

impl Default for MachineSettings {
    fn default() -> Self {
        Self {
            device: auto(),
            kernels: KernelRequest::Auto,
            dtype: DtypeRequest::Auto,
            threads: None,
            products: None,
        }
    }
}

impl MachineSettings {
    pub(super) fn check(&self) -> Result<(), Bad> {
        self.threads
            .map_or(Ok(()), |threads| check::len("run.threads", threads))
    }
}

impl RunSettings {
    pub(super) fn check(&self) -> Result<(), Bad> {
        check::count("run.log_every", self.log_every)?;
        self.threads
            .map_or(Ok(()), |threads| check::len("run.threads", threads))
    }
}

impl CheckpointSettings {
    pub(super) fn check(&self) -> Result<(), Bad> {
        check::count("checkpoint.every", self.every)?;
        check::count("checkpoint.keep_last", self.keep_last)?;
        self.keep_every
            .map_or(Ok(()), |every| check::count("checkpoint.keep_every", every))
    }
}
