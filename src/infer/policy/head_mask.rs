//! A head mask: retrieval heads keep every row, streaming heads keep sinks and a window under one of three rules.
//!
//! StreamingLLM with original positions is the mask without retrieval heads under [`StreamingRule::Sliding`].
//!
//! **Invariant:** the model's kv heads are permuted so that a layer's retrieval heads come first ([`HeadMaskPolicy::order`]);
//! masks stay in checkpoint order everywhere else.

use super::{HeadGroup, Policy};
use crate::infer::cache::duo_chunk::DuoChunkCache;
use crate::infer::cache::frozen_prompt::FrozenPromptCache;
use crate::infer::cache::retrieval::RetrievalCache;
use crate::infer::cache::sliding::SlidingCache;
use crate::infer::cache::{HeadCache, RowSpec};
use crate::infer::error::InferError;
use crate::mask::head_mask::HeadMask;
use crate::span::{Span, StreamingRule};

/// Retrieval heads per layer, and how the others stream.
#[derive(Debug, Clone)]
pub struct HeadMaskPolicy {
    order: Vec<Vec<usize>>,
    num_retrieval: Vec<usize>,
    span: Span,
    rule: StreamingRule,
}

impl HeadMaskPolicy {
    /// Reads off the order and the counts of `mask`.
    pub fn new(mask: &HeadMask, span: Span, rule: StreamingRule) -> Self {
        let layers = || (0..mask.num_layers()).map(|layer| mask.layer(layer));
        Self {
            order: layers().map(retrieval_first).collect(),
            num_retrieval: layers()
                .map(|flags| flags.iter().filter(|flag| **flag).count())
                .collect(),
            span,
            rule,
        }
    }

    /// Per layer, the kv heads in the order in which the model must hold them: retrieval heads first, each class in its
    /// own order.
    pub fn order(&self) -> &[Vec<usize>] {
        &self.order
    }

    fn streaming(&self, spec: RowSpec) -> Result<Box<dyn HeadCache>, InferError> {
        Ok(match self.rule {
            StreamingRule::DuoChunk => Box::new(DuoChunkCache::new(spec, self.span)?),
            StreamingRule::Sliding => Box::new(SlidingCache::new(spec, self.span)?),
            StreamingRule::FrozenPrompt => Box::new(FrozenPromptCache::new(spec, self.span)?),
        })
    }
}

impl Policy for HeadMaskPolicy {
    fn open(&self, layer: usize, spec: &RowSpec) -> Result<Vec<HeadGroup>, InferError> {
        let num_retrieval = self.num_retrieval[layer];
        let num_streaming = spec.num_kv_heads - num_retrieval;
        let part = |num_kv_heads| RowSpec {
            num_kv_heads,
            ..spec.clone()
        };
        let mut groups = Vec::new();
        if num_retrieval > 0 {
            groups.push(HeadGroup {
                num_kv_heads: num_retrieval,
                cache: Box::new(RetrievalCache::new(part(num_retrieval))?),
            });
        }
        if num_streaming > 0 {
            groups.push(HeadGroup {
                num_kv_heads: num_streaming,
                cache: self.streaming(part(num_streaming))?,
            });
        }
        Ok(groups)
    }
}

fn retrieval_first(flags: &[bool]) -> Vec<usize> {
    let of = |kind: bool| (0..flags.len()).filter(move |head| flags[*head] == kind);
    of(true).chain(of(false)).collect()
}

/// The order that undoes `order`, layer by layer.
pub fn inverse(order: &[Vec<usize>]) -> Vec<Vec<usize>> {
    order
        .iter()
        .map(|heads| {
            let mut back = vec![0; heads.len()];
            for (place, head) in heads.iter().enumerate() {
                back[*head] = place;
            }
            back
        })
        .collect()
}
