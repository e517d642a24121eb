//! What can be wrong with the files of a published evaluation.

use crate::config::error::ConfigError;
use crate::data::chat_template::ChatError;
use crate::fault::{Coded, Kind};
use std::fmt::Write;
use std::path::PathBuf;

/// Why a data set cannot be asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FilesError {
    /// The folder it lies in was not named.
    #[error("`{task}` reads {what}, which was not named")]
    Unnamed {
        /// The task.
        task: &'static str,
        /// Whose folder.
        what: &'static str,
        /// The way out.
        remedy: &'static str,
    },
    /// A file is not where it is expected.
    #[error("`{task}` needs a file that is not there:{}", list(paths))]
    NotFound {
        /// The task.
        task: &'static str,
        /// Where it was looked for, one of which is enough.
        paths: Vec<PathBuf>,
        /// Where it comes from.
        remedy: &'static str,
    },
    /// None of a suite's files is there.
    #[error(
        "none of the files of the suite `{suite}` is there; the first ones looked for:{}",
        list(paths)
    )]
    Nothing {
        /// The suite.
        suite: &'static str,
        /// Some of them.
        paths: Vec<PathBuf>,
    },
    /// A length that was not published.
    #[error("`{task}` has no files for a length of {length} tokens, only for {known:?}")]
    Tier {
        /// The task.
        task: &'static str,
        /// The length asked for, in tokens.
        length: usize,
        /// Lengths there are.
        known: &'static [usize],
    },
    /// A file cannot be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's answer.
        #[source]
        source: std::io::Error,
    },
    /// A row is none of the data set's.
    #[error("{}:{row}: {reason}", path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// Line, or place in the file's list, from 1.
        row: usize,
        /// What is wrong.
        reason: String,
    },
    /// A file is no list of rows.
    #[error("`{}`: {reason}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A wording is no TOML of one.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A wording names a field that its data set has not.
    #[error("{name}: `{part}` {reason}; known are {}", known.iter().map(|field| format!("{{{field}}}")).collect::<Vec<_>>().join(", "))]
    Wording {
        /// The file, or the name of one of ours.
        name: String,
        /// Which text.
        part: &'static str,
        /// What is wrong with it.
        reason: String,
        /// Fields of that text.
        known: Vec<&'static str>,
    },
    /// A folder of wordings with a file that replaces nothing.
    #[error("`{}` replaces no wording; there are {}", path.display(), known.join(", "))]
    UnknownWording {
        /// The file.
        path: PathBuf,
        /// Names of ours.
        known: Vec<String>,
    },
    /// An item is longer than the length asked for, and nothing of it may be left out.
    #[error("{source_row}: prompt and longest output take {needed} tokens, more than {length}")]
    Overflow {
        /// File and row of the item.
        source_row: String,
        /// Tokens it takes.
        needed: usize,
        /// The length asked for.
        length: usize,
    },
    /// The model's chat template cannot be used.
    #[error(transparent)]
    Chat(#[from] ChatError),
}

impl Coded for FilesError {
    fn code(&self) -> &'static str {
        match self {
            Self::Unnamed { .. } => "task.files",
            Self::NotFound { .. } | Self::Nothing { .. } => "task.file_missing",
            Self::Tier { .. } | Self::Overflow { .. } => "task.length",
            Self::Read { .. } => "task.file_read",
            Self::Row { .. } | Self::Format { .. } => "task.row",
            Self::Config(error) => error.code(),
            Self::Wording { .. } | Self::UnknownWording { .. } => "task.wording",
            Self::Chat(error) => error.code(),
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Config(error) => error.kind(),
            Self::Chat(error) => error.kind(),
            _ => Kind::Input,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Unnamed { remedy, .. } | Self::NotFound { remedy, .. } => Some((*remedy).into()),
            Self::Nothing { .. } => {
                Some("`prulong eval --list` says which folder each task reads".into())
            }
            Self::Tier { .. } => Some("choose --lengths among them".into()),
            Self::Overflow { .. } => Some("choose longer --lengths, or --on-overflow skip".into()),
            Self::Config(error) => error.hint(),
            Self::Chat(error) => error.hint(),
            _ => None,
        }
    }
}

/// One line for each.
fn list(paths: &[PathBuf]) -> String {
    paths.iter().fold(String::new(), |mut lines, path| {
        let _ = write!(lines, "\n  {}", path.display());
        lines
    })
}
