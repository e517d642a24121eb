//! `StreamingLLM` as published (arXiv 2309.17453): every head keeps sinks and a window, at positions inside the cache.
//!
//! With original positions it is the mask without retrieval heads under the `sliding` rule.

use super::{HeadGroup, Policy};
use crate::infer::cache::RowSpec;
use crate::infer::cache::sliding::SlidingCache;
use crate::infer::error::InferError;
use crate::model::rope::RopeTable;
use crate::span::Span;

/// Sinks and window of every head, and what turns a query to its place in the cache.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamingLlm {
    span: Span,
    rope: RopeTable,
}

impl StreamingLlm {
    /// `rope` is the model's.
    pub fn new(span: Span, rope: RopeTable) -> Self {
        Self { span, rope }
    }
}

impl Policy for StreamingLlm {
    fn open(&self, _layer: usize, spec: &RowSpec) -> Result<Vec<HeadGroup>, InferError> {
        let cache = SlidingCache::new(spec.clone(), self.span)?;
        Ok(vec![HeadGroup {
            num_kv_heads: spec.num_kv_heads,
            cache: Box::new(cache.with_cache_positions(self.rope.clone())),
        }])
    }
}
