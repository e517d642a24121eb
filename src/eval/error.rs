//! What can go wrong between a task and its results.

use crate::data::error::DataError;
use crate::data::mds::error::MdsError;
use crate::fault::{Coded, Kind};
use std::path::PathBuf;

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
    /// Packed rows could not be read.
    #[error("cannot read the packed rows to hide needles in")]
    Rows(#[from] MdsError),
    /// A setting that must be at least 1 is 0.
    #[error("{setting} must be at least 1")]
    Zero {
        /// The setting.
        setting: &'static str,
    },
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
    /// A result file could not be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The operating system's answer.
        #[source]
        source: std::io::Error,
    },
    /// A result file is already there.
    #[error("{} exists already", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A result file that cannot be made.
    #[error("cannot write the results to {}: {problem}", path.display())]
    NoFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        problem: &'static str,
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
    /// The score asked for was not reached.
    #[error(
        "`{method}` has {scoring} {metric} {found:.4} on `{task}`, below the {wanted} asked for"
    )]
    Under {
        /// The method judged.
        method: String,
        /// The task.
        task: &'static str,
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

impl Coded for EvalError {
    fn code(&self) -> &'static str {
        match self {
            Self::NoHaystack { .. } => "eval.no_haystack",
            Self::TooShort { .. } | Self::TooLong { .. } | Self::TooMany { .. } => "eval.lengths",
            Self::Data(error) => error.code(),
            Self::Rows(error) => error.code(),
            Self::Zero { .. } => "eval.zero",
            Self::Missing { .. } => "eval.missing",
            Self::Streaming { .. } => "eval.streaming",
            Self::Method { .. } => "eval.method",
            Self::Mask { .. } => "mask.shape",
            Self::Footprint { .. } => "eval.footprint",
            Self::ReadMask { .. } => "mask.read",
            Self::Write { .. } => "eval.write",
            Self::Exists { .. } => "eval.exists",
            Self::NoFile { .. } => "eval.no_file",
            Self::Unread { .. } => "eval.metric",
            Self::Under { .. } => "eval.fail_under",
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Data(error) => error.kind(),
            Self::Rows(error) => error.kind(),
            Self::Footprint { .. } => Kind::Numerical,
            Self::Write { .. } => Kind::Storage,
            Self::Under { .. } => Kind::Answer,
            _ => Kind::Input,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::TooShort { needed, .. } => Some(format!("use --lengths of {needed} or more")),
            Self::TooMany { .. } => Some("use shorter --lengths, or another --task".into()),
            Self::TooLong { max, .. } => Some(format!("use --lengths up to {max}")),
            Self::Data(error) => error.hint(),
            Self::Exists { .. } => Some("name another file with -o, or pass --force".into()),
            Self::NoFile { .. } => Some("name a file in a folder that exists with -o".into()),
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
