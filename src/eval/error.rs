//! What can go wrong between a task and its results.

use super::files::error::FilesError;
use crate::checkpoint::identity::Change;
use crate::data::error::DataError;
use crate::data::mds::error::MdsError;
use crate::fault::{Coded, Kind};
use std::path::{Path, PathBuf};

/// Why an evaluation was refused or stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvalError {
    /// No held-out text to hide needles in.
    #[error("there is no text to hide needles in: {found}")]
    NoHaystack {
        /// What was found instead.
        found: String,
        /// The way out.
        remedy: &'static str,
    },
    /// A length too short for what the task asks.
    #[error("a length of {length} tokens is too short for `{task}`, which needs {needed} here")]
    TooShort {
        /// The task.
        task: &'static str,
        /// The length asked for, in tokens.
        length: usize,
        /// Tokens of the task's smallest prompt with its answer.
        needed: usize,
    },
    /// A length that a task cannot fill.
    #[error("`{task}` cannot fill {length} tokens: it has at most {max} {units}")]
    TooMany {
        /// The task.
        task: &'static str,
        /// The length asked for, in tokens.
        length: usize,
        /// The most that can be drawn.
        max: usize,
        /// Of what.
        units: &'static str,
    },
    /// A length beyond what the model was made for.
    #[error("a length of {length} tokens is beyond the model's max_position_embeddings = {max}")]
    TooLong {
        /// The length asked for, in tokens.
        length: usize,
        /// The model's limit.
        max: usize,
    },
    /// Text could not be read or tokenised.
    #[error("cannot write the prompts")]
    Data(#[from] DataError),
    /// The user's files of a published evaluation cannot be used.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// Packed rows could not be read.
    #[error("cannot read the packed rows to hide needles in")]
    Rows(#[from] MdsError),
    /// A method needs something that was not given.
    #[error("{setting} needs {missing}")]
    Missing {
        /// What was asked for.
        setting: &'static str,
        /// What it needs.
        missing: &'static str,
        /// The way out.
        remedy: &'static str,
    },
    /// Masks that stream differently, which one run does not do.
    #[error("the masks stream differently: {first}, and {other}")]
    Streaming {
        /// Rule, sink and window of the first mask.
        first: String,
        /// Those of another one.
        other: String,
    },
    /// A word that names no method.
    #[error("cannot run the method `{text}`: {reason}")]
    Method {
        /// The word as given.
        text: String,
        /// Why not.
        reason: String,
    },
    /// The mask was made for a model of another layout.
    #[error(
        "the mask covers {mask_layers} x {mask_kv_heads} kv heads, the model has {layers} x {kv_heads}"
    )]
    Mask {
        /// Layers of the mask.
        mask_layers: usize,
        /// Kv heads per layer of the mask.
        mask_kv_heads: usize,
        /// Layers of the model.
        layers: usize,
        /// Kv heads per layer of the model.
        kv_heads: usize,
    },
    /// What the caches counted is not what the formula says.
    #[error("the caches of `{method}` counted {counted}, the formula says {formula}")]
    Footprint {
        /// The method.
        method: String,
        /// Footprint and peak as counted.
        counted: String,
        /// Footprint and peak as predicted.
        formula: String,
    },
    /// A mask file could not be read.
    #[error("cannot read the mask {}", path.display())]
    ReadMask {
        /// The file.
        path: PathBuf,
        /// The operating system's answer.
        #[source]
        source: std::io::Error,
    },
    /// A file of the run folder could not be read or written.
    #[error("cannot {action} `{}`", path.display())]
    File {
        /// What was attempted.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The operating system's answer.
        #[source]
        source: std::io::Error,
    },
    /// A line of a file of predictions is none.
    #[error("{}:{line}: not a prediction: {reason}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Line, counted from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// The run folder holds no results that could be read back.
    #[error("`{}` holds no finished evaluation: {reason}", path.display())]
    Unfinished {
        /// The run folder.
        path: PathBuf,
        /// What is missing.
        reason: String,
    },
    /// A file of results is none.
    #[error("{}:{line}:{column}: not the results of an evaluation: {reason}", path.display())]
    BadResults {
        /// The file.
        path: PathBuf,
        /// Line, counted from 1.
        line: usize,
        /// Column, counted from 1.
        column: usize,
        /// What is wrong.
        reason: String,
    },
    /// The run folder holds answers to another question.
    #[error("`{}` holds another evaluation:{}", path.display(), list(changes))]
    Changed {
        /// The run folder.
        path: PathBuf,
        /// Every setting that differs.
        changes: Vec<Change>,
    },
    /// The run folder is no evaluation's.
    #[error("`{}` is not the folder of an evaluation: {reason}", path.display())]
    Foreign {
        /// The run folder.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// A signal asked to stop; every finished item is in the run folder.
    #[error("interrupted; {num_done} of {num_items} items are finished")]
    Interrupted {
        /// Items finished.
        num_done: usize,
        /// Items of the run.
        num_items: usize,
    },
    /// Some items have no answer.
    #[error("{num_failed} of {num_items} items failed:{}", list(failures))]
    Failed {
        /// How many.
        num_failed: usize,
        /// Items of the run.
        num_items: usize,
        /// The first ones.
        failures: Vec<String>,
    },
    /// A method cannot compress before the question of a task that asks first.
    #[error(
        "`{task}` asks before its context ends, so that nothing is compressed without knowing the question"
    )]
    AskedFirst {
        /// The task.
        task: String,
    },
    /// A metric that cannot read what a right answer is.
    #[error("`{metric}` cannot score an answer whose gold is of the kind `{gold}`{}", if *has_tokens { "" } else { " and has no token ids" })]
    Unread {
        /// The metric.
        metric: &'static str,
        /// The gold's kind.
        gold: &'static str,
        /// Whether both answers are known as token ids.
        has_tokens: bool,
    },
    /// Not the number of plots that can be shown.
    #[error("{num_found} plots fit what is asked for, of:{}", list(all))]
    Plots {
        /// How many fit.
        num_found: usize,
        /// Those there are.
        all: Vec<String>,
    },
    /// The score asked for was not reached.
    #[error(
        "`{method}` has {scoring} {metric} {found:.4} on `{task}`, below the {wanted} asked for"
    )]
    Under {
        /// The method judged.
        method: String,
        /// The task.
        task: String,
        /// The metric that the task is judged by.
        metric: &'static str,
        /// Which of its scores.
        scoring: &'static str,
        /// Its mean.
        found: f64,
        /// The mean asked for.
        wanted: f64,
    },
}

