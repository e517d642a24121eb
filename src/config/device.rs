//! Which device a run asks for, and whose kernels it computes with there.

/// `auto`, `cpu`, `cuda` or `cuda:INDEX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DeviceRequest {
    /// The first CUDA device that works, else the CPU; the choice is logged.
    Auto,
    /// The CPU.
    Cpu,
    /// One CUDA device, counted from 0 among the visible ones.
    Cuda(usize),
}

/// Whose kernels do what is no attention and no matrix product.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Default,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum KernelRequest {
    /// Our own on a CUDA device that can run them, else libtorch's; the choice is logged.
    #[default]
    Auto,
    /// libtorch's operators.
    Aten,
    /// Our own, compiled with NVRTC for the device; an error where they cannot run.
    Nvrtc,
}

/// A device name that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("is no device: use `auto`, `cpu`, `cuda` or `cuda:INDEX`")]
pub struct UnknownDevice;

impl std::str::FromStr for DeviceRequest {
    type Err = UnknownDevice;

    fn from_str(text: &str) -> Result<Self, UnknownDevice> {
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            _ => {
                let index = text.strip_prefix("cuda:").ok_or(UnknownDevice)?;
                index.parse().map(Self::Cuda).map_err(|_| UnknownDevice)
            }
        }
    }
}

impl TryFrom<String> for DeviceRequest {
    type Error = UnknownDevice;

    fn try_from(text: String) -> Result<Self, UnknownDevice> {
        text.parse()
    }
}

impl std::fmt::Display for DeviceRequest {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Auto => formatter.write_str("auto"),
            Self::Cpu => formatter.write_str("cpu"),
            Self::Cuda(index) => write!(formatter, "cuda:{index}"),
        }
    }
}

impl From<DeviceRequest> for String {
    fn from(device: DeviceRequest) -> Self {
        device.to_string()
    }
}

impl schemars::JsonSchema for DeviceRequest {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "DeviceRequest".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^(auto|cpu|cuda(:[0-9]+)?)$" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_printing_and_others_are_refused() {
        for device in [
            DeviceRequest::Auto,
            DeviceRequest::Cpu,
            DeviceRequest::Cuda(3),
        ] {
            assert_eq!(device.to_string().parse(), Ok(device));
        }
        assert_eq!("cuda".parse(), Ok(DeviceRequest::Cuda(0)));
        for text in ["", "gpu", "cuda:", "cuda:-1", "cuda:x", "CPU"] {
            assert_eq!(text.parse::<DeviceRequest>(), Err(UnknownDevice), "{text}");
        }
    }
}
