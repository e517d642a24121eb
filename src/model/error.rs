//! What can be wrong with a model folder: its `config.json`, its files, its tensors.

use super::weights_error::{IndexFault, SafetensorsFault, TensorFault};
use crate::fault::{Coded, Kind};
use crate::shape::ShapeError;
use crate::torch::error::Words;
use std::path::PathBuf;

/// Why a `config.json`, or a configuration built in code, does not describe a model this program computes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigFault {
    /// Larger than any real configuration.
    #[error("the file has more than the {max} bytes a configuration may have")]
    TooBig {
        /// The cap.
        max: u64,
    },
    /// Not text.
    #[error("not UTF-8: byte {at} is invalid")]
    NotUtf8 {
        /// Offset of the first bad byte.
        at: usize,
    },
    /// Not JSON.
    #[error("not JSON")]
    NotJson {
        /// The parser's answer, with line and column.
        source: serde_json::Error,
    },
    /// A literal that JSON does not have, as Python writes it.
    #[error("line {line}: `{literal}` is not JSON and not a finite number")]
    NotFinite {
        /// Line, from 1.
        line: usize,
        /// Its spelling.
        literal: &'static str,
    },
    /// A key without which nothing can be computed.
    #[error("key `{key}` is missing")]
    MissingKey {
        /// Dotted path.
        key: String,
    },
    /// A value of another JSON type.
    #[error("key `{key}` is {found}, expected {expected}")]
    Type {
        /// Dotted path.
        key: String,
        /// In words.
        expected: &'static str,
        /// The value, shortened.
        found: String,
    },
    /// No layers, or absurdly many.
    #[error("`num_hidden_layers` = {found} is outside 1..={max}")]
    Layers {
        /// What the file says.
        found: usize,
        /// The cap.
        max: usize,
    },
    /// Head counts that do not fit together.
    #[error("the attention heads do not fit together")]
    Heads {
        /// Which counts.
        #[from]
        source: ShapeError,
    },
    /// No `head_dim`, and none can be derived.
    #[error(
        "`hidden_size` = {hidden_size} is not divisible by {num_heads} heads, and `head_dim` is not given"
    )]
    HeadDim {
        /// Model width.
        hidden_size: usize,
        /// Query heads.
        num_heads: usize,
    },
    /// Rotary embeddings rotate pairs.
    #[error("`head_dim` = {head_dim} is odd; rotary embeddings need pairs")]
    OddHeadDim {
        /// Width of one head.
        head_dim: usize,
    },
    /// A size of zero or beyond the caps.
    #[error("`{key}` = {found} is outside 1..={max}")]
    Size {
        /// The key.
        key: &'static str,
        /// What the file says.
        found: usize,
        /// The cap.
        max: usize,
    },
    /// A special token that has no embedding row.
    #[error("`{key}` = {id} is outside the vocabulary of {vocab_size}")]
    Vocab {
        /// The key.
        key: &'static str,
        /// The token id.
        id: i64,
        /// Embedding rows.
        vocab_size: usize,
    },
    /// An epsilon that does not keep the norm finite.
    #[error("`rms_norm_eps` = {found} is outside (0, 1)")]
    Eps {
        /// What the file says.
        found: f64,
    },
    /// Another family of models.
    #[error(
        "`{key}` is {found}; supported: `model_type` \"llama\", `architectures` [\"LlamaForCausalLM\"]"
    )]
    Architecture {
        /// The key.
        key: &'static str,
        /// What the file says.
        found: String,
    },
    /// Quantised weights.
    #[error("`{key}` is set: the weights are quantised")]
    Quantized {
        /// The key.
        key: &'static str,
    },
    /// A dtype this program does not compute in.
    #[error("`{key}` is {found}; supported: float32, float16, bfloat16")]
    Dtype {
        /// The key.
        key: &'static str,
        /// What the file says.
        found: String,
    },
    /// Linear layers with a bias.
    #[error("`{key}` is true: linear layers with a bias are not supported")]
    Bias {
        /// The key.
        key: &'static str,
    },
    /// Built-in sparse attention.
    #[error("`{key}` is {found}: attention that is not full in every layer is not supported")]
    SlidingWindow {
        /// The key.
        key: &'static str,
        /// What the file says.
        found: String,
    },
    /// Another activation.
    #[error("`hidden_act` is {found}; supported: \"silu\"")]
    Activation {
        /// What the file says.
        found: String,
    },
    /// Something that changes the forward pass and is not built.
    #[error("`{key}` is {found}: this changes the forward pass and is not supported")]
    Feature {
        /// The key.
        key: &'static str,
        /// What the file says.
        found: String,
    },
    /// Rotary embeddings.
    #[error("`{key}` {problem}")]
    Rope {
        /// Dotted path.
        key: String,
        /// What is wrong with it.
        problem: RopeProblem,
    },
}

/// What is wrong with one key of the rotary embedding's settings.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RopeProblem {
    /// A type this program does not compute.
    #[error("is {found}; supported: \"default\", \"linear\", \"llama3\"")]
    Unknown {
        /// What the file says.
        found: String,
    },
    /// No type is named, so the numbers mean nothing.
    #[error("names no type; supported: \"default\", \"linear\", \"llama3\"")]
    NoType,
    /// Two places contradict each other.
    #[error("contradicts `{other}`")]
    Conflict {
        /// The other key.
        other: String,
    },
    /// A number the type needs.
    #[error("is missing, and type \"{rope_type}\" needs it")]
    Missing {
        /// The type.
        rope_type: &'static str,
    },
    /// A number out of range.
    #[error("= {found} is not {allowed}")]
    Range {
        /// What the file says.
        found: f64,
        /// The range in words.
        allowed: &'static str,
    },
    /// A setting the type does not have.
    #[error("is set, but type \"{rope_type}\" does not use it")]
    Unused {
        /// The type.
        rope_type: &'static str,
    },
    /// Settings per kind of layer.
    #[error("holds settings per layer type, which are not supported")]
    PerLayer,
}

