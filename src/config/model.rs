//! `[model]` of a training file: which weights, in which precision.

use crate::config::dtype::DtypeRequest;
use std::path::PathBuf;

/// The base model.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelSettings {
    /// Hugging Face folder with `config.json`, safetensors weights and `tokenizer.json`.
    pub path: PathBuf,
    /// Dtype of weights and activations: `auto`, `f32`, `bf16` or `f64`. Auto: bf16 on a GPU, and on a CPU whose products of bf16 a
    /// short probe finds clearly faster; else f32.
    #[serde(default)]
    pub dtype: DtypeRequest,
}
