//! From a Hugging Face folder to a model in memory.

use super::config::ModelConfig;
use super::error::ModelError;
use super::llama::Llama;
use super::weights::load_all;
use super::weights_error::TensorFault;
use std::path::Path;
use tch::{Device, Kind};

impl Llama {
    /// Loads configuration and weights of the folder `dir`, converted to `kind` on `device`.
    ///
    /// # Errors
    /// As [`ModelConfig::load`] and [`load_all`].
    pub fn load(dir: &Path, kind: Kind, device: Device) -> Result<Self, ModelError> {
        let config = ModelConfig::load(dir)?;
        let tensors = load_all(dir, &config, kind, device)?;
        Self::from_tensors(config, tensors).map_err(|missing| ModelError::Tensors {
            path: dir.to_path_buf(),
            source: TensorFault::Missing {
                name: missing.name().to_owned(),
            },
        })
    }
}
