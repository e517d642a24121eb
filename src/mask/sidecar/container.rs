//! Foreign bytes to named tensors and text metadata: safetensors with our own, smaller bounds.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::mask::foreign::sniff;
use crate::mask::json_pairs::Pairs;
use safetensors::{Dtype, SafeTensorError, SafeTensors};
use serde_json::Value;
use std::collections::BTreeMap;

/// Largest file accepted, in bytes.
pub const MAX_FILE_BYTES: usize = 16 << 20;
/// Largest header accepted, in bytes.
const MAX_HEADER_BYTES: u64 = 1 << 20;
/// Bytes of the header's length.
const LENGTH_BYTES: usize = 8;
const METADATA: &str = "__metadata__";

/// A safetensors file whose structure is sound.
pub struct Container<'a> {
    /// The tensors.
    pub tensors: SafeTensors<'a>,
    /// `__metadata__`; empty if the file has none.
    pub metadata: BTreeMap<String, String>,
}

/// Why bytes are not a safetensors file that a mask could be in.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ContainerProblem {
    /// Fewer bytes than a header length takes.
    #[error("{num_bytes} bytes are too few for a safetensors file")]
    TooShort {
        /// Size.
        num_bytes: usize,
    },
    /// Larger than any mask.
    #[error("the {what} takes {num_bytes} bytes, more than the {cap} of any mask file")]
    TooMany {
        /// File or header.
        what: &'static str,
        /// Size.
        num_bytes: u64,
        /// The limit.
        cap: u64,
    },
    /// A pointer that git-lfs left.
    #[error("this is a git-lfs pointer, not the file itself")]
    LfsPointer,
    /// A web page.
    #[error("this is a web page, not a safetensors file")]
    LooksLikeHtml,
    /// The header would end behind the file.
    #[error("the header claims {header_len} bytes of a file of {num_bytes}")]
    HeaderLen {
        /// Claimed length.
        header_len: u64,
        /// Size of the file.
        num_bytes: usize,
    },
    /// Not UTF-8, not JSON, or not of the expected structure.
    #[error("the header is not a safetensors header")]
    HeaderText {
        /// What the parser says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// One name twice.
    #[error("the header names `{key}` twice")]
    DuplicateKey {
        /// The name.
        key: String,
    },
    /// An element type that no safetensors file has.
    #[error("tensor `{tensor}` has the unknown dtype {found}")]
    Dtype {
        /// The tensor.
        tensor: String,
        /// Its type.
        found: String,
    },
    /// A shape that cannot be.
    #[error("tensor `{tensor}` has an impossible shape")]
    Shape {
        /// The tensor.
        tensor: String,
    },
    /// Tensors overlap, leave holes or disagree with their shape.
    #[error("tensor `{tensor}` lies at impossible offsets")]
    Offsets {
        /// The tensor.
        tensor: String,
    },
    /// Metadata that is not text.
    #[error("metadata `{key}` is not text")]
    Metadata {
        /// The key.
        key: String,
    },
    /// Data is missing at the end.
    #[error("the file has {num_bytes} bytes, its header describes {expected}")]
    Truncated {
        /// Size of the file.
        num_bytes: usize,
        /// Size described.
        expected: usize,
    },
    /// Data nobody describes.
    #[error("the file has {num_bytes} bytes, its header describes only {expected}")]
    TrailingBytes {
        /// Size of the file.
        num_bytes: usize,
        /// Size described.
        expected: usize,
    },
    /// The bytes could not be read.
    #[error("cannot be read")]
    Read {
        /// The operating system's answer.
        source: std::io::Error,
    },
}

impl ContainerProblem {
    /// Stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooShort { .. } => "st.too_short",
            Self::TooMany { .. } => "st.too_many",
            Self::LfsPointer => "st.lfs_pointer",
            Self::LooksLikeHtml => "st.looks_like_html",
            Self::HeaderLen { .. } => "st.header_len",
            Self::HeaderText { .. } => "st.header_text",
            Self::DuplicateKey { .. } => "st.duplicate_key",
            Self::Dtype { .. } => "st.dtype",
            Self::Shape { .. } => "st.shape",
            Self::Offsets { .. } => "st.offsets",
            Self::Metadata { .. } => "st.metadata",
            Self::Truncated { .. } => "st.truncated",
            Self::TrailingBytes { .. } => "st.trailing_bytes",
            Self::Read { .. } => "st.unreadable",
        }
    }
}

impl<'a> Container<'a> {
    /// Checks the structure.
    ///
    /// # Errors
    /// [`ContainerProblem`], the first one in the order of its variants that applies.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ContainerProblem> {
        let header = header_text(bytes)?;
        let entries: Pairs<Pairs<Value>> = parse_header(header)?;
        reject_duplicates(&entries)?;
        let mut metadata = BTreeMap::new();
        let mut data_end = 0;
        for (name, fields) in &entries.0 {
            if name == METADATA {
                metadata = text_metadata(fields)?;
            } else {
                data_end = data_end.max(tensor_end(name, fields)?);
            }
        }
        check_size(bytes.len(), header.len(), data_end)?;
        let tensors = SafeTensors::deserialize(bytes).map_err(classify)?;
        Ok(Self { tensors, metadata })
    }
}

