//! Why written answers cannot be scored, or have other scores than were written down.

use crate::fault::{Coded, Kind};
use std::path::PathBuf;

/// Why written answers cannot be scored, or have other scores than were written down.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RescoreError {
    /// The file cannot be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's answer.
        #[source]
        source: std::io::Error,
    },
    /// A folder without answers.
    #[error("`{}` holds no `{name}`: it is not the run folder of an evaluation", path.display())]
    NoPredictions {
        /// The folder.
        path: PathBuf,
        /// The file that is missing.
        name: &'static str,
    },
    /// There is nothing to score.
    #[error("`{}` holds no answers", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A line that cannot be scored.
    #[error("{}:{line}: {reason}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Line, counted from 1.
        line: usize,
        /// What is wrong.
        reason: String,
        /// The way out, where there is one.
        remedy: Option<&'static str>,
    },
    /// Other scores than were written down.
    #[error(
        "`{}`: {num_different} of {num_compared} stored scores are not what the answers score:{}",
        path.display(),
        list(first)
    )]
    Differ {
        /// The file.
        path: PathBuf,
        /// Scores that differ.
        num_different: usize,
        /// Stored scores that were computed again.
        num_compared: usize,
        /// The first ones that differ.
        first: Vec<String>,
    },
}

/// One line for each.
fn list(parts: &[String]) -> String {
    let lines = parts.iter().map(|part| format!("\n  {part}"));
    lines.collect()
}

impl Coded for RescoreError {
    fn code(&self) -> &'static str {
        match self {
            Self::Read { .. } => "rescore.unreadable",
            Self::NoPredictions { .. } => "rescore.no_predictions",
            Self::Empty { .. } => "rescore.empty",
            Self::Line { .. } => "rescore.line",
            Self::Differ { .. } => "rescore.differ",
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Differ { .. } => Kind::Answer,
            _ => Kind::Input,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Line { remedy, .. } => remedy.map(str::to_owned),
            Self::Differ { .. } => {
                Some("the file was changed, or another version of prulong scored it".to_owned())
            }
            _ => None,
        }
    }
}
