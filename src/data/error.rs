//! What can go wrong with text, tokenizers and rows.

use crate::fault::{Coded, Kind};
use std::path::PathBuf;

/// Errors of sources, tokenizers and packing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// A file could not be read or written.
    #[error("{action} `{path}`")]
    Io {
        /// What was attempted, e.g. `read`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// A corpus has no document left.
    #[error("no text found in `{path}`: {reason}")]
    Empty {
        /// Where it looked.
        path: PathBuf,
        /// Why nothing is left.
        reason: String,
    },
}

impl Coded for DataError {
    fn code(&self) -> &'static str {
        match self {
            Self::Io { .. } => "io.error",
            Self::Empty { .. } => "data.empty",
        }
    }
    fn kind(&self) -> Kind {
        match self {
            Self::Io { .. } => Kind::Storage,
            Self::Empty { .. } => Kind::Input,
        }
    }
}
