//! What can be wrong with weight files: the bytes of one safetensors file, the list of shards, the set of tensors.

use crate::fault::{Coded, Kind};
use std::path::PathBuf;

/// Why a file is not a safetensors file this program reads.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SafetensorsFault {
    /// A folder, pipe or device.
    #[error("it is not a regular file")]
    NotAFile,
    /// Shorter than the length field.
    #[error("{bytes} bytes are too few for any header")]
    TooShort {
        /// Size of the file.
        bytes: u64,
    },
    /// The text that Git LFS leaves in place of a large file.
    #[error("it is a Git LFS pointer, not the weights")]
    LfsPointer,
    /// A web page, usually an error or login page.
    #[error("it is an HTML page, not the weights")]
    Html,
    /// A header longer than the file or the format's limit.
    #[error("the header claims {claimed} bytes; at most {max} are possible")]
    HeaderLen {
        /// Claimed length.
        claimed: u64,
        /// What the file or the format allows.
        max: u64,
    },
    /// More than this reader takes.
    #[error("the header has {found} {what}, more than the {max} this reader takes")]
    TooMany {
        /// Bytes or tensors.
        what: &'static str,
        /// How many.
        found: u64,
        /// The cap.
        max: u64,
    },
    /// Not the JSON object that the format asks for.
    #[error("the header is not the JSON object of the format: {reason}")]
    HeaderText {
        /// In words, with the parser's place where it has one.
        reason: String,
    },
    /// One tensor described twice.
    #[error("tensor `{name}` is described twice")]
    DuplicateKey {
        /// The tensor.
        name: String,
    },
    /// `__metadata__` that is not a map of strings.
    #[error("`__metadata__` holds something other than strings under `{key}`")]
    Metadata {
        /// The key.
        key: String,
    },
    /// A dtype this program does not compute in.
    #[error("tensor `{name}` has dtype {dtype}; supported: F32, F16, BF16")]
    Dtype {
        /// The tensor.
        name: String,
        /// What the header says.
        dtype: String,
    },
    /// Dimensions that are no sizes, too many, or too large together.
    #[error(
        "the shape of tensor `{name}` is not a list of at most {max_rank} sizes whose product fits"
    )]
    Shape {
        /// The tensor.
        name: String,
        /// Most dimensions accepted.
        max_rank: usize,
    },
    /// Byte ranges that do not tile the data.
    #[error("tensor `{name}` at bytes {begin}..{end}: {problem}")]
    Offsets {
        /// The tensor.
        name: String,
        /// First byte, relative to the data.
        begin: u64,
        /// Byte after the last.
        end: u64,
        /// In words.
        problem: &'static str,
    },
    /// The file ends early.
    #[error("it has {found} bytes, {expected} are needed")]
    Truncated {
        /// By the header.
        expected: u64,
        /// On disk.
        found: u64,
    },
    /// Bytes after the last tensor.
    #[error("{bytes} bytes follow the last tensor")]
    TrailingBytes {
        /// How many.
        bytes: u64,
    },
    /// The file shrank after its header was read.
    #[error("it changed while it was read: tensor `{name}` is not there any more")]
    Changed {
        /// The tensor.
        name: String,
    },
}

impl Coded for SafetensorsFault {
    fn code(&self) -> &'static str {
        match self {
            Self::NotAFile => "st.not_a_file",
            Self::TooShort { .. } => "st.too_short",
            Self::LfsPointer => "st.lfs_pointer",
            Self::Html => "st.looks_like_html",
            Self::HeaderLen { .. } => "st.header_len",
            Self::TooMany { .. } => "st.too_many",
            Self::HeaderText { .. } => "st.header_text",
            Self::DuplicateKey { .. } => "st.duplicate_key",
            Self::Metadata { .. } => "st.metadata",
            Self::Dtype { .. } => "st.dtype",
            Self::Shape { .. } => "st.shape",
            Self::Offsets { .. } => "st.offsets",
            Self::Truncated { .. } => "st.truncated",
            Self::TrailingBytes { .. } => "st.trailing_bytes",
            Self::Changed { .. } => "st.changed",
        }
    }

    fn kind(&self) -> Kind {
        Kind::Input
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::LfsPointer => "run `git lfs pull` in the folder it came from",
            Self::Html | Self::Truncated { .. } | Self::TooShort { .. } => {
                "fetch the file again, and compare its size with the one the publisher states"
            }
            Self::Dtype { .. } => {
                "convert the model to float32, float16 or bfloat16 and save it again"
            }
            Self::Changed { .. } => "leave the folder alone while it is read, then try again",
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

/// Why the list of shards was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IndexFault {
    /// Not the JSON object of the format.
    #[error("not an index: {reason}")]
    NotJson {
        /// In words.
        reason: String,
    },
    /// A shard file is absent.
    #[error("shard `{shard}` does not exist")]
    MissingShard {
        /// The file.
        shard: String,
    },
    /// A file exists under another spelling.
    #[error("shard `{shard}` does not exist, but `{found}` does")]
    Case {
        /// As listed.
        shard: String,
        /// On disk.
        found: String,
    },
    /// A name that could leave the folder.
    #[error("`{shard}` is not a plain file name")]
    UnsafeName {
        /// As listed.
        shard: String,
    },
    /// A listed tensor that its shard lacks.
    #[error("tensor `{name}` is not in shard `{shard}`")]
    NotInShard {
        /// The tensor.
        name: String,
        /// The file.
        shard: String,
    },
    /// A shard holds a tensor that is listed nowhere.
    #[error("shard `{shard}` holds tensor `{name}`, which the index does not list there")]
    Unlisted {
        /// The tensor.
        name: String,
        /// The file.
        shard: String,
    },
    /// One tensor listed or stored twice.
    #[error("tensor `{name}` appears twice")]
    DuplicateTensor {
        /// The tensor.
        name: String,
    },
    /// The stated total differs from the tensors' bytes.
    #[error("`total_size` is {stated}, but the tensors have {found} bytes")]
    Size {
        /// In the index.
        stated: u64,
        /// Sum over tensors.
        found: u64,
    },
    /// A numbered shard is not listed at all.
    #[error("shard {number} of {total} is not listed")]
    Gap {
        /// From 1.
        number: u64,
        /// As the names say.
        total: u64,
    },
}

