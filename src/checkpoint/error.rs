//! What can go wrong with checkpoints.

use super::identity::Change;
use crate::fault::{Coded, Kind};
use std::io;
use std::path::PathBuf;

/// Errors of saving and loading checkpoints.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// A file operation failed.
    #[error("cannot {action} `{path}`")]
    Io {
        /// What was attempted, e.g. `write`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// The device did not confirm that data is safe.
    #[error("the device did not confirm that `{path}` is safe")]
    Sync {
        /// The file or folder that is lost.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// The disk or the user's quota is full.
    #[error("no space for a checkpoint of {needed_bytes} bytes in `{dir}`; {}", name_last(*last_good))]
    NoSpace {
        /// Folder of the checkpoints.
        dir: PathBuf,
        /// Length of all files of the checkpoint.
        needed_bytes: u64,
        /// The newest checkpoint that verifies.
        last_good: Option<u64>,
        /// The operating system's answer.
        source: io::Error,
    },
    /// The file system cannot rename without replacing.
    #[error("the file system of `{dir}` cannot rename without replacing")]
    NoRename {
        /// Folder of the checkpoints.
        dir: PathBuf,
    },
    /// A checkpoint does not verify.
    #[error("checkpoint `{path}` is damaged: {reason}")]
    Corrupt {
        /// The checkpoint's folder.
        path: PathBuf,
        /// The first thing that does not hold.
        reason: String,
    },
    /// Checkpoints exist, and none verifies.
    #[error("none of the checkpoints in `{dir}` is usable: {}", findings.join("; "))]
    NoneGood {
        /// Folder of the checkpoints.
        dir: PathBuf,
        /// One reason for each.
        findings: Vec<String>,
    },
    /// There is no such checkpoint.
    #[error("there is no checkpoint at `{path}`")]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The checkpoint was written by a newer program.
    #[error("checkpoint `{path}` has format version {found}, this program reads up to {supported}")]
    Version {
        /// The checkpoint's folder.
        path: PathBuf,
        /// Version in its manifest.
        found: u64,
        /// Newest version known here.
        supported: u64,
    },
    /// The run's settings differ from the checkpoint's.
    #[error("settings differ from the checkpoint's:{}", list(changes))]
    ConfigChanged {
        /// Every differing key.
        changes: Vec<Change>,
    },
    /// The checkpoint belongs to another model.
    #[error("the checkpoint was made with model {saved}, this run uses {current}")]
    Model {
        /// Fingerprint in the checkpoint.
        saved: String,
        /// Fingerprint of this run's model.
        current: String,
    },
    /// The checkpoint was made with other data.
    #[error("the checkpoint was made with data {saved}, this run reads {current}")]
    Data {
        /// Fingerprint in the checkpoint.
        saved: String,
        /// Fingerprint of this run's data.
        current: String,
    },
    /// A different checkpoint of that step exists.
    #[error("a different checkpoint of step {step} already exists at `{path}`")]
    DuplicateStep {
        /// The step.
        step: u64,
        /// The existing checkpoint.
        path: PathBuf,
    },
    /// A checkpoint is a symbolic link.
    #[error("checkpoint `{path}` is a symbolic link")]
    Symlink {
        /// The link.
        path: PathBuf,
    },
    /// A file of a verified checkpoint is absent or says something impossible.
    #[error("file `{name}` of the checkpoint: {reason}")]
    Content {
        /// Name inside the checkpoint.
        name: String,
        /// What is wrong.
        reason: String,
    },
}

impl Coded for CheckpointError {
    fn code(&self) -> &'static str {
        match self {
            Self::Sync { .. } => "io.fsync",
            Self::Io { source, .. } | Self::NoSpace { source, .. } => io_code(source),
            Self::NoRename { .. } => "run.rename",
            Self::Corrupt { .. } => "ckpt.corrupt",
            Self::NoneGood { .. } => "ckpt.none_good",
            Self::Missing { .. } => "ckpt.missing",
            Self::Version { .. } => "ckpt.version",
            Self::ConfigChanged { .. } => "run.config_changed",
            Self::Model { .. } => "ckpt.model",
            Self::Data { .. } => "ckpt.data",
            Self::DuplicateStep { .. } => "ckpt.duplicate_step",
            Self::Symlink { .. } => "ckpt.symlink",
            Self::Content { name, .. } if name == "cursor.json" => "ckpt.cursor",
            Self::Content { .. } => "ckpt.content",
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Io { .. } | Self::Sync { .. } | Self::NoSpace { .. } => Kind::Storage,
            Self::NoRename { .. } => Kind::Environment,
            _ => Kind::Input,
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NoSpace { .. } => "free some space and submit the same command again",
            Self::Sync { .. } => {
                "check the device with `dmesg`, then submit the same command again"
            }
            Self::NoRename { .. } => {
                "put the run directory on a local file system such as ext4, xfs or btrfs"
            }
            Self::NoneGood { .. } => {
                "restore a checkpoint, or start again at step 0 with `--resume never`"
            }
            Self::Version { .. } => {
                "load it with the program version that wrote it, or a newer one"
            }
            Self::ConfigChanged { .. } => {
                "restore the settings, choose another `--run-dir`, or name the keys in `--allow-config-change`"
            }
            Self::Model { .. } | Self::Data { .. } => {
                "use the original files, or choose another `--run-dir`"
            }
            Self::DuplicateStep { .. } => "choose another `--run-dir`",
            Self::Symlink { .. } => "copy the checkpoint instead of linking it",
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

/// Code of a failed file operation.
fn io_code(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull => "io.no_space",
        io::ErrorKind::QuotaExceeded => "io.quota",
        _ => "io.error",
    }
}

fn name_last(step: Option<u64>) -> String {
    step.map_or_else(
        || "no checkpoint has been saved yet".to_owned(),
        |step| format!("the last good one is step {step}"),
    )
}

fn list(changes: &[Change]) -> String {
    changes.iter().fold(String::new(), |list, change| {
        list + "\n  " + &change.to_string()
    })
}
