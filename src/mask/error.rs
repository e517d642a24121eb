//! Why a mask file was refused, and what is odd about one that was not.

use crate::fault::{Coded, Kind};
use crate::mask::foreign::problem::ForeignProblem;
use crate::mask::sidecar::container::ContainerProblem;
use std::fmt;
use std::path::{Path, PathBuf};

/// A refused mask file: which one, and why.
#[derive(Debug)]
pub struct MaskError {
    /// The file as the caller named it.
    pub file: PathBuf,
    /// What is wrong.
    pub problem: MaskProblem,
}

/// What is wrong with a mask file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MaskProblem {
    /// The bytes are not a safetensors file.
    #[error(transparent)]
    Container(#[from] ContainerProblem),
    /// Something that only files of other programs get wrong.
    #[error(transparent)]
    Foreign(#[from] ForeignProblem),
    /// Some other safetensors file, e.g. a checkpoint.
    #[error("not a `{expected}` file: `prulong.kind` is {}", shown(.found.as_ref()))]
    Kind {
        /// What was looked for.
        expected: &'static str,
        /// The key's value.
        found: Option<String>,
    },
    /// Written by a newer program, or not numbered.
    #[error("mask format version {} is not one this program reads (1)", shown(.found.as_ref()))]
    Version {
        /// The key's value.
        found: Option<String>,
    },
    /// Heads are counted or ordered in an unknown way.
    #[error("`{key}` is {}, not `{expected}`", shown(.found.as_ref()))]
    HeadAxis {
        /// The key.
        key: &'static str,
        /// The only value known.
        expected: &'static str,
        /// The key's value.
        found: Option<String>,
    },
    /// Nothing says which value means retrieval.
    #[error("`{key}` is {}, not `{expected}`", shown(.found.as_ref()))]
    PolarityUnstated {
        /// The key.
        key: &'static str,
        /// The only value known.
        expected: &'static str,
        /// The key's value.
        found: Option<String>,
    },
    /// A required key is missing or malformed.
    #[error("`{key}` is {}, not {expected}", shown(.found.as_ref()))]
    Metadata {
        /// The key.
        key: String,
        /// What it should hold.
        expected: &'static str,
        /// The key's value.
        found: Option<String>,
    },
    /// A tensor has another element type.
    #[error("tensor `{tensor}` is {found}, not {expected}")]
    Dtype {
        /// The tensor.
        tensor: String,
        /// The type it must have.
        expected: &'static str,
        /// The type it has.
        found: String,
    },
    /// Sizes do not fit.
    #[error("{found}, but {expected}")]
    Shape {
        /// What the file holds.
        found: String,
        /// What it should hold.
        expected: String,
    },
    /// A value outside its set.
    #[error("{place} holds {found}, not {expected}")]
    Values {
        /// Where.
        place: String,
        /// What is there.
        found: String,
        /// What may be there.
        expected: &'static str,
    },
    /// Stored counts contradict the stored mask.
    #[error("`{key}` is {stored}, but the mask has {counted}")]
    Counts {
        /// The key.
        key: &'static str,
        /// What the metadata says.
        stored: String,
        /// What the tensor says.
        counted: String,
    },
    /// The order contradicts the mask or the gates.
    #[error("tensor `retrieval_rank` {reason}")]
    Rank {
        /// How.
        reason: &'static str,
    },
    /// NaN or infinity.
    #[error("tensor `{tensor}` is not finite at layer {layer}, kv head {kv_head}")]
    NonFinite {
        /// The tensor.
        tensor: String,
        /// Decoder block.
        layer: usize,
        /// Kv head within it.
        kv_head: usize,
    },
    /// Sink, window or block are unusable.
    #[error("the span to deploy with is unusable: {reason}")]
    Span {
        /// Why.
        reason: String,
    },
    /// Made for a model of another architecture.
    #[error("made for another architecture: {}", .differences.join(", "))]
    BaseArch {
        /// Facts that differ.
        differences: Vec<String>,
    },
    /// Trained together with other weights.
    #[error(
        "the mask was trained together with its weights, and the model's differ ({found} against {expected})"
    )]
    BaseWeights {
        /// Digest stored.
        expected: String,
        /// Digest of the model.
        found: String,
    },
    /// A warning that was asked to be an error.
    #[error("{0}")]
    Strict(MaskWarning),
    /// Rows of different lengths.
    #[error(
        "line {line}, column {}: the line has {found} columns, the lines before have {expected}",
        .found.min(.expected) + 1
    )]
    Ragged {
        /// Line, counted from 1.
        line: usize,
        /// Its columns.
        found: usize,
        /// Columns of the first line.
        expected: usize,
    },
    /// Not tabs.
    #[error("line {line}, column {column}: numbers are separated by `{separator}`, not by tabs")]
    Separator {
        /// Line, counted from 1.
        line: usize,
        /// Column, counted from 1.
        column: usize,
        /// The separator found.
        separator: char,
    },
    /// Column names.
    #[error("line 1, column {column}: a name (`{found}`), not a number")]
    HeaderRow {
        /// Column, counted from 1.
        column: usize,
        /// The field.
        found: String,
    },
    /// Graded scores where a decision is needed.
    #[error("{place} holds the score {example}: these are scores, not a 0/1 mask")]
    NotBinary {
        /// Where.
        place: String,
        /// A value that is neither.
        example: f64,
    },
}

