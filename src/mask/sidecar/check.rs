//! The checks that a mask file passes, in their order, and what a report says of each (masks.md section 8).

use super::content::Sidecar;
use crate::mask::error::{MaskError, MaskProblem, MaskWarning};

/// One check; the first that fails ends the reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Check {
    /// A safetensors file within the caps, nothing twice.
    Structure,
    /// A mask, of a version that this program reads.
    Kind,
    /// Heads are counted, ordered and valued in the one way there is.
    Words,
    /// The tensor of the decision.
    Mask,
    /// Stored counts are the tensor's.
    Counts,
    /// The order is one, and gives the mask.
    Rank,
    /// Gates are finite, and the order follows them.
    Gates,
    /// The span can be used, and the remaining keys are what they should be.
    Span,
    /// The architecture is the model's.
    BaseArch,
    /// So are positions.
    BaseConfig,
    /// So are revision and weights.
    BaseWeights,
    /// So is the name.
    BaseName,
    /// There are heads of both kinds.
    Classes,
    /// It is used with the span it was made for.
    Use,
}

/// Every check with its title.
const CHECKS: [(Check, &str); 14] = [
    (Check::Structure, "structure"),
    (Check::Kind, "kind and version"),
    (Check::Words, "axis, order, values"),
    (Check::Mask, "mask"),
    (Check::Counts, "counts"),
    (Check::Rank, "ranks"),
    (Check::Gates, "gates"),
    (Check::Span, "span"),
    (Check::BaseArch, "architecture"),
    (Check::BaseConfig, "positions"),
    (Check::BaseWeights, "weights"),
    (Check::BaseName, "name"),
    (Check::Classes, "both kinds"),
    (Check::Use, "use"),
];

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Passed.
    Ok,
    /// Passed, with something to know.
    Note,
    /// Passed, with something to worry about.
    Warning,
    /// Failed.
    Error,
    /// There was nothing to compare with, or an earlier check failed.
    Skipped,
}

/// One line of a report.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Line {
    /// Place in the order, from 1.
    pub number: usize,
    /// What was checked.
    pub title: &'static str,
    /// How it ended.
    pub outcome: Outcome,
    /// Code of the warning or error.
    pub code: Option<&'static str>,
    /// What was found.
    pub text: String,
}

impl Check {
    /// Every check, in order.
    pub fn all() -> impl Iterator<Item = Self> {
        CHECKS.into_iter().map(|(check, _)| check)
    }

    fn title(self) -> (usize, &'static str) {
        let mut checks = CHECKS.into_iter().enumerate();
        let found = checks.find(|(_, (check, _))| *check == self);
        found.map_or((0, ""), |(index, (_, title))| (index + 1, title))
    }

    /// A line without a code.
    pub fn line(self, outcome: Outcome, text: impl Into<String>) -> Line {
        let (number, title) = self.title();
        Line {
            number,
            title,
            outcome,
            code: None,
            text: text.into(),
        }
    }

    /// The line of a warning, under `check`.
    pub fn warning(self, warning: &MaskWarning) -> Line {
        Line {
            code: Some(warning.code()),
            ..self.line(Outcome::Warning, warning.to_string())
        }
    }

    /// The line of an error, under `check`.
    pub fn error(self, error: &MaskError) -> Line {
        Line {
            code: Some(error.problem.code()),
            ..self.line(Outcome::Error, error.problem.to_string())
        }
    }

    /// Of comparing with a model, the check that an error belongs to.
    pub fn of_model(problem: &MaskProblem) -> Self {
        match problem {
            MaskProblem::BaseWeights { .. } => Self::BaseWeights,
            MaskProblem::Strict(warning) => Self::of_warning(warning),
            _ => Self::BaseArch,
        }
    }

    /// The check that a warning belongs to.
    pub fn of_warning(warning: &MaskWarning) -> Self {
        match warning {
            MaskWarning::BaseConfig { .. } => Self::BaseConfig,
            MaskWarning::BaseWeights { .. } => Self::BaseWeights,
            MaskWarning::SpanMismatch { .. } => Self::Use,
            _ => Self::Classes,
        }
    }

    /// What a sound file shows under this check; empty for those that need a model or a use.
    pub fn found(self, sidecar: &Sidecar) -> String {
        let mask = &sidecar.mask;
        let (kept, streaming) = (mask.num_retrieval(), mask.num_streaming());
        let span = &sidecar.span;
        match self {
            Self::Structure => "safetensors, nothing missing, nothing twice".to_owned(),
            Self::Kind => format!("kv_head_mask 1, by prulong {}", sidecar.program_version),
            Self::Words => "kv heads in checkpoint order, 1 = retrieval".to_owned(),
            Self::Mask => format!(
                "{} layers x {} kv heads, only 0 and 1",
                mask.num_layers(),
                mask.num_kv_heads()
            ),
            Self::Counts => format!(
                "{kept} retrieval, {streaming} streaming: sparsity {}",
                mask.sparsity()
            ),
            Self::Rank => format!("a permutation whose first {kept} are the mask"),
            Self::Gates => match &sidecar.log_alpha {
                Some(_) => format!("finite; heads ordered by {}", sidecar.rank_source.name()),
                None => format!("none; heads ordered by {}", sidecar.rank_source.name()),
            },
            Self::Span => format!(
                "sink {}, window {}, block {}",
                span.sink_len(),
                span.window_len(),
                span.block_len()
            ),
            Self::Classes => "retrieval and streaming heads".to_owned(),
            Self::BaseArch | Self::BaseConfig | Self::BaseWeights | Self::BaseName | Self::Use => {
                String::new()
            }
        }
    }
}