impl Coded for ConfigFault {
    fn code(&self) -> &'static str {
        match self {
            Self::TooBig { .. } | Self::NotUtf8 { .. } | Self::NotJson { .. } => "model.not_json",
            Self::NotFinite { .. } => "model.not_finite",
            Self::MissingKey { .. } => "model.missing_key",
            Self::Type { .. } => "model.type",
            Self::Layers { .. } => "model.layers",
            Self::Heads { .. } | Self::HeadDim { .. } | Self::OddHeadDim { .. } => "model.heads",
            Self::Size { .. } => "model.size",
            Self::Vocab { .. } => "model.vocab",
            Self::Eps { .. } => "model.eps",
            Self::Architecture { .. } => "model.unsupported_arch",
            Self::Quantized { .. } => "model.quantized",
            Self::Dtype { .. } => "model.dtype",
            Self::Bias { .. } => "model.bias",
            Self::SlidingWindow { .. } => "model.sliding_window",
            Self::Activation { .. } => "model.activation",
            Self::Feature { .. } => "model.unsupported_feature",
            Self::Rope { .. } => "model.rope",
        }
    }

    fn kind(&self) -> Kind {
        Kind::Input
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::MissingKey { .. } | Self::NotJson { .. } | Self::NotUtf8 { .. } => {
                "use the `config.json` that `save_pretrained` of Hugging Face transformers writes"
            }
            Self::Quantized { .. } => {
                "use the model's original f32, f16 or bf16 weights, or dequantise and save them"
            }
            Self::NotFinite { .. } => "replace it by the number that is meant, or by `null`",
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

/// Errors of opening, checking and writing a model folder.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A file could not be read or written.
    #[error("cannot {action} `{path}`")]
    Io {
        /// What was attempted, e.g. `read`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// The folder lacks a file.
    #[error("`{path}` does not exist")]
    MissingFile {
        /// The file.
        path: PathBuf,
    },
    /// The configuration was refused.
    #[error("`{path}` does not describe a model that can be computed here")]
    Config {
        /// The configuration file.
        path: PathBuf,
        /// What is wrong with it.
        source: ConfigFault,
    },
    /// A safetensors file was refused.
    #[error("`{path}` cannot be used as a safetensors file")]
    Safetensors {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: SafetensorsFault,
    },
    /// The list of shards was refused.
    #[error("`{path}` does not list the shards of this folder")]
    Index {
        /// The index file.
        path: PathBuf,
        /// What is wrong with it.
        source: IndexFault,
    },
    /// Tensors that do not belong to the configuration beside them.
    #[error("the weights in `{path}` do not belong to its `config.json`")]
    Tensors {
        /// The model folder.
        path: PathBuf,
        /// The first mismatch.
        source: TensorFault,
    },
    /// The folder offers pickled weights only.
    #[error(
        "`{path}` is a pickle, which can run code when it is loaded, and there is no safetensors file beside it"
    )]
    Pickle {
        /// One of the pickled files.
        path: PathBuf,
    },
    /// libtorch could not hold a tensor.
    #[error("cannot load tensor `{name}`")]
    Torch {
        /// The tensor.
        name: String,
        /// libtorch's answer.
        source: Words,
    },
    /// Something already stands where a model was to be written.
    #[error("`{path}` already exists")]
    Exists {
        /// The folder.
        path: PathBuf,
    },
}

impl Coded for ModelError {
    fn code(&self) -> &'static str {
        match self {
            Self::Io { .. } => "io.error",
            Self::MissingFile { .. } => "model.missing_file",
            Self::Config { source, .. } => source.code(),
            Self::Safetensors { source, .. } => source.code(),
            Self::Index { source, .. } => source.code(),
            Self::Tensors { source, .. } => source.code(),
            Self::Pickle { .. } => "model.pickle_refused",
            Self::Torch { .. } => "model.tensor_load",
            Self::Exists { .. } => "model.exists",
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Io { .. } => Kind::Storage,
            Self::Torch { .. } => Kind::Environment,
            _ => Kind::Input,
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Config { source, .. } => return source.hint(),
            Self::Safetensors { source, .. } => return source.hint(),
            Self::Index { source, .. } => return source.hint(),
            Self::Tensors { source, .. } => return source.hint(),
            Self::MissingFile { .. } => {
                "pass a Hugging Face folder: `config.json`, `*.safetensors`, `tokenizer.json`"
            }
            Self::Pickle { .. } => {
                "load it with transformers once and write it with `save_pretrained(..., safe_serialization=True)`"
            }
            Self::Torch { .. } => "free memory on the device, or choose another device or dtype",
            Self::Exists { .. } => "name a folder that does not exist yet",
            Self::Io { .. } => return None,
        };
        Some(hint.to_owned())
    }
}

impl ModelError {
    /// Names the file and the operation of an I/O error; "not found" becomes [`ModelError::MissingFile`].
    pub(crate) fn io(action: &'static str, path: &std::path::Path, source: std::io::Error) -> Self {
        let path = path.to_path_buf();
        if source.kind() == std::io::ErrorKind::NotFound {
            return Self::MissingFile { path };
        }
        Self::Io {
            action,
            path,
            source,
        }
    }
}
