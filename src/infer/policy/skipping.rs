//! Methods that keep everything and attend to a part of it while the prompt is read: the registry of patterns.
//!
//! They save compute, never memory: an entry that one query passes over is there for the next. Decoding reads every entry.

use super::a_shape::AShape;
use super::block_sparse::BlockSparse;
use super::moba::Moba;
use super::vertical_slash::VerticalSlash;
use super::{HeadGroup, Policy};
use crate::infer::cache::RowSpec;
use crate::infer::cache::pattern::Pattern;
use crate::infer::cache::skipping::SkippingCache;
use crate::infer::error::InferError;

/// A pattern and its settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(tag = "method", rename_all = "kebab-case")]
pub enum SkippingMethod {
    /// Sinks and a window.
    AShape(AShape),
    /// Columns and slashes of each head.
    VerticalSlash(VerticalSlash),
    /// Blocks of keys for each block of queries, by their means.
    BlockSparse(BlockSparse),
    /// Blocks of keys for each query, by their means.
    Moba(Moba),
}

impl SkippingMethod {
    /// The method's name in settings and results.
    pub fn name(&self) -> &'static str {
        match self {
            Self::AShape(_) => "a-shape",
            Self::VerticalSlash(_) => "vertical-slash",
            Self::BlockSparse(_) => "block-sparse",
            Self::Moba(_) => "moba",
        }
    }

    fn pattern(&self) -> Box<dyn Pattern> {
        match *self {
            Self::AShape(pattern) => Box::new(pattern),
            Self::VerticalSlash(pattern) => Box::new(pattern),
            Self::BlockSparse(pattern) => Box::new(pattern),
            Self::Moba(pattern) => Box::new(pattern),
        }
    }
}

impl Policy for SkippingMethod {
    fn open(&self, _layer: usize, spec: &RowSpec) -> Result<Vec<HeadGroup>, InferError> {
        Ok(vec![HeadGroup {
            num_kv_heads: spec.num_kv_heads,
            cache: Box::new(SkippingCache::new(spec.clone(), self.pattern())?),
        }])
    }
}
