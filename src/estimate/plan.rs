//! The question: which model, how long a row, what the step keeps, where its gates stand.

use super::sizes::ModelSizes;
use crate::config::dtype::Dtype;
use crate::config::loss::{LossSettings, MemorySettings};
use crate::span::Span;

/// Where the gates of a step stand; every layer is taken to be alike.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Gates {
    /// All strictly between 0 and 1: both branches run for every head. The largest step there is.
    Between,
    /// DuoAttention's: a teacher runs full attention for every head, forward alone, and a student streaming attention.
    Distilled,
    /// All at an end, and this share at 0: one branch runs for each head.
    Ends {
        /// Share of streaming kv heads, in [0, 1].
        sparsity: f64,
    },
    /// These shares of the kv heads run each branch: what is counted of sampled gates.
    Shares {
        /// Gates above 0.
        full: f64,
        /// Gates below 1.
        streaming: f64,
    },
}

impl Gates {
    /// Share of kv heads that run full attention.
    pub fn full_share(self) -> f64 {
        match self {
            Self::Between | Self::Distilled => 1.0,
            Self::Ends { sparsity } => 1.0 - sparsity,
            Self::Shares { full, .. } => full,
        }
    }

    /// Share of kv heads that run streaming attention.
    pub fn streaming_share(self) -> f64 {
        match self {
            Self::Between | Self::Distilled => 1.0,
            Self::Ends { sparsity } => sparsity,
            Self::Shares { streaming, .. } => streaming,
        }
    }

    /// Share of kv heads whose full attention goes back too.
    pub fn full_backward_share(self) -> f64 {
        match self {
            Self::Distilled => 0.0,
            _ => self.full_share(),
        }
    }

    /// Whether a teacher runs beside the model.
    pub fn has_teacher(self) -> bool {
        self == Self::Distilled
    }

    /// Whether both branches have heads, so that their outputs have to be mixed.
    pub fn is_mixed(self) -> bool {
        self.full_share() > 0.0 && self.streaming_share() > 0.0
    }
}

/// Which weights train.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum WeightUpdates {
    /// None: gates alone.
    Frozen,
    /// All, with `AdamW` on f32 masters.
    AdamW,
}

/// One training step, as far as its cost is concerned.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The model.
    pub model: ModelSizes,
    /// Tokens of a row, one document: several cost less.
    pub num_tokens: usize,
    /// What streaming heads see.
    pub span: Span,
    /// Dtype of weights and activations.
    pub dtype: Dtype,
    /// What the forward pass keeps, and the feed-forward's chunks.
    pub memory: MemorySettings,
    /// The loss's chunks.
    pub loss: LossSettings,
    /// Where gates stand.
    pub gates: Gates,
    /// Which weights train.
    pub weights: WeightUpdates,
}