/// Something about a sound mask file that its user should know.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MaskWarning {
    /// Every head streams.
    #[error("all {num_heads} kv heads are streaming heads")]
    AllStreaming {
        /// Heads in the mask.
        num_heads: usize,
    },
    /// No head streams.
    #[error("all {num_heads} kv heads are retrieval heads: the mask saves nothing")]
    AllRetrieval {
        /// Heads in the mask.
        num_heads: usize,
    },
    /// Same tensors, other positions.
    #[error("the model's rotary embedding or maximum length differs: {}", .differences.join(", "))]
    BaseConfig {
        /// Facts that differ.
        differences: Vec<String>,
    },
    /// Same architecture, other weights or revision.
    #[error("the mask was made for other weights: {what} {expected}, the model has {found}")]
    BaseWeights {
        /// Digest or revision.
        what: &'static str,
        /// As stored.
        expected: String,
        /// As found.
        found: String,
    },
    /// Used with another span or rule than stored.
    #[error("{field} {used} is used, the mask was made for {stored}")]
    SpanMismatch {
        /// Sink, window, block or rule.
        field: &'static str,
        /// As stored.
        stored: String,
        /// As used.
        used: String,
    },
    /// Scores alike on both sides of the cut.
    #[error(
        "{num_tied} heads share the score at the cut, {score}: {num_kept} of them are kept, in the order of layers and heads"
    )]
    TiesAtCut {
        /// The score.
        score: f64,
        /// Heads that have it.
        num_tied: usize,
        /// Heads that have it and are retrieval heads.
        num_kept: usize,
    },
    /// So many gates are alike at the cut once they are clipped, and so many of them are retrieval heads.
    #[error(
        "{0} gates are alike at the cut once clipped: {1} of them are kept, by what the last update left"
    )]
    ClippedAtCut(usize, usize),
    /// A file's name and its content disagree.
    #[error(
        "the name says sparsity {named}, hence {expected} retrieval heads; the file has {found}"
    )]
    NameSparsity {
        /// As in the name.
        named: f64,
        /// Retrieval heads that `PruLong` keeps at it.
        expected: usize,
        /// Retrieval heads there are.
        found: usize,
    },
    /// Layers that the file does not mention.
    #[error("layers {} are not in the file: all their heads are retrieval heads", list(.layers))]
    MissingLayers {
        /// Counted from 0.
        layers: Vec<usize>,
    },
    /// A configuration with two pairs of sizes.
    #[error("{field} {deploy} is ignored, as its program does: {used} is taken")]
    DeploySize {
        /// The key.
        field: &'static str,
        /// Its value.
        deploy: usize,
        /// The value of the key without `deploy_`.
        used: usize,
    },
    /// One row or column: NumPy-based loaders squeeze it.
    #[error(
        "a {num_layers} x {num_kv_heads} table loses a dimension in NumPy-based loaders; reshape it there"
    )]
    TsvSqueezed {
        /// Rows.
        num_layers: usize,
        /// Columns.
        num_kv_heads: usize,
    },
}

