//! From a Hugging Face folder to a model in memory.

use super::config::{ModelConfig, WeightDtype};
use super::error::ModelError;
use super::llama::Llama;
use super::tensor_names;
use super::weights::{Weights, load_all};
use super::weights_error::TensorFault;
use std::collections::BTreeMap;
use std::path::Path;
use tch::{Device, Kind, Tensor};

impl Llama {
    /// Loads configuration and weights of the folder `dir`, converted to `kind` on `device`.
    ///
    /// # Errors
    /// As [`ModelConfig::load`] and [`load_all`].
    pub fn load(dir: &Path, kind: Kind, device: Device) -> Result<Self, ModelError> {
        let config = ModelConfig::load(dir)?;
        let tensors = load_all(dir, &config, kind, device)?;
        Self::assemble(dir, config, tensors)
    }

    /// As [`Self::load`], for inference alone: with the gates of native sparse attention where the folder carries them, and
    /// with bf16 matrices left as they are where f32 is computed on the CPU.
    ///
    /// The products widen them, which is exact; half of the memory is held, and read for every decoded token.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_for_inference(dir: &Path, kind: Kind, device: Device) -> Result<Self, ModelError> {
        let config = ModelConfig::load(dir)?;
        let is_widened = kind == Kind::Float && device == Device::Cpu;
        let kind_of = |name: &str, stored| match stored {
            WeightDtype::Bf16 if is_widened && tensor_names::is_matrix(name) => Kind::BFloat16,
            _ => kind,
        };
        let tensors = Weights::open_gated(dir, &config)?.all(&config, kind_of, device)?;
        Self::assemble(dir, config, tensors)
    }

    fn assemble(
        dir: &Path,
        config: ModelConfig,
        tensors: BTreeMap<String, Tensor>,
    ) -> Result<Self, ModelError> {
        Self::from_tensors(config, tensors).map_err(|missing| ModelError::Tensors {
            path: dir.to_path_buf(),
            source: TensorFault::Missing {
                name: missing.name().to_owned(),
            },
        })
    }
}
