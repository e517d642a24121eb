//! What a sidecar holds.

use crate::mask::arch::ArchFacts;
use crate::mask::gate_method::GateMethod;
use crate::mask::head_mask::HeadMask;
use crate::mask::rank::Ranks;
use crate::mask::rounding::Rounding;
use crate::span::{Span, StreamingRule};
use std::collections::BTreeMap;

/// A mask with its order, its gates and everything needed to use it without asking anybody.
#[derive(Debug, Clone, PartialEq)]
pub struct Sidecar {
    /// The decision; all that a consumer needs.
    pub mask: HeadMask,
    /// The order the decision was cut from; `rank < num_retrieval` is the mask.
    pub ranks: Ranks,
    /// Learned parameters of HardConcrete gates, row-major, finite; absent unless trained so.
    pub log_alpha: Option<Vec<f32>>,
    /// PruLong: sigmoid(1.2 `log_alpha`), which saturates and is never the source of the order. DuoAttention: the gate as the last
    /// update left it. Imported: the foreign score.
    pub gate_score: Option<Vec<f32>>,
    /// Rule that gave the count.
    pub rounding: Rounding,
    /// What was asked for, if a sparsity was.
    pub target_sparsity: Option<f64>,
    /// What ordered the heads.
    pub rank_source: RankSource,
    /// `trained`, or the foreign format's name.
    pub source: String,
    /// Version of the program that wrote the file.
    pub program_version: String,
    /// Span to deploy with.
    pub span: Span,
    /// Rule it was evaluated with; absent if never evaluated.
    pub streaming_rule: Option<StreamingRule>,
    /// Prefill chunk it was evaluated with, in tokens; absent if never evaluated.
    pub chunk_len: Option<usize>,
    /// How the gates were trained.
    pub training: Option<Training>,
    /// The model it belongs to.
    pub base: Base,
    /// Metadata this version does not know, kept as it was.
    pub other: BTreeMap<String, String>,
}

/// What ordered the heads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RankSource {
    /// Learned gates, descending, ties by (layer, kv head).
    LogAlpha,
    /// A foreign score.
    Score,
    /// A binary mask: retrieval heads first.
    Mask,
    /// The reference's order.
    Reference,
}

const RANK_SOURCES: [(RankSource, &str); 4] = [
    (RankSource::LogAlpha, "log_alpha"),
    (RankSource::Score, "score"),
    (RankSource::Mask, "mask"),
    (RankSource::Reference, "reference"),
];

/// Facts about the training run.
#[derive(Debug, Clone, PartialEq)]
pub struct Training {
    /// How the gates were trained.
    pub method: GateMethod,
    /// Span the gates saw.
    pub span: Span,
    /// Tokens per row.
    pub seq_len: usize,
    /// Optimizer steps the gates have seen.
    pub num_steps: u64,
    /// Seed.
    pub seed: u64,
    /// Sparsity that the gates were trained for; absent if its method has no target.
    pub target_sparsity: Option<f64>,
    /// Fingerprint of the packed data.
    pub data_id: String,
    /// SHA-256 of the resolved configuration.
    pub config_sha256: String,
}

/// The model a mask belongs to.
#[derive(Debug, Clone, PartialEq)]
pub struct Base {
    /// Hub name or folder name; advisory.
    pub model: String,
    /// Hub commit.
    pub revision: Option<String>,
    /// Architecture; its fingerprint is the hard check.
    pub arch: ArchFacts,
    /// Digest of the key projections.
    pub weights_sha256: Option<String>,
    /// Whether the weights trained together with the gates.
    pub weights_modified: bool,
    /// Architecture fingerprint of the model it was bound to before its vocabulary was enlarged.
    pub rebased_from: Option<String>,
}

impl RankSource {
    /// The name in mask files.
    pub fn name(self) -> &'static str {
        RANK_SOURCES
            .into_iter()
            .find_map(|(source, name)| (source == self).then_some(name))
            .unwrap_or_default()
    }

    /// The source of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        RANK_SOURCES
            .into_iter()
            .find_map(|(source, known)| (known == name).then_some(source))
    }
}