impl Coded for IndexFault {
    fn code(&self) -> &'static str {
        match self {
            Self::NotJson { .. } => "index.not_json",
            Self::MissingShard { .. } => "index.missing_shard",
            Self::Case { .. } => "index.case",
            Self::UnsafeName { .. } => "index.unsafe_name",
            Self::NotInShard { .. } => "index.not_in_shard",
            Self::Unlisted { .. } => "index.unlisted",
            Self::DuplicateTensor { .. } => "index.duplicate_tensor",
            Self::Size { .. } => "index.size",
            Self::Gap { .. } => "index.gap",
        }
    }

    fn kind(&self) -> Kind {
        Kind::Input
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Case { .. } => "rename the file to the name the index lists",
            Self::UnsafeName { .. } => "list plain names of files in the same folder",
            _ => "fetch the index and all shards again, from one revision of the model",
        };
        Some(hint.to_owned())
    }
}

/// How the tensors found differ from those the configuration implies.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TensorFault {
    /// A tensor is absent.
    #[error("tensor `{name}` is missing")]
    Missing {
        /// The tensor.
        name: String,
    },
    /// A tensor that no part of the model would use.
    #[error("`{file}` holds tensor `{name}`, which this model does not have")]
    Extra {
        /// The tensor.
        name: String,
        /// Where it is.
        file: PathBuf,
    },
    /// A bias vector.
    #[error("tensor `{name}` is a bias, and linear layers with a bias are not supported")]
    Bias {
        /// The tensor.
        name: String,
    },
    /// A tensor of another shape.
    #[error("tensor `{name}` has shape {found:?}, expected {expected:?}")]
    Shape {
        /// The tensor.
        name: String,
        /// By the configuration.
        expected: Vec<usize>,
        /// In the file.
        found: Vec<usize>,
    },
    /// Embedding rows that are not the vocabulary.
    #[error("tensor `{name}` has {found} rows, but `vocab_size` is {vocab_size}")]
    Vocab {
        /// The tensor.
        name: String,
        /// In the file.
        found: usize,
        /// In the configuration.
        vocab_size: usize,
    },
    /// An output projection where none is due, or none where one is.
    #[error("`tie_word_embeddings` is {tied}, but `lm_head.weight` {problem}")]
    Tie {
        /// By the configuration.
        tied: bool,
        /// In words.
        problem: &'static str,
    },
    /// Several dtypes in one model.
    #[error("tensor `{name}` is {found}, the tensors before it are {expected}")]
    MixedDtype {
        /// The tensor.
        name: String,
        /// Its dtype.
        found: &'static str,
        /// The first tensor's dtype.
        expected: &'static str,
    },
}

impl Coded for TensorFault {
    fn code(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "model.tensor_missing",
            Self::Extra { .. } => "model.tensor_extra",
            Self::Bias { .. } => "model.bias",
            Self::Shape { .. } => "model.tensor_shape",
            Self::Vocab { .. } => "model.vocab",
            Self::Tie { .. } => "model.tie",
            Self::MixedDtype { .. } => "model.dtype",
        }
    }

    fn kind(&self) -> Kind {
        Kind::Input
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Shape {
                expected, found, ..
            } if found.iter().rev().eq(expected) => {
                "the tensor is transposed: store linear weights as [outputs, inputs]"
            }
            Self::Tie { tied: true, .. } => {
                "set `tie_word_embeddings` to false if the output projection was trained by itself"
            }
            Self::Tie { .. } => {
                "set `tie_word_embeddings` to true if the model shares its embeddings"
            }
            Self::MixedDtype { .. } => "load the model in one dtype and save it again",
            Self::Vocab { .. } => "fetch `config.json` and the weights again, from one revision",
            _ => return None,
        };
        Some(hint.to_owned())
    }
}
