//! What can be wrong with an MDS dataset, a mixture of them, or the rows inside.

use crate::fault::{Coded, Kind};
use std::fmt;
use std::path::PathBuf;

/// A shard file, and the row of the dataset inside it where that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The shard file.
    pub path: PathBuf,
    /// Row number, counted from 0 over the whole dataset.
    pub row: Option<u64>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.path.display())?;
        match self.row {
            Some(row) => write!(f, ", row {row}"),
            None => Ok(()),
        }
    }
}

/// Errors of reading, writing, mixing and ordering MDS rows.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[expect(
    missing_docs,
    reason = "field names and the message above each variant say what a field holds"
)]
pub enum MdsError {
    /// The operating system refused a file operation.
    #[error("{action} `{path}`")]
    Io {
        action: &'static str,
        path: PathBuf,
        source: std::io::Error,
    },
    /// The index is missing, malformed, or of another version or format.
    #[error("read MDS dataset `{path}`: {reason}")]
    Index { path: PathBuf, reason: String },
    /// A file name in the index leaves the dataset's folder.
    #[error("read MDS dataset `{path}`: shard name {name:?} leaves the folder")]
    UnsafeName { path: PathBuf, name: String },
    /// A file is not as long as the index says.
    #[error("read `{path}`: index.json declares {declared} bytes, the file has {found}")]
    Size {
        path: PathBuf,
        declared: u64,
        found: u64,
    },
    /// The shard's header counts other rows than the index.
    #[error("read `{path}`: index.json declares {declared} rows, the shard's header {found}")]
    Count {
        path: PathBuf,
        declared: u64,
        found: u64,
    },
    /// Row offsets are not ascending, inside the header, or past the end.
    #[error("read {place}: {reason}")]
    Offsets { place: Place, reason: String },
    /// Column lists disagree with each other, with a row, or with what was asked for.
    #[error("read {place}: column `{column}`: {reason}")]
    Columns {
        place: Place,
        column: String,
        reason: String,
    },
    /// A column's encoding is refused, or its bytes are not what the encoding promises.
    #[error("decode {place}: column `{column}`: {reason}")]
    Encoding {
        place: Place,
        column: String,
        reason: String,
    },
    /// A compressed shard cannot be decompressed.
    #[error("decompress `{path}`: {reason}")]
    Codec { path: PathBuf, reason: String },
    /// A compressed shard unpacks to more than it declares.
    #[error("decompress `{path}`: more output than the {declared} bytes declared in index.json")]
    Bomb { path: PathBuf, declared: u64 },
    /// A file's bytes are not those that were hashed when the dataset was written.
    #[error("verify `{path}`: {algorithm} is {found}, index.json says {expected}")]
    Hash {
        path: PathBuf,
        algorithm: String,
        expected: String,
        found: String,
    },
    /// A token id is negative or outside the vocabulary.
    #[error("read {place}: token {position} has id {id}, the vocabulary has {vocab_size}")]
    TokenRange {
        place: Place,
        position: usize,
        id: i128,
        vocab_size: u64,
    },
    /// Document spans do not describe disjoint ascending ranges of the row.
    #[error("read {place}: {reason}")]
    Spans { place: Place, reason: String },
    /// The instruction mask and the tokens have different lengths.
    #[error("read {place}: {tokens} tokens, but a mask of {mask} values")]
    MaskLen {
        place: Place,
        tokens: usize,
        mask: usize,
    },
    /// A row has no token that could be used.
    #[error("read {place}: no document of at least two tokens in the row")]
    EmptySample { place: Place },
    /// A mixture contradicts itself or the datasets it names.
    #[error("mix streams: {reason}")]
    Streams { reason: String },
    /// A shard would not fit into 32-bit offsets.
    #[error("write `{path}`: {bytes} bytes do not fit a shard, whose offsets have 32 bits")]
    TooLarge { path: PathBuf, bytes: u64 },
    /// The data has fewer rows than one step takes.
    #[error("order rows: an epoch of {rows} rows, but one step takes {needed}")]
    TooSmall { rows: u64, needed: u64 },
    /// A row is longer than the tokens one device takes at a time.
    #[error("read {place}: {row_len} tokens exceed the budget of {budget} per device")]
    RowLen {
        place: Place,
        row_len: usize,
        budget: usize,
    },
    /// The data is not what the checkpoint was trained on.
    #[error("continue reading: the data changed since the checkpoint: {}", changes.join("; "))]
    Fingerprint { changes: Vec<String> },
    /// The target of a writer is in use.
    #[error("write `{path}`: the folder exists and is not empty")]
    Exists { path: PathBuf },
}

impl Coded for MdsError {
    fn code(&self) -> &'static str {
        match self {
            Self::Io { .. } => "io.error",
            Self::Index { .. } => "mds.index",
            Self::UnsafeName { .. } => "mds.unsafe_name",
            Self::Size { .. } => "mds.size",
            Self::Count { .. } => "mds.count",
            Self::Offsets { .. } => "mds.offsets",
            Self::Columns { .. } => "mds.columns",
            Self::Encoding { .. } => "mds.encoding",
            Self::Codec { .. } => "mds.codec",
            Self::Bomb { .. } => "mds.bomb",
            Self::Hash { .. } => "mds.hash",
            Self::TokenRange { .. } => "mds.token_range",
            Self::Spans { .. } => "mds.spans",
            Self::MaskLen { .. } => "mds.mask_len",
            Self::EmptySample { .. } => "mds.empty_sample",
            Self::Streams { .. } => "mds.streams",
            Self::TooLarge { .. } => "mds.too_large",
            Self::TooSmall { .. } => "mds.too_small",
            Self::RowLen { .. } => "mds.row_len",
            Self::Fingerprint { .. } => "mds.fingerprint",
            Self::Exists { .. } => "mds.exists",
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Io { .. } => Kind::Storage,
            _ => Kind::Input,
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Size { .. } | Self::Hash { .. } | Self::Count { .. } | Self::Offsets { .. } => {
                "fetch or pack the dataset again: the file differs from the one that was written"
            }
            Self::TokenRange { .. } => {
                "use the tokenizer that the dataset was packed with (see its manifest.json)"
            }
            Self::TooSmall { .. } => {
                "pack more text, use a smaller row length, or take fewer rows per step"
            }
            Self::RowLen { .. } => {
                "raise the token budget per device, pack with a smaller `--row-len`, or set `clip_rows = true`"
            }
            Self::Fingerprint { .. } => {
                "restore the data, or pass `--allow-config-change data` to start a new order at row 0"
            }
            Self::Exists { .. } => "name another folder, or remove this one",
            _ => return None,
        };
        Some(hint.to_owned())
    }
}
