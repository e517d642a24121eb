//! What can be wrong with a configuration, and where.

use crate::fault::{Coded, Kind};
use crate::schedule::ScheduleError;
use crate::shape::ShapeError;
use crate::span::SpanError;
use std::fmt;
use std::path::PathBuf;

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In the file.
    File {
        /// The file, as the user named it.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
    },
    /// In an override.
    Override {
        /// What was typed after `--set`.
        text: String,
    },
    /// In the flags of a command that was given no file.
    Flags,
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line, column } => {
                write!(formatter, "{}:{line}:{column}", path.display())
            }
            Self::Override { text } => write!(formatter, "--set '{text}'"),
            Self::Flags => formatter.write_str("command line"),
        }
    }
}

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read `{path}`")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// The file is no configuration by its size.
    #[error("`{path}` holds {bytes} bytes; a configuration holds at most {largest}")]
    TooBig {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
        /// The limit.
        largest: u64,
    },
    /// The file is not UTF-8.
    #[error("`{path}` is not UTF-8 text from byte {offset} on")]
    Encoding {
        /// The file.
        path: PathBuf,
        /// First byte that is wrong.
        offset: usize,
    },
    /// The file is not TOML.
    #[error("{place}: {reason}")]
    Syntax {
        /// Where reading stopped.
        place: Place,
        /// The parser's reason.
        reason: String,
    },
    /// One setting is wrong.
    #[error("{place}: `{key}` {problem}")]
    Setting {
        /// Where it was written; for a missing key, its table.
        place: Place,
        /// Dotted name.
        key: String,
        /// What is wrong with it; boxed to keep results small.
        problem: Box<Problem>,
    },
    /// An override is not of the form `a.b=value`.
    #[error("--set '{text}' {reason}")]
    Override {
        /// What was typed.
        text: String,
        /// Why it cannot be applied.
        reason: &'static str,
    },
    /// The resolved settings cannot be printed.
    #[error("cannot print the resolved configuration")]
    Print {
        /// The printer's reason.
        source: toml::ser::Error,
    },
}

/// What is wrong with one setting; reads after its name.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// No such key.
    #[error("is no setting")]
    UnknownKey {
        /// Names that exist there.
        known: Vec<&'static str>,
    },
    /// A word that is none of the allowed ones.
    #[error("= \"{value}\" is no choice here")]
    UnknownValue {
        /// The word.
        value: String,
        /// The allowed ones.
        known: Vec<&'static str>,
    },
    /// A value that an experiment must state.
    #[error("is missing")]
    Missing,
    /// Another type of value.
    #[error("is {found}, expected {expected}")]
    Type {
        /// What is there.
        found: String,
        /// What belongs there.
        expected: String,
    },
    /// `nan` or `inf`.
    #[error("= {value} is not finite")]
    NotFinite {
        /// The value.
        value: f64,
    },
    /// A value outside its range.
    #[error("= {value} must be {expected}")]
    Range {
        /// The value.
        value: String,
        /// The range, in words.
        expected: String,
    },
    /// Settings that exclude or need each other.
    #[error("{reason}")]
    Conflict {
        /// Why; reads after the key.
        reason: String,
    },
    /// `~` or a variable in a path.
    #[error("= \"{value}\" holds `{sign}`, which is not expanded")]
    Expansion {
        /// The path.
        value: String,
        /// `~` or `$`.
        sign: char,
    },
    /// A value that its own type refuses.
    #[error("{reason}")]
    Value {
        /// The type's reason; reads after the key.
        reason: String,
    },
    /// Sink, window and block do not fit.
    #[error("does not fit: {why}")]
    Span {
        /// Why.
        why: SpanError,
    },
    /// A schedule has no values.
    #[error("does not fit: {why}")]
    Schedule {
        /// Why.
        why: ScheduleError,
    },
    /// Heads cannot be shared.
    #[error("does not fit: {why}")]
    Shape {
        /// Why.
        why: ShapeError,
    },
}

/// A problem and the setting it belongs to, before its place is looked up.
#[derive(Debug)]
pub struct Bad {
    /// Dotted name.
    pub key: String,
    /// What is wrong.
    pub problem: Problem,
}

impl Bad {
    pub(super) fn new(key: &str, problem: Problem) -> Self {
        let key = key.to_owned();
        Self { key, problem }
    }
}

impl Problem {
    fn code(&self) -> &'static str {
        match self {
            Self::UnknownKey { .. } => "config.unknown_key",
            Self::UnknownValue { .. } => "config.unknown_value",
            Self::Missing => "config.missing_key",
            Self::Type { .. } => "config.type",
            Self::NotFinite { .. } => "config.not_finite",
            Self::Range { .. } => "config.range",
            Self::Conflict { .. } => "config.exclusive",
            Self::Expansion { .. } => "config.expansion",
            Self::Value { .. } => "config.value",
            Self::Span { why } => why.code(),
            Self::Schedule { why } => why.code(),
            Self::Shape { why } => why.code(),
        }
    }

    fn hint(&self, key: &str) -> Option<String> {
        match self {
            Self::UnknownKey { known } => {
                let written = key.rsplit('.').next().unwrap_or(key);
                Some(nearest(written, known))
            }
            Self::UnknownValue { value, known } => Some(nearest(value, known)),
            Self::Missing => Some(format!("write it into the file, or pass --set {key}=VALUE")),
            Self::Expansion { .. } => {
                Some("write the path out, or relative to the configuration file".to_owned())
            }
            Self::Span { why } => why.hint(),
            Self::Schedule { why } => why.hint(),
            Self::Shape { why } => why.hint(),
            _ => None,
        }
    }
}

/// Names the most similar known word if few letters differ, else all of them.
pub fn nearest(written: &str, known: &[&'static str]) -> String {
    let distance = |word: &str| strsim::damerau_levenshtein(written, word);
    match known.iter().min_by_key(|word| distance(word)) {
        Some(best) if distance(best) * 3 <= best.len().max(written.len()) => {
            format!("did you mean `{best}`?")
        }
        Some(_) => format!("known here: `{}`", known.join("`, `")),
        None => "nothing can be set here".to_owned(),
    }
}

impl Coded for ConfigError {
    fn code(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "config.unreadable",
            Self::TooBig { .. } => "config.too_big",
            Self::Encoding { .. } => "config.encoding",
            Self::Syntax { .. } => "config.not_toml",
            Self::Setting { problem, .. } => problem.code(),
            Self::Override { .. } => "config.override",
            Self::Print { .. } => "config.print",
        }
    }

    fn kind(&self) -> Kind {
        Kind::Input
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Setting { key, problem, .. } => problem.hint(key),
            Self::Override { .. } => {
                Some("write --set section.key=value, e.g. --set optimizer.steps=100".to_owned())
            }
            Self::Encoding { .. } => Some("save the file as UTF-8".to_owned()),
            _ => None,
        }
    }
}
