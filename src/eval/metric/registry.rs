//! Every metric there is; a new one is a file beside this one, a variant and its arms below.

use super::exact_match::exact_match;
use super::row_f1::row_f1;
use super::token_accuracy::token_accuracy;
use std::collections::BTreeMap;

/// A way to score an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Whether the answer is right to the last token.
    ExactMatch,
    /// Share of the answer's tokens at their place.
    TokenAccuracy,
    /// F1 over the answer's lines.
    RowF1,
}

/// Something for each metric of a task.
pub type Scores<T> = BTreeMap<Metric, T>;

/// An answer given and the right one, as tokens and as text.
#[derive(Debug, Clone)]
pub struct Answered<'a> {
    /// Given, without the token that ended it.
    pub output: &'a [i64],
    /// Right.
    pub answer: &'a [i64],
    /// Text of `output`.
    pub output_text: String,
    /// Text of `answer`.
    pub answer_text: String,
}

impl Metric {
    /// Its word in results.
    pub fn name(self) -> &'static str {
        match self {
            Self::ExactMatch => "exact_match",
            Self::TokenAccuracy => "token_accuracy",
            Self::RowF1 => "row_f1",
        }
    }

    /// Its title in tables.
    pub fn title(self) -> &'static str {
        match self {
            Self::ExactMatch => "exact answers",
            Self::TokenAccuracy => "right tokens",
            Self::RowF1 => "row F1",
        }
    }

    /// The score of one answer, in [0, 1].
    pub fn score(self, answered: &Answered<'_>) -> f64 {
        match self {
            Self::ExactMatch => exact_match(answered.output, answered.answer),
            Self::TokenAccuracy => token_accuracy(answered.output, answered.answer),
            Self::RowF1 => row_f1(&answered.output_text, &answered.answer_text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_result_files() {
        for metric in [Metric::ExactMatch, Metric::TokenAccuracy, Metric::RowF1] {
            let written = serde_json::to_value(metric).unwrap();
            assert_eq!(written, metric.name());
            let map = serde_json::to_value(Scores::from([(metric, 0.5)])).unwrap();
            assert_eq!(map[metric.name()], 0.5);
        }
    }
}
