//! Documents that pretraining generates, as named in a stage's `mix`.

use crate::config::check;
use crate::config::error::Bad;

/// One kind of generated document and its share of a stage's rows, relative to the other shares.
///
/// Lengths are in tokens. What makes up the mixture has no default: it is the experiment.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum GeneratorSettings {
    /// Uniformly random tokens that repeat after a span: teaches induction before any language.
    RandomRepeats {
        /// Relative share.
        weight: f64,
        /// Shortest span.
        span_min: usize,
        /// Longest span.
        span_max: usize,
    },
    /// Natural text in which spans reappear later.
    CodeRepeats {
        /// Relative share.
        weight: f64,
        /// Shortest span.
        span_min: usize,
        /// Longest span.
        span_max: usize,
    },
    /// Definitions of keys, then questions about some of them.
    KeyValues {
        /// Relative share.
        weight: f64,
        /// Fewest pairs in a document.
        num_pairs_min: usize,
        /// Most pairs in a document.
        num_pairs_max: usize,
        /// Questions in a document.
        num_queries: usize,
        /// Weight of an answer's tokens in the loss, other trained tokens having 1. 1: no emphasis.
        #[serde(default = "one")]
        answer_weight: f64,
    },
    /// Definitions hidden in natural text, asked for at its end.
    Needles {
        /// Relative share.
        weight: f64,
        /// Fewest needles in a document.
        num_needles_min: usize,
        /// Most needles in a document.
        num_needles_max: usize,
        /// Most questions at the end, at most one per needle; their number is drawn from 1 up. 4: several answers per
        /// sequence teach more than one.
        #[serde(default = "four")]
        num_questions_max: usize,
        /// Weight of an answer's tokens in the loss, other trained tokens having 1. 1: no emphasis.
        #[serde(default = "one")]
        answer_weight: f64,
    },
    /// Natural text as it is.
    Natural {
        /// Relative share.
        weight: f64,
    },
}

fn one() -> f64 {
    1.0
}

fn four() -> usize {
    4
}

impl GeneratorSettings {
    /// The relative share of rows.
    pub fn weight(&self) -> f64 {
        match *self {
            Self::RandomRepeats { weight, .. }
            | Self::CodeRepeats { weight, .. }
            | Self::KeyValues { weight, .. }
            | Self::Needles { weight, .. }
            | Self::Natural { weight } => weight,
        }
    }

    /// Whether rows of this kind are made from the corpus's text.
    pub fn needs_corpus(&self) -> bool {
        matches!(
            self,
            Self::CodeRepeats { .. } | Self::Needles { .. } | Self::Natural { .. }
        )
    }

    pub(super) fn check(&self, at: &str) -> Result<(), Bad> {
        check::positive(&format!("{at}.weight"), self.weight())?;
        let ordered = |low: (&str, usize), high: (&str, usize)| {
            let keys = (format!("{at}.{}", low.0), format!("{at}.{}", high.0));
            check::ordered((&keys.0, &keys.1), low.1, high.1)
        };
        match *self {
            Self::RandomRepeats {
                span_min, span_max, ..
            }
            | Self::CodeRepeats {
                span_min, span_max, ..
            } => ordered(("span_min", span_min), ("span_max", span_max)),
            Self::KeyValues {
                num_pairs_min,
                num_pairs_max,
                num_queries,
                answer_weight,
                ..
            } => {
                check::positive(&format!("{at}.answer_weight"), answer_weight)?;
                check::len(&format!("{at}.num_queries"), num_queries)?;
                ordered(
                    ("num_pairs_min", num_pairs_min),
                    ("num_pairs_max", num_pairs_max),
                )
            }
            Self::Needles {
                num_needles_min,
                num_needles_max,
                num_questions_max,
                answer_weight,
                ..
            } => {
                check::positive(&format!("{at}.answer_weight"), answer_weight)?;
                check::len(&format!("{at}.num_questions_max"), num_questions_max)?;
                ordered(
                    ("num_needles_min", num_needles_min),
                    ("num_needles_max", num_needles_max),
                )
            }
            Self::Natural { .. } => Ok(()),
        }
    }
}
