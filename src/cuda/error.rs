//! What can go wrong between a kernel's source and its result.

use crate::fault::{Coded, Kind};
use std::path::PathBuf;

/// Errors of finding the compiler, compiling, loading and launching.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CudaError {
    /// There is no NVRTC.
    #[error(
        "there is no NVRTC (`{library}`), neither in `{}` nor where the dynamic linker looks",
        folder.display()
    )]
    NvrtcAbsent {
        /// The library.
        library: String,
        /// The folder beside libtorch in which it was looked for.
        folder: PathBuf,
    },
    /// A source does not compile.
    #[error("NVRTC {version} cannot compile `kernels/{file}` for {arch}:\n{log}")]
    Compile {
        /// The compiler's version.
        version: String,
        /// Name of the source.
        file: &'static str,
        /// The architecture compiled for.
        arch: String,
        /// The compiler's text.
        log: String,
    },
    /// The compiler failed in something else than the source.
    #[error("NVRTC failed to {action} `kernels/{file}`: {reason}")]
    Compiler {
        /// What it was asked for.
        action: &'static str,
        /// Name of the source.
        file: &'static str,
        /// Its code.
        reason: String,
    },
    /// The driver refused.
    #[error("the NVIDIA driver cannot {action}: {reason}")]
    Driver {
        /// What it was asked for.
        action: String,
        /// Its words.
        reason: String,
    },
    /// libtorch does not tell its stream.
    #[error("libtorch does not tell its current CUDA stream: {reason}")]
    Stream {
        /// What is missing, or the code that came back.
        reason: String,
    },
    /// A tensor does not fit a kernel.
    #[error("cannot start {operation}: `{tensor}` is {found}, expected {expected}")]
    Operand {
        /// The operation.
        operation: &'static str,
        /// The tensor's name in the launcher's docs.
        tensor: &'static str,
        /// What it should be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// A size is beyond what a kernel was written for.
    #[error("cannot start {operation}: {what} is {found}, the kernel takes at most {limit}")]
    Limit {
        /// The operation.
        operation: &'static str,
        /// The size's name.
        what: &'static str,
        /// What it is.
        found: i64,
        /// The largest.
        limit: i64,
    },
    /// Kernels were asked for where they cannot run.
    #[error("kernels `{request}` cannot run: {reason}")]
    Unavailable {
        /// The setting.
        request: &'static str,
        /// Why not.
        reason: String,
    },
}

impl Coded for CudaError {
    fn code(&self) -> &'static str {
        match self {
            Self::NvrtcAbsent { .. } => "kernels.nvrtc_absent",
            Self::Compile { .. } => "kernels.compile",
            Self::Compiler { .. } => "kernels.compiler",
            Self::Driver { .. } => "kernels.driver",
            Self::Stream { .. } => "kernels.stream",
            Self::Operand { .. } => "kernels.operand",
            Self::Limit { .. } => "kernels.limit",
            Self::Unavailable { .. } => "kernels.unavailable",
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Operand { .. } | Self::Limit { .. } => Kind::Input,
            _ => Kind::Environment,
        }
    }

    fn hint(&self) -> Option<String> {
        let text = match self {
            Self::NvrtcAbsent { .. } => {
                "run `make provision`; beside a libtorch of your own (LIBTORCH, LIBTORCH_USE_PYTORCH) install nvidia-cuda-nvrtc 13"
            }
            Self::Compile { .. } | Self::Compiler { .. } | Self::Driver { .. } => {
                "set `run.kernels = \"aten\"` to compute without kernels of our own"
            }
            Self::Unavailable { .. } => "use `run.kernels = \"auto\"`",
            _ => return None,
        };
        Some(text.to_owned())
    }
}
