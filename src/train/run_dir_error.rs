//! What can go wrong with a run directory.

use crate::fault::{Coded, Kind};
use std::io;
use std::path::PathBuf;

/// Errors of opening a run directory.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunDirError {
    /// A file operation failed.
    #[error("cannot {action} `{path}`")]
    Io {
        /// What was attempted.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// The directory may not be written to.
    #[error("cannot write to run directory `{path}`")]
    ReadOnly {
        /// The directory.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// Another process writes to it.
    #[error("run directory `{path}` is in use by {owner}")]
    Locked {
        /// The directory.
        path: PathBuf,
        /// Process and host, as far as known.
        owner: String,
    },
    /// The path is a file, or a folder that is no run.
    #[error("`{path}` is not a run directory: it {reason}")]
    Foreign {
        /// The path.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// Starting elsewhere would overwrite a run.
    #[error("run directory `{path}` already holds a checkpoint of step {step}")]
    Exists {
        /// The directory.
        path: PathBuf,
        /// Step of the checkpoint.
        step: u64,
    },
    /// The path is not UTF-8 text.
    #[error("run directory `{path}` is not UTF-8 text")]
    NotUtf8 {
        /// The path.
        path: PathBuf,
    },
    /// The disk is too small for the whole run.
    #[error("`{path}` has {free_bytes} bytes free, the run needs {needed_bytes}")]
    NoSpace {
        /// The directory.
        path: PathBuf,
        /// Bytes free now.
        free_bytes: u64,
        /// Bytes the run will need.
        needed_bytes: u64,
    },
}

impl Coded for RunDirError {
    fn code(&self) -> &'static str {
        match self {
            Self::Io { .. } => "io.error",
            Self::ReadOnly { .. } => "run.read_only",
            Self::Locked { .. } => "run.locked",
            Self::Foreign { .. } => "run.foreign_files",
            Self::Exists { .. } => "run.exists",
            Self::NotUtf8 { .. } => "run.path",
            Self::NoSpace { .. } => "run.no_space",
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Io { .. } | Self::NoSpace { .. } => Kind::Storage,
            _ => Kind::Input,
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Io { .. } => return None,
            Self::ReadOnly { .. } => "choose another `--run-dir`, or change its permissions",
            Self::Locked { .. } => "wait for the other process, or choose another `--run-dir`",
            Self::Foreign { .. } | Self::NotUtf8 { .. } => {
                "choose an empty or new folder as `--run-dir`"
            }
            Self::Exists { .. } => {
                "continue it with `--resume auto`, or choose another `--run-dir`"
            }
            Self::NoSpace { .. } => {
                "free some space, choose another `--run-dir`, or keep fewer checkpoints"
            }
        };
        Some(hint.to_owned())
    }
}
