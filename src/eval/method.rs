//! One way to keep keys and values: its kind, its name, and the caches' policy it stands for.

use super::error::EvalError;
use crate::fault::AnyFault;
use crate::footprint::holdings::{Holdings, StreamingHeads};
use crate::infer::cache::branches::Branches;
use crate::infer::policy::Policy;
use crate::infer::policy::evicting::EvictionPolicy;
use crate::infer::policy::full::Full;
use crate::infer::policy::head_mask::HeadMaskPolicy;
use crate::infer::policy::nsa::Nsa;
use crate::infer::policy::skipping::SkippingMethod;
use crate::infer::policy::streaming_llm::StreamingLlm;
use crate::mask::head_mask::HeadMask;
use crate::model::llama::Llama;
use crate::span::{Span, StreamingRule};
use serde_json::{Value, json};

/// Sink and window of streaming heads, and the rule that applies them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Streaming {
    /// Sink and window, token-exact.
    pub span: Span,
    /// What a streaming head sees of a chunk.
    pub rule: StreamingRule,
}

impl std::fmt::Display for Streaming {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (sink, window) = (self.span.sink_len(), self.span.window_len());
        write!(
            f,
            "{} with sink {sink} and window {window}",
            self.rule.name()
        )
    }
}

/// Methods of one kind share a column in tables.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum MethodKind {
    /// Every head keeps everything.
    Full,
    /// The mask under test.
    Mask,
    /// A random mask with as many retrieval heads.
    Random,
    /// No head is a retrieval head.
    AllStreaming,
    /// The same at positions inside the cache.
    StreamingLlm,
    /// A ranked share of each chunk is kept: every setting a column of its own.
    Eviction,
    /// Everything is kept, and a part of it attended: every setting a column of its own.
    Skipping,
}

/// What a method keeps.
#[derive(Debug, Clone, PartialEq)]
pub enum Keeps {
    /// Everything.
    All,
    /// What a mask says, streaming heads so.
    Mask(HeadMask, Streaming),
    /// Sinks and window of every head, at positions inside the cache.
    InCache(Span),
    /// A ranked share of each chunk.
    Ranked(EvictionPolicy),
    /// Everything, of which queries of the prompt attend to a part.
    Skipping(SkippingMethod),
    /// Everything, read by branches that the model was trained with.
    Nsa(Branches),
}

/// One way to keep keys and values.
#[derive(Debug, Clone, PartialEq)]
pub struct Method {
    /// Its kind.
    pub kind: MethodKind,
    /// Unique name: the kind, numbered where there are several; random masks of several sizes have theirs in it,
    /// methods that evict or skip their settings.
    pub name: String,
    /// Name of the mask file it stands for; nothing for other methods and random masks.
    pub mask_name: Option<String>,
    /// What it keeps.
    pub keeps: Keeps,
}

impl MethodKind {
    /// The word in tables and results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Mask => "mask",
            Self::Random => "random",
            Self::AllStreaming => "all-streaming",
            Self::StreamingLlm => "streaming-llm",
            Self::Eviction => "eviction",
            Self::Skipping => "skipping",
        }
    }

    /// Whether every method of this kind is a column of its own, under its own name.
    pub fn stands_alone(self) -> bool {
        matches!(self, Self::Eviction | Self::Skipping)
    }
}

impl Keeps {
    /// What this holds in a model of `group_size` heads per kv head.
    pub fn holdings(&self, group_size: usize) -> Holdings {
        match self {
            Self::All | Self::Skipping(_) | Self::Nsa(_) => Holdings::All,
            Self::Mask(mask, streaming) => streaming.holdings(mask),
            Self::InCache(span) => Holdings::all_streaming(*span, StreamingRule::Sliding),
            Self::Ranked(policy) => policy.holdings(group_size),
        }
    }
}

