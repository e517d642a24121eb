//! What can go wrong between a prompt and its answer.

use crate::fault::{Coded, Kind};
use crate::torch::error::Words;

/// Why a cache, prefill or decode step failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InferError {
    /// libtorch refused an operation, nearly always for want of memory.
    #[error("cannot {action}")]
    Torch {
        /// What was attempted.
        action: String,
        /// libtorch's own words.
        #[source]
        source: Words,
    },
    /// Memory ran out in the middle of a sequence.
    #[error("out of memory: {detail}")]
    OutOfMemory {
        /// libtorch's own words.
        detail: String,
    },
    /// A tensor handed to a cache has the wrong shape.
    #[error("{tensor} has shape {found:?}, expected {expected}")]
    Shape {
        /// The tensor's name with its axis letters.
        tensor: &'static str,
        /// The shape that fits, in words or letters.
        expected: String,
        /// The shape that came.
        found: Vec<i64>,
    },
    /// A call for a layer that the caches were not opened for.
    #[error("the caches cover {layers} layers, layer {layer} was asked for")]
    Layer {
        /// The layer asked for.
        layer: usize,
        /// Layers covered.
        layers: usize,
    },
    /// The model's output is not a number.
    #[error("the logits at position {position} are not finite")]
    NotFinite {
        /// Position of the query.
        position: usize,
    },
    /// A prompt without tokens.
    #[error("the prompt is empty")]
    EmptyPrompt,
    /// A prompt that leaves no room for its output.
    #[error(
        "a prompt of {prompt_len} tokens and {max_new_tokens} new ones are beyond the model's max_position_embeddings = {max}"
    )]
    TooLong {
        /// Tokens of the prompt, begin token included.
        prompt_len: usize,
        /// Most tokens of the output.
        max_new_tokens: usize,
        /// The model's limit.
        max: usize,
    },
    /// A prompt that is prefilled whole, so that nothing is left to decode from.
    #[error(
        "{prefill_len} of a prompt's {prompt_len} tokens cannot be prefilled: at least 1 must follow"
    )]
    WholePrompt {
        /// Tokens to prefill.
        prefill_len: usize,
        /// Tokens of the prompt.
        prompt_len: usize,
    },
    /// Tokens to forget, for a cache that cannot forget them.
    #[error("a method without a patch was given one of {patch_len} tokens")]
    Patch {
        /// Tokens appended to the chunk.
        patch_len: usize,
    },
    /// A chunk of zero tokens.
    #[error("chunk_len must be at least 1 token")]
    ChunkLen,
}

impl InferError {
    /// Wraps a libtorch failure with what was attempted.
    pub(crate) fn torch(action: impl Into<String>) -> impl FnOnce(tch::TchError) -> Self {
        let action = action.into();
        move |source| Self::Torch {
            action,
            source: source.into(),
        }
    }
}

impl Coded for InferError {
    fn code(&self) -> &'static str {
        match self {
            Self::Torch { .. } => "infer.torch",
            Self::OutOfMemory { .. } => "infer.out_of_memory",
            Self::Shape { .. } => "infer.shape",
            Self::Layer { .. } => "infer.layer",
            Self::NotFinite { .. } => "infer.not_finite",
            Self::EmptyPrompt => "infer.empty_prompt",
            Self::TooLong { .. } => "infer.too_long",
            Self::WholePrompt { .. } => "infer.whole_prompt",
            Self::Patch { .. } => "infer.patch",
            Self::ChunkLen => "infer.chunk_len",
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Torch { .. } | Self::OutOfMemory { .. } => Kind::Environment,
            Self::NotFinite { .. } => Kind::Numerical,
            Self::Shape { .. }
            | Self::Layer { .. }
            | Self::EmptyPrompt
            | Self::TooLong { .. }
            | Self::WholePrompt { .. }
            | Self::Patch { .. }
            | Self::ChunkLen => Kind::Input,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Torch { .. } | Self::OutOfMemory { .. } => Some(
                "use shorter inputs (--lengths, --context) or a smaller --chunk if the device is out of memory".into(),
            ),
            Self::TooLong {
                prompt_len, max, ..
            } => Some(match max.checked_sub(*prompt_len) {
                Some(room @ 1..) => format!("use --max-new-tokens up to {room}"),
                _ => format!("use a prompt of fewer than {max} tokens"),
            }),
            Self::ChunkLen => Some("pass --chunk 1 or more".into()),
            _ => None,
        }
    }
}