/// A key's value in an error text.
fn shown(found: Option<&String>) -> String {
    found.map_or_else(|| "missing".to_owned(), |value| format!("`{value}`"))
}

/// Numbers in an error text.
fn list(numbers: &[usize]) -> String {
    let numbers: Vec<String> = numbers.iter().map(ToString::to_string).collect();
    numbers.join(", ")
}

impl MaskError {
    /// Adds the file to a problem.
    pub fn new(file: &Path, problem: impl Into<MaskProblem>) -> Self {
        Self {
            file: file.to_owned(),
            problem: problem.into(),
        }
    }
}

impl fmt::Display for MaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file.display(), self.problem)
    }
}

impl std::error::Error for MaskError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.problem.source()
    }
}

impl Coded for MaskError {
    fn code(&self) -> &'static str {
        self.problem.code()
    }
    fn kind(&self) -> Kind {
        match self.problem {
            MaskProblem::Container(ContainerProblem::Read { .. }) => Kind::Storage,
            _ => Kind::Input,
        }
    }
    fn hint(&self) -> Option<String> {
        let hint = match &self.problem {
            MaskProblem::Foreign(problem) => return Some(problem.hint()),
            MaskProblem::Container(ContainerProblem::LfsPointer) => "run `git lfs pull`",
            MaskProblem::Container(ContainerProblem::Truncated { .. }) => "fetch the file again",
            MaskProblem::Container(ContainerProblem::LooksLikeHtml) => {
                "download the raw file, not the page that shows it"
            }
            MaskProblem::Version { .. } => "use a newer prulong",
            MaskProblem::BaseArch { .. } => "use the mask with the model it was trained on",
            MaskProblem::NotBinary { .. } => "choose `--sparsity` or `--num-retrieval`",
            MaskProblem::Separator { .. } => "separate the numbers by tabs",
            MaskProblem::HeaderRow { .. } => "remove the line with the names",
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

impl MaskProblem {
    /// Stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Container(problem) => problem.code(),
            Self::Foreign(problem) => problem.code(),
            Self::Kind { .. } => "mask.kind",
            Self::Version { .. } => "mask.version",
            Self::HeadAxis { .. } => "mask.head_axis",
            Self::PolarityUnstated { .. } => "mask.polarity_unstated",
            Self::Metadata { .. } => "mask.metadata",
            Self::Dtype { .. } => "mask.dtype",
            Self::Shape { .. } => "mask.shape",
            Self::Values { .. } => "mask.values",
            Self::Counts { .. } => "mask.counts",
            Self::Rank { .. } => "mask.rank",
            Self::NonFinite { .. } => "mask.nonfinite",
            Self::Span { .. } => "mask.span",
            Self::BaseArch { .. } => "mask.base_arch",
            Self::BaseWeights { .. } => "mask.base_weights",
            Self::Strict(warning) => warning.code(),
            Self::Ragged { .. } => "mask.ragged",
            Self::Separator { .. } => "mask.separator",
            Self::HeaderRow { .. } => "mask.header_row",
            Self::NotBinary { .. } => "mask.not_binary",
        }
    }
}

impl MaskWarning {
    /// Stable code, the same as the error it becomes under `--strict`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::AllStreaming { .. } => "mask.all_streaming",
            Self::AllRetrieval { .. } => "mask.all_retrieval",
            Self::BaseConfig { .. } => "mask.base_config",
            Self::BaseWeights { .. } => "mask.base_weights",
            Self::SpanMismatch { .. } => "mask.span_mismatch",
            Self::TiesAtCut { .. } => "mask.ties_at_cut",
            Self::ClippedAtCut(..) => "mask.clipped_at_cut",
            Self::NameSparsity { .. } => "mask.name_sparsity",
            Self::MissingLayers { .. } => "mask.missing_layers",
            Self::DeploySize { .. } => "mask.deploy_size",
            Self::TsvSqueezed { .. } => "mask.tsv_squeezed",
        }
    }
}