impl Streaming {
    /// What a mask holds whose streaming heads stream so.
    pub fn holdings(&self, mask: &HeadMask) -> Holdings {
        let streaming = |layer| {
            let flags = mask.layer(layer).iter();
            flags.filter(|retrieval| !**retrieval).count()
        };
        Holdings::Heads {
            streaming: StreamingHeads::Counted {
                per_layer: (0..mask.num_layers()).map(streaming).collect(),
                num_kv_heads: mask.num_kv_heads(),
            },
            span: self.span,
            rule: self.rule,
        }
    }
}

impl Method {
    /// Full attention.
    pub(super) fn full() -> Self {
        Self {
            kind: MethodKind::Full,
            name: MethodKind::Full.name().into(),
            mask_name: None,
            keeps: Keeps::All,
        }
    }

    /// A mask whose streaming heads stream so.
    pub(super) fn masked(
        kind: MethodKind,
        name: String,
        mask: HeadMask,
        streaming: Streaming,
    ) -> Self {
        Self {
            kind,
            name,
            mask_name: None,
            keeps: Keeps::Mask(mask, streaming),
        }
    }

    /// The mask in use, where there is one.
    pub fn mask(&self) -> Option<&HeadMask> {
        match &self.keeps {
            Keeps::Mask(mask, _) => Some(mask),
            _ => None,
        }
    }

    /// The caches' policy for `llama`, and the order in which it must hold its kv heads, where that differs from the
    /// checkpoint's.
    pub fn policy(&self, llama: &Llama) -> (Box<dyn Policy>, Option<Vec<Vec<usize>>>) {
        match &self.keeps {
            Keeps::All => (Box::new(Full), None),
            Keeps::Mask(mask, streaming) => {
                let policy = HeadMaskPolicy::new(mask, streaming.span, streaming.rule);
                let order = policy.order().to_vec();
                (Box::new(policy), Some(order))
            }
            Keeps::InCache(span) => (
                Box::new(StreamingLlm::new(*span, llama.rope().clone())),
                None,
            ),
            Keeps::Ranked(policy) => (Box::new(*policy), None),
            Keeps::Skipping(method) => (Box::new(*method), None),
            Keeps::Nsa(branches) => (Box::new(Nsa::new(*branches, llama.branch_gates())), None),
        }
    }

    /// The method and its settings, where queries attend to a part of what is kept.
    pub fn skipping(&self) -> Option<Value> {
        match &self.keeps {
            Keeps::Skipping(method) => Some(json!(method)),
            Keeps::Nsa(branches) => Some(json!({ "method": "nsa", "branches": branches })),
            _ => None,
        }
    }

    /// Checks that the method can work in a model that carries gates of native sparse attention, or does not.
    ///
    /// # Errors
    /// [`EvalError::Missing`] if it needs them.
    pub fn check_model(&self, is_gated: bool) -> Result<(), EvalError> {
        match self.keeps {
            Keeps::Nsa(_) if !is_gated => Err(EvalError::Missing {
                setting: "--method nsa",
                missing: "a model that was trained with it, whose checkpoint carries `self_attn.g_proj` in every layer",
                remedy: "leave it out; `moba` and `block-sparse` choose blocks in any model",
            }),
            _ => Ok(()),
        }
    }

    /// Checks that the method can work in chunks of `chunk_len` tokens.
    ///
    /// # Errors
    /// The setting that does not fit, named.
    pub fn check(&self, chunk_len: usize) -> Result<(), AnyFault> {
        match &self.keeps {
            Keeps::Ranked(policy) => policy.check(chunk_len),
            _ => Ok(()),
        }
    }
}

/// What the reader should know about methods that chunks of this length change.
pub fn warnings(methods: &[Method], lengths: &[usize], chunk_len: usize) -> Vec<String> {
    let patched = |method: &&Method| match &method.keeps {
        Keeps::Ranked(policy) => policy.settings().patch,
        _ => false,
    };
    let single_chunk = lengths.iter().all(|length| *length <= chunk_len);
    let warning = |method: &Method| {
        format!(
            "`{}`: every prompt is a single chunk, so the patch does nothing",
            method.name
        )
    };
    let patched = methods.iter().filter(patched).filter(|_| single_chunk);
    patched.map(warning).collect()
}
