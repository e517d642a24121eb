//! What a method of a finished run held, made of what its results say.

use super::method::MethodKind;
use super::method_spec::MethodSpec;
use super::results::{MethodResult, Part};
use crate::footprint::holdings::{Holdings, StreamingHeads};
use crate::infer::policy::evicting::EvictionPolicy;
use crate::span::{Span, StreamingRule};

/// What `method` held in the model of `part`; nothing where the results do not say.
pub(super) fn holdings(part: &Part, method: &MethodResult) -> Option<Holdings> {
    let shape = &part.model.shape;
    let streaming = part.streaming;
    let span = streaming.and_then(|of| Span::new(of.sink_len, of.window_len, 1).ok());
    match method.kind {
        MethodKind::Full | MethodKind::Skipping => Some(Holdings::All),
        MethodKind::Mask | MethodKind::Random | MethodKind::AllStreaming => {
            let layers = method.retrieval_mask.as_ref()?;
            let num_streaming = |layer: &String| layer.matches('0').count();
            Some(Holdings::Heads {
                streaming: StreamingHeads::Counted {
                    per_layer: layers.iter().map(num_streaming).collect(),
                    num_kv_heads: shape.num_kv_heads,
                },
                span: span?,
                rule: streaming?.rule,
            })
        }
        MethodKind::StreamingLlm => Some(Holdings::all_streaming(span?, StreamingRule::Sliding)),
        MethodKind::Eviction => match method.name.parse().ok()? {
            MethodSpec::Evicting(ranking, settings) => {
                let policy = EvictionPolicy::new(ranking, settings, shape.num_layers).ok()?;
                Some(policy.holdings(shape.group_size()))
            }
            _ => None,
        },
    }
}
