//! `[model]` of a training file: which weights, in which precision.

use std::path::PathBuf;

/// Storage type of weights and activations; gates, multipliers, optimizer state and reductions are always f32 or wider.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Dtype {
    /// 32-bit floats.
    F32,
    /// bfloat16.
    Bf16,
}

/// The base model.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelSettings {
    /// Hugging Face folder with `config.json`, safetensors weights and `tokenizer.json`.
    pub path: PathBuf,
    /// Precision of weights and activations; no default, because it changes results and speed alike.
    pub dtype: Dtype,
}
