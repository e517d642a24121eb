//! Where in the text that a model wrote its answer stands.

use super::text::parse::parse;

/// Where in the text that a model wrote its answer stands, for metrics that compare it with right answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(tag = "part", rename_all = "kebab-case")]
pub enum Reading<'a> {
    /// All of it.
    Whole,
    /// The rest of the line behind a prefix.
    Line {
        /// What comes before the answer, in any case; empty for the first line.
        prefix: &'a str,
    },
    /// All of it or the rest of the line behind a prefix, whichever scores higher: HELMET's default. Strict scoring reads
    /// the line alone, as an answer anywhere in the text would count.
    Either {
        /// What comes before the answer, in any case; empty for the first line.
        prefix: &'a str,
    },
}

impl<'a> Reading<'a> {
    /// HELMET's prefix of an answer.
    pub const ANSWER: Reading<'static> = Reading::Either { prefix: "Answer:" };

    /// The first line.
    pub const FIRST_LINE: Reading<'static> = Reading::Line { prefix: "" };

    /// The answer's prefix; nothing where all of the text is the answer.
    pub fn prefix(self) -> Option<&'a str> {
        match self {
            Self::Whole => None,
            Self::Line { prefix } | Self::Either { prefix } => Some(prefix),
        }
    }

    /// The answer in `text`, the cue included: what strict scoring reads.
    pub fn parsed(self, text: &str) -> &str {
        self.prefix().map_or(text, |prefix| parse(text, prefix))
    }
}
