//! Every metric there is; a new one is a file beside this one, a variant, its place in [`ALL`] and its line below.

use super::{
    exact_match, exact_tokens, f1, row_f1, ruler_any, ruler_recall, substring_exact_match,
    token_accuracy,
};
use crate::eval::answered::Answered;
use crate::eval::scoring::ScorePair;
use std::collections::BTreeMap;

/// A way to score an answer.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(into = "&'static str", try_from = "String")]
pub enum Metric {
    /// Whether the text is right but for case, punctuation, articles and spaces.
    ExactMatch,
    /// Whether a right text stands in what was written.
    SubstringExactMatch,
    /// F1 over words.
    F1,
    /// Share of the right texts that stand in what was written.
    RulerRecall,
    /// Whether any right text stands in what was written, case aside.
    RulerAny,
    /// F1 over rows.
    RowF1,
    /// Share of the rows written that are right.
    RowPrecision,
    /// Share of the right rows that were written.
    RowRecall,
    /// Whether what the metric reads was found in the text.
    ExtractionRate,
    /// Whether the answer is right to the last token.
    ExactTokens,
    /// Share of the answer's tokens at their place.
    TokenAccuracy,
}

/// All metrics, in the order of the variants.
pub const ALL: [Metric; 11] = [
    Metric::ExactMatch,
    Metric::SubstringExactMatch,
    Metric::F1,
    Metric::RulerRecall,
    Metric::RulerAny,
    Metric::RowF1,
    Metric::RowPrecision,
    Metric::RowRecall,
    Metric::ExtractionRate,
    Metric::ExactTokens,
    Metric::TokenAccuracy,
];

/// Something for each metric of a task.
pub type Scores<T> = BTreeMap<Metric, T>;

/// Word in results, title in tables, function.
type Entry = (
    &'static str,
    &'static str,
    fn(&Answered<'_>) -> Option<ScorePair>,
);

/// A word that names no metric.
#[derive(Debug, thiserror::Error)]
#[error("there is no metric `{0}`")]
pub struct UnknownMetric(String);

impl Metric {
    #[rustfmt::skip]
    fn entry(self) -> Entry {
        match self {
            Self::ExactMatch => ("exact_match", "exact match", exact_match::score),
            Self::SubstringExactMatch => ("substring_exact_match", "contained", substring_exact_match::score),
            Self::F1 => ("f1", "word F1", f1::score),
            Self::RulerRecall => ("ruler_recall", "recall", ruler_recall::score),
            Self::RulerAny => ("ruler_any", "any found", ruler_any::score),
            Self::RowF1 => ("row_f1", "row F1", row_f1::score),
            Self::RowPrecision => ("row_precision", "row precision", row_f1::precision),
            Self::RowRecall => ("row_recall", "row recall", row_f1::recall),
            Self::ExtractionRate => ("extraction_rate", "extracted", row_f1::extraction_rate),
            Self::ExactTokens => ("exact_tokens", "exact answers", exact_tokens::score),
            Self::TokenAccuracy => ("token_accuracy", "right tokens", token_accuracy::score),
        }
    }

    /// The metric of that word.
    pub fn find(name: &str) -> Option<Self> {
        ALL.into_iter().find(|metric| metric.name() == name)
    }

    /// Its word in results.
    pub fn name(self) -> &'static str {
        self.entry().0
    }

    /// Its title in tables.
    pub fn title(self) -> &'static str {
        self.entry().1
    }

    /// The scores of one answer, each in [0, 1]; nothing where it cannot read the right answer, or has no tokens to read.
    pub fn score(self, answered: &Answered<'_>) -> Option<ScorePair> {
        self.entry().2(answered)
    }
}

impl From<Metric> for &'static str {
    fn from(metric: Metric) -> Self {
        metric.name()
    }
}

impl TryFrom<String> for Metric {
    type Error = UnknownMetric;

    fn try_from(name: String) -> Result<Self, UnknownMetric> {
        Self::find(&name).ok_or(UnknownMetric(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_those_of_result_files() {
        let mut titles = BTreeSet::new();
        for (index, metric) in ALL.into_iter().enumerate() {
            assert_eq!(metric as usize, index, "{metric:?}");
            assert!(titles.insert(metric.title()), "{metric:?}");
            let map = serde_json::to_string(&Scores::from([(metric, 0.5)])).unwrap();
            assert_eq!(map, format!("{{\"{}\":0.5}}", metric.name()));
            let read: Scores<f64> = serde_json::from_str(&map).unwrap();
            assert!(read.contains_key(&metric));
        }
        assert!(serde_json::from_str::<Metric>("\"exactmatch\"").is_err());
    }
}