/// The header's bytes, after everything that can be said without parsing them.
fn header_text(bytes: &[u8]) -> Result<&[u8], ContainerProblem> {
    let num_bytes = bytes.len();
    if num_bytes > MAX_FILE_BYTES {
        return Err(too_many("file", num_bytes as u64, MAX_FILE_BYTES as u64));
    }
    if let Some(problem) = sniff::web_or_pointer(bytes) {
        return Err(problem);
    }
    let Some((length, rest)) = bytes.split_first_chunk::<LENGTH_BYTES>() else {
        return Err(ContainerProblem::TooShort { num_bytes });
    };
    let header_len = u64::from_le_bytes(*length);
    if header_len > rest.len() as u64 {
        return Err(ContainerProblem::HeaderLen {
            header_len,
            num_bytes,
        });
    }
    if header_len > MAX_HEADER_BYTES {
        return Err(too_many("header", header_len, MAX_HEADER_BYTES));
    }
    usize::try_from(header_len)
        .ok()
        .and_then(|len| rest.get(..len))
        .ok_or(ContainerProblem::HeaderLen {
            header_len,
            num_bytes,
        })
}

fn too_many(what: &'static str, num_bytes: u64, cap: u64) -> ContainerProblem {
    ContainerProblem::TooMany {
        what,
        num_bytes,
        cap,
    }
}

fn parse_header(header: &[u8]) -> Result<Pairs<Pairs<Value>>, ContainerProblem> {
    let text = std::str::from_utf8(header).map_err(header_problem)?;
    if !text.starts_with('{') {
        return Err(header_problem("it does not begin with `{`"));
    }
    serde_json::from_str(text).map_err(header_problem)
}

fn header_problem(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ContainerProblem {
    ContainerProblem::HeaderText {
        source: source.into(),
    }
}

fn reject_duplicates(entries: &Pairs<Pairs<Value>>) -> Result<(), ContainerProblem> {
    if let Some(key) = entries.duplicate() {
        return Err(ContainerProblem::DuplicateKey { key });
    }
    for (name, fields) in &entries.0 {
        if let Some(key) = fields.duplicate() {
            let key = format!("{name}.{key}");
            return Err(ContainerProblem::DuplicateKey { key });
        }
    }
    Ok(())
}

fn text_metadata(fields: &Pairs<Value>) -> Result<BTreeMap<String, String>, ContainerProblem> {
    let text = |(key, value): &(String, Value)| match value {
        Value::String(text) => Ok((key.clone(), text.clone())),
        _ => Err(ContainerProblem::Metadata { key: key.clone() }),
    };
    fields.0.iter().map(text).collect()
}

/// Checks one tensor's entry by itself and returns where its data ends.
fn tensor_end(name: &str, fields: &Pairs<Value>) -> Result<usize, ContainerProblem> {
    let tensor = || name.to_owned();
    let field = |key: &str| fields.get(key).cloned().unwrap_or(Value::Null);
    let dtype = field("dtype");
    if serde_json::from_value::<Dtype>(dtype.clone()).is_err() {
        let found = dtype.to_string();
        return Err(ContainerProblem::Dtype {
            tensor: tensor(),
            found,
        });
    }
    if serde_json::from_value::<Vec<usize>>(field("shape")).is_err() {
        return Err(ContainerProblem::Shape { tensor: tensor() });
    }
    match serde_json::from_value::<[usize; 2]>(field("data_offsets")) {
        Ok([start, end]) if start <= end => Ok(end),
        _ => Err(ContainerProblem::Offsets { tensor: tensor() }),
    }
}

fn check_size(
    num_bytes: usize,
    header_len: usize,
    data_end: usize,
) -> Result<(), ContainerProblem> {
    let expected = LENGTH_BYTES
        .saturating_add(header_len)
        .saturating_add(data_end);
    match num_bytes.cmp(&expected) {
        std::cmp::Ordering::Less => Err(ContainerProblem::Truncated {
            num_bytes,
            expected,
        }),
        std::cmp::Ordering::Greater => Err(ContainerProblem::TrailingBytes {
            num_bytes,
            expected,
        }),
        std::cmp::Ordering::Equal => Ok(()),
    }
}

/// What the safetensors crate finds beyond the checks above: relations between tensors.
fn classify(error: SafeTensorError) -> ContainerProblem {
    match error {
        SafeTensorError::InvalidOffset(tensor) => ContainerProblem::Offsets { tensor },
        SafeTensorError::TensorInvalidInfo => ContainerProblem::Offsets {
            tensor: "(one of them)".to_owned(),
        },
        SafeTensorError::ValidationOverflow | SafeTensorError::MisalignedSlice => {
            ContainerProblem::Shape {
                tensor: "(one of them)".to_owned(),
            }
        }
        other => header_problem(other),
    }
}
