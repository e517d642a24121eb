//! What a foreign file says, and what reading one needs.

use super::fold::Fold;
use crate::mask::error::MaskWarning;
use crate::mask::head_mask::HeadMask;
use crate::shape::AttentionShape;
use std::path::PathBuf;

/// One file, read whole.
#[derive(Debug, Clone)]
pub struct NamedBytes {
    /// Its path, as the caller names it.
    pub path: PathBuf,
    /// Its content.
    pub bytes: Vec<u8>,
}

/// Names, below a folder, and contents of what a format writes.
pub type Files = Vec<(&'static str, Vec<u8>)>;

/// The files of a mask in a foreign format.
#[derive(Debug, Clone)]
pub struct Input {
    /// The one with the values.
    pub main: NamedBytes,
    /// The settings beside it, where the format has them and they are there.
    pub config: Option<NamedBytes>,
}

/// What is known before reading.
#[derive(Debug, Clone, Copy, Default)]
pub struct Reading {
    /// The model's layout; without it the file's own extents are taken, and columns for kv heads.
    pub shape: Option<AttentionShape>,
    /// How groups of query heads become kv heads.
    pub fold: Option<Fold>,
}

/// What a foreign file says.
#[derive(Debug, Clone, PartialEq)]
pub struct Foreign {
    /// Decision or scores over kv heads.
    pub content: Content,
    /// Sink to deploy with, in tokens, where the file states it.
    pub sink_len: Option<usize>,
    /// Window to deploy with, in tokens, where the file states it.
    pub window_len: Option<usize>,
    /// What is odd about it.
    pub warnings: Vec<MaskWarning>,
}

/// Decision or scores.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// A decision: never cut again.
    Mask(HeadMask),
    /// Scores, higher = retrieval: a count or a sparsity makes a mask of them.
    Scores {
        /// Decoder blocks.
        num_layers: usize,
        /// Kv heads per layer.
        num_kv_heads: usize,
        /// Row-major, finite.
        scores: Vec<f64>,
    },
}

impl Foreign {
    /// Content without sizes and warnings.
    pub fn of(content: Content) -> Self {
        Self {
            content,
            sink_len: None,
            window_len: None,
            warnings: Vec::new(),
        }
    }
}

impl Content {
    /// Layers and kv heads per layer.
    pub fn extents(&self) -> (usize, usize) {
        match self {
            Self::Mask(mask) => (mask.num_layers(), mask.num_kv_heads()),
            Self::Scores {
                num_layers,
                num_kv_heads,
                ..
            } => (*num_layers, *num_kv_heads),
        }
    }
}