impl EvalError {
    /// Names the file of a failed operation.
    pub fn file(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let path = path.to_path_buf();
        move |source| Self::File {
            action,
            path,
            source,
        }
    }
}

/// One line for each.
fn list(parts: &[impl std::fmt::Display]) -> String {
    let lines = parts.iter().map(|part| format!("\n  {part}"));
    lines.collect()
}

impl Coded for EvalError {
    fn code(&self) -> &'static str {
        match self {
            Self::NoHaystack { .. } => "eval.no_haystack",
            Self::TooShort { .. } | Self::TooMany { .. } => "task.length",
            Self::TooLong { .. } => "eval.lengths",
            Self::Data(error) => error.code(),
            Self::Files(error) => error.code(),
            Self::Rows(error) => error.code(),
            Self::Missing { .. } => "eval.missing",
            Self::Streaming { .. } => "eval.streaming",
            Self::Method { .. } => "eval.method",
            Self::Mask { .. } => "mask.shape",
            Self::Footprint { .. } => "eval.footprint",
            Self::ReadMask { .. } => "mask.read",
            Self::File { source, .. } => match source.kind() {
                std::io::ErrorKind::StorageFull => "io.no_space",
                std::io::ErrorKind::QuotaExceeded => "io.quota",
                _ => "io.error",
            },
            Self::Line { .. } => "eval.prediction",
            Self::Unfinished { .. } => "eval.unfinished",
            Self::BadResults { .. } => "eval.results",
            Self::Changed { .. } => "run.config_changed",
            Self::Foreign { .. } => "run.foreign_files",
            Self::Interrupted { .. } => "eval.interrupted",
            Self::Failed { .. } => "eval.failed",
            Self::AskedFirst { .. } => "task.asks_first",
            Self::Unread { .. } => "eval.metric",
            Self::Plots { .. } => "eval.plots",
            Self::Under { .. } => "eval.fail_under",
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Data(error) => error.kind(),
            Self::Files(error) => error.kind(),
            Self::Rows(error) => error.kind(),
            Self::Footprint { .. } => Kind::Numerical,
            Self::File { .. } => Kind::Storage,
            Self::Interrupted { .. } => Kind::Interrupted,
            Self::Under { .. } | Self::Failed { .. } => Kind::Answer,
            _ => Kind::Input,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::TooShort { needed, .. } => Some(format!("use --lengths of {needed} or more")),
            Self::TooMany { .. } => Some("use shorter --lengths, or another --task".into()),
            Self::TooLong { max, .. } => Some(format!("use --lengths up to {max}")),
            Self::AskedFirst { .. } => {
                Some("ask it without --query-agnostic, or leave it out".into())
            }
            Self::Data(error) => error.hint(),
            Self::Files(error) => error.hint(),
            Self::Line { .. } => Some("remove that line: its item is run again".into()),
            Self::Unfinished { .. } => {
                Some("pass the folder that `prulong eval --run-dir` wrote; its command given again completes it".into())
            }
            Self::BadResults { .. } => {
                Some("give the evaluation's command again: it writes the results anew".into())
            }
            Self::Changed { .. } => {
                Some("restore the settings, or choose another `--run-dir`".into())
            }
            Self::Foreign { .. } => Some("choose an empty or new folder as `--run-dir`".into()),
            Self::Interrupted { .. } => Some("give the same command again to go on".into()),
            Self::Failed { .. } => {
                Some("give the same command again to run those items once more".into())
            }
            Self::Plots { .. } => {
                Some("choose one with --task, --length, --chunk and --model".into())
            }
            Self::Rows(error) => error.hint(),
            Self::Missing { remedy, .. } | Self::NoHaystack { remedy, .. } => {
                Some((*remedy).into())
            }
            Self::ReadMask { .. } => {
                Some("pass the head_mask.safetensors that `prulong export-mask` wrote".into())
            }
            Self::Streaming { .. } => Some("say how with --rule, --sink and --window".into()),
            Self::Mask { .. } => Some("pass the mask that was trained for this model".into()),
            Self::Footprint { .. } => Some("this is a defect of prulong; please report it".into()),
            _ => None,
        }
    }
}
