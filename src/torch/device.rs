//! Which device to compute on.

use crate::torch::error::TorchError;
use crate::torch::{abi, cuda};
use std::fmt;
use std::str::FromStr;
use tch::Device;

/// What the user asked for: `auto`, `cpu`, `cuda` or `cuda:INDEX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceRequest {
    /// The first CUDA device where one can be used, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// A CUDA device; the first one if no index is given.
    Cuda(Option<usize>),
}

/// A device and why it was chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The device.
    pub device: Device,
    /// One sentence for the log.
    pub reason: String,
}

impl DeviceRequest {
    /// Chooses the device; the first thing to call before anything is computed.
    ///
    /// Loads the CUDA libraries unless the CPU is asked for, and checks that the loaded libtorch is the bound release.
    ///
    /// # Errors
    /// [`TorchError::Version`] for another libtorch; for an explicit CUDA device that cannot be used, the reason: `auto`
    /// falls back to the CPU there, an explicit request never does.
    pub fn choose(self) -> Result<Choice, TorchError> {
        abi::check_version()?;
        match self {
            Self::Cpu => Ok(Choice {
                device: Device::Cpu,
                reason: "asked for".to_owned(),
            }),
            Self::Auto => Ok(automatic(cuda::usable_devices())),
            Self::Cuda(index) => explicit(index.unwrap_or(0), cuda::usable_devices()),
        }
    }

    /// [`DeviceRequest::choose`] without the reason.
    ///
    /// # Errors
    /// As [`DeviceRequest::choose`].
    pub fn resolve(self) -> Result<Device, TorchError> {
        self.choose().map(|choice| choice.device)
    }
}

fn automatic(usable: Result<usize, TorchError>) -> Choice {
    match usable {
        Ok(count) => Choice {
            device: Device::Cuda(0),
            reason: format!("the first of {count} CUDA device(s)"),
        },
        Err(error) => Choice {
            device: Device::Cpu,
            reason: error.to_string(),
        },
    }
}

fn explicit(index: usize, usable: Result<usize, TorchError>) -> Result<Choice, TorchError> {
    let count = usable?;
    if index >= count {
        return Err(TorchError::DeviceIndex { index, count });
    }
    Ok(Choice {
        device: Device::Cuda(index),
        reason: "asked for".to_owned(),
    })
}

impl FromStr for DeviceRequest {
    type Err = TorchError;

    fn from_str(text: &str) -> Result<Self, TorchError> {
        let bad = || TorchError::DeviceName {
            text: text.to_owned(),
        };
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(None)),
            _ => {
                let digits = text.strip_prefix("cuda:").ok_or_else(bad)?;
                if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                    return Err(bad());
                }
                digits
                    .parse()
                    .map(|index| Self::Cuda(Some(index)))
                    .map_err(|_| bad())
            }
        }
    }
}

impl fmt::Display for DeviceRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(None) => f.write_str("cuda"),
            Self::Cuda(Some(index)) => write!(f, "cuda:{index}"),
        }
    }
}

/// Waits until `device` has done what was enqueued; the CPU always has.
pub fn wait(device: Device) {
    if let Device::Cuda(index) = device {
        tch::Cuda::synchronize(i64::try_from(index).unwrap_or(0));
    }
}

/// The stable word for a device in logs and results: `cpu` or `cuda:INDEX`.
pub fn name(device: Device) -> String {
    match device {
        Device::Cuda(index) => format!("cuda:{index}"),
        other => format!("{other:?}").to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::{Coded, Kind};

    #[test]
    fn every_device_name_survives_printing() {
        for text in ["auto", "cpu", "cuda", "cuda:0", "cuda:7"] {
            assert_eq!(text.parse::<DeviceRequest>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "gpu",
            "CUDA",
            "cuda:",
            "cuda:-1",
            "cuda:+1",
            "cuda:1x",
            "cuda:99999999999999999999",
        ] {
            let error = text.parse::<DeviceRequest>().unwrap_err();
            assert_eq!(error.kind(), Kind::Input);
            assert!(error.to_string().contains(&format!("`{text}`")));
        }
    }

    #[test]
    fn auto_falls_back_and_says_why_while_an_explicit_device_never_does() {
        let missing = || Err(TorchError::NoDevice);
        let choice = automatic(missing());
        assert_eq!(choice.device, Device::Cpu);
        assert!(choice.reason.contains("shows no device"));
        let error = explicit(0, missing()).unwrap_err();
        assert_eq!(
            (error.code(), error.kind()),
            ("env.no_device", Kind::Environment)
        );
        assert!(error.hint().is_some());

        assert_eq!(automatic(Ok(2)).device, Device::Cuda(0));
        assert_eq!(explicit(1, Ok(2)).unwrap().device, Device::Cuda(1));
        let error = explicit(2, Ok(2)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot use device `cuda:2`: the driver shows 2 device(s), counted from 0"
        );
    }

    #[test]
    fn the_cpu_is_always_there() {
        assert_eq!(DeviceRequest::Cpu.resolve().unwrap(), Device::Cpu);
        assert_eq!(name(Device::Cpu), "cpu");
        assert_eq!(name(Device::Cuda(3)), "cuda:3");
    }
}
