//! What can go wrong between us and libtorch, the driver and the device.

use crate::fault::{Coded, Kind};
use std::path::PathBuf;

/// Errors of device choice, library loading and calls through the C ABI.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TorchError {
    /// A device name that is not one of ours.
    #[error("`{text}` is not a device: expected `auto`, `cpu`, `cuda` or `cuda:INDEX`")]
    DeviceName {
        /// What was given.
        text: String,
    },
    /// The program runs with another libtorch than it was built for.
    #[error("libtorch is version {found}, this program needs {expected}")]
    Version {
        /// The release this program binds.
        expected: String,
        /// The release that was loaded.
        found: String,
    },
    /// This libtorch has no CUDA libraries.
    #[error("cannot use CUDA: there is no libtorch_cuda.so in `{}`", folder.display())]
    CudaAbsent {
        /// The folder of the loaded libtorch.
        folder: PathBuf,
    },
    /// The CUDA libraries are there and do not load.
    #[error("cannot use CUDA: cannot load `{}`: {reason}", path.display())]
    CudaBroken {
        /// The library.
        path: PathBuf,
        /// The dynamic linker's answer.
        reason: String,
    },
    /// The NVIDIA driver is missing, too old, or refuses.
    #[error("cannot use CUDA: {reason}")]
    Driver {
        /// What the driver lacks or says.
        reason: String,
    },
    /// The driver works and shows no device.
    #[error("cannot use CUDA: the driver shows no device")]
    NoDevice,
    /// A device index beyond those that exist.
    #[error("cannot use device `cuda:{index}`: the driver shows {count} device(s), counted from 0")]
    DeviceIndex {
        /// The index asked for.
        index: usize,
        /// How many there are.
        count: usize,
    },
    /// A device whose memory is the host's.
    #[error(
        "cannot keep in host memory what a step saves: device `{device}` computes in that memory"
    )]
    NoOffload {
        /// The device's name.
        device: String,
    },
    /// A thread count outside what libtorch accepts.
    #[error("cannot use {count} threads: expected 1 to {max}")]
    Threads {
        /// The count asked for.
        count: usize,
        /// The largest count.
        max: usize,
    },
    /// A tensor does not fit the operation.
    #[error("cannot compute {operation}: `{tensor}` is {found}, expected {expected}")]
    Operand {
        /// The operation.
        operation: &'static str,
        /// The tensor's name in the operation's docs.
        tensor: &'static str,
        /// What it should be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// libtorch refused an operation whose operands had passed our checks.
    #[error("libtorch failed in {operation}: {reason}")]
    Operator {
        /// The operation.
        operation: &'static str,
        /// libtorch's text, or where it went.
        reason: String,
    },
}

/// libtorch's own words about a refusal, without the C++ frames that follow them.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Words(String);

impl From<tch::TchError> for Words {
    fn from(error: tch::TchError) -> Self {
        let text = error.to_string();
        Self(text.lines().next().unwrap_or_default().to_owned())
    }
}

impl Coded for TorchError {
    fn code(&self) -> &'static str {
        match self {
            Self::DeviceName { .. } => "env.device_name",
            Self::Version { .. } => "env.libtorch",
            Self::CudaAbsent { .. } => "env.cpu_libtorch",
            Self::CudaBroken { .. } => "env.cuda_library",
            Self::Driver { .. } => "env.driver",
            Self::NoDevice => "env.no_device",
            Self::DeviceIndex { .. } => "env.device_index",
            Self::NoOffload { .. } => "env.offload",
            Self::Threads { .. } => "env.threads",
            Self::Operand { .. } => "torch.operand",
            Self::Operator { .. } => "torch.operator",
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::DeviceName { .. } | Self::Threads { .. } | Self::Operand { .. } => Kind::Input,
            _ => Kind::Environment,
        }
    }

    fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Version { .. } => "run `make provision` and build again",
            Self::CudaAbsent { .. } => {
                "run `make provision` on the machine with the GPU, or choose device `cpu`"
            }
            Self::CudaBroken { .. } => {
                "delete `.libtorch` and run `make provision`, or choose device `cpu`"
            }
            Self::Driver { .. } => {
                "install an NVIDIA driver of release 580 or newer, or choose device `cpu`"
            }
            Self::NoDevice => {
                "check CUDA_VISIBLE_DEVICES and the permissions of /dev/nvidia*, or choose device `cpu`"
            }
            Self::DeviceIndex { .. } => {
                "choose a smaller index, or device `cuda` for the first one"
            }
            Self::NoOffload { .. } => {
                "there is nothing to gain: use `memory.offload = \"none\"` (`--offload none`), or a CUDA device"
            }
            _ => return None,
        };
        Some(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_keeps_its_reason_and_loses_its_frames() {
        let refused = tch::Tensor::f_empty([1 << 50], (tch::Kind::Float, tch::Device::Cpu));
        let error = refused.unwrap_err();
        assert!(error.to_string().contains("frame #0"));
        let words = Words::from(error).to_string();
        assert!(words.contains("can't allocate memory"), "{words}");
        assert!(!words.contains("frame") && !words.contains('\n'), "{words}");
    }
}
