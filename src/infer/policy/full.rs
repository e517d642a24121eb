//! Full attention: every head keeps every row.

use super::{HeadGroup, Policy};
use crate::infer::cache::RowSpec;
use crate::infer::cache::retrieval::RetrievalCache;
use crate::infer::error::InferError;

/// The baseline every other method is compared with.
#[derive(Debug, Clone, Copy)]
pub struct Full;

impl Policy for Full {
    fn open(&self, _layer: usize, spec: &RowSpec) -> Result<Vec<HeadGroup>, InferError> {
        Ok(vec![HeadGroup {
            num_kv_heads: spec.num_kv_heads,
            cache: Box::new(RetrievalCache::new(spec.clone())?),
        }])
    }
}
