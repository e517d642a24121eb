//! What can go wrong when numbers are written or read back.

use crate::fault::{Coded, Kind};
use std::io;
use std::path::{Path, PathBuf};

/// Errors of metrics files and pictures.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MetricsError {
    /// A file operation failed.
    #[error("cannot {action} `{path}`")]
    Io {
        /// What was attempted, e.g. `append to`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// A line of `metrics.jsonl` is not a record.
    #[error("{path}:{line}: not a record: {reason}")]
    Line {
        /// The file.
        path: PathBuf,
        /// Line, counted from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// A picture has no cells, or another number of values than cells.
    #[error("cannot draw {num_values} values as {num_layers} layers x {num_kv_heads} kv heads")]
    Picture {
        /// Rows.
        num_layers: usize,
        /// Columns.
        num_kv_heads: usize,
        /// Values given.
        num_values: usize,
    },
    /// The picture could not be encoded.
    #[error("cannot encode a picture")]
    Png {
        /// The encoder's answer.
        source: png::EncodingError,
    },
}

impl MetricsError {
    /// Adds action and path to a failed file operation.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }
}

impl Coded for MetricsError {
    fn code(&self) -> &'static str {
        match self {
            Self::Io { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull => "io.no_space",
                io::ErrorKind::QuotaExceeded => "io.quota",
                _ => "io.error",
            },
            Self::Line { .. } => "metrics.line",
            Self::Picture { .. } => "metrics.picture",
            Self::Png { .. } => "metrics.png",
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Io { .. } => Kind::Storage,
            _ => Kind::Input,
        }
    }
}
