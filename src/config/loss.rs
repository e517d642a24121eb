//! `[loss]` and `[memory]`: how a step's loss is averaged, and what the step keeps instead of recomputing.

use crate::config::check;
use crate::config::error::Bad;

/// What the summed cross-entropy of a step is divided by.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Reduction {
    /// Valid labels of each micro-batch, then the plain mean over micro-batches.
    Mean,
    /// The running mean, over all micro-batches so far, of the number of valid labels.
    TokenScaled,
    /// Valid labels of the whole step.
    ExactTokens,
}

/// The language-model loss.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LossSettings {
    /// How it is averaged. Mean: the reference's value for mask training.
    #[serde(default = "mean")]
    pub reduction: Reduction,
    /// Tokens whose logits exist at one time; DuoAttention has no logits. 1024: 0.5 GB of f32 at Llama 3's vocabulary, far below
    /// one row's activations.
    #[serde(default = "thousand")]
    pub chunk_len: usize,
}

/// What the backward pass finds in memory.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
pub enum Saving {
    /// Each layer's input; attention runs again.
    #[serde(rename = "x")]
    Inputs,
    /// Each layer's input, attention outputs and their logsumexp; attention does not run again.
    #[serde(rename = "x+attention")]
    InputsAndAttention,
    /// Everything; nothing runs again.
    #[serde(rename = "all")]
    All,
}

/// Where what is saved waits for the backward pass.
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
#[serde(rename_all = "kebab-case")]
pub enum Offload {
    /// On the device.
    #[default]
    None,
    /// In pinned host memory, but for the last layer's; CUDA devices only.
    Host,
}

/// Memory against recomputation, and against copies.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MemorySettings {
    /// What is saved. `x+attention`: attention is the one part that is dear to recompute at long context.
    #[serde(default = "inputs_and_attention")]
    pub saving: Saving,
    /// Where it waits. `none`: copies take time from computing, and what is saved fits where the row is not too long.
    #[serde(default)]
    pub offload: Offload,
    /// Tokens that pass the MLP at one time. 4096: large enough to keep the matrix units busy.
    #[serde(default = "four_thousand")]
    pub mlp_chunk_len: usize,
}

fn mean() -> Reduction {
    Reduction::Mean
}

fn thousand() -> usize {
    1024
}

fn inputs_and_attention() -> Saving {
    Saving::InputsAndAttention
}

fn four_thousand() -> usize {
    4096
}

impl Default for LossSettings {
    fn default() -> Self {
        let (reduction, chunk_len) = (mean(), thousand());
        Self {
            reduction,
            chunk_len,
        }
    }
}

impl Default for MemorySettings {
    fn default() -> Self {
        let (saving, mlp_chunk_len) = (inputs_and_attention(), four_thousand());
        Self {
            saving,
            offload: Offload::None,
            mlp_chunk_len,
        }
    }
}

impl LossSettings {
    pub(super) fn check(&self) -> Result<(), Bad> {
        check::len("loss.chunk_len", self.chunk_len)
    }

    /// Refuses what a loss without logits has no use for; the default says nothing.
    pub(super) fn check_duo(&self, when: &str) -> Result<(), Bad> {
        let changed = (self.chunk_len != thousand()).then_some(&self.chunk_len);
        check::unused("loss.chunk_len", changed, when)
    }
}

impl MemorySettings {
    pub(super) fn check(&self) -> Result<(), Bad> {
        check::len("memory.mlp_chunk_len", self.mlp_chunk_len)
    }
}
