//! Every metric there is; a new one is a file beside this one, a variant, its place in [`ALL`] and its line below.

use super::{
    accuracy, exact_match, exact_tokens, extraction_rate, f1, ndcg, partial_accuracy, rouge_l,
    rouge_lsum, row_f1, ruler_any, ruler_recall, substring_exact_match, token_accuracy,
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
    /// F1 over a longest common subsequence.
    RougeL,
    /// Share of a right text in a longest common subsequence.
    RougeLRecall,
    /// F1 over what the lines of both texts have in common.
    RougeLsum,
    /// Share of a right text that its lines have in common with those written.
    RougeLsumRecall,
    /// Share of the right texts that stand in what was written.
    RulerRecall,
    /// Whether any right text stands in what was written, case aside.
    RulerAny,
    /// How high the relevant passages were ranked.
    Ndcg,
    /// F1 over rows.
    RowF1,
    /// Share of the rows written that are right.
    RowPrecision,
    /// Share of the right rows that were written.
    RowRecall,
    /// Whether a procedure ends right.
    Accuracy,
    /// How far a procedure is right.
    PartialAccuracy,
    /// Whether what the metric reads was found in the text.
    ExtractionRate,
    /// Whether the answer is right to the last token.
    ExactTokens,
    /// Share of the answer's tokens at their place.
    TokenAccuracy,
}

/// All metrics, in the order of the variants.
pub const ALL: [Metric; 18] = [
    Metric::ExactMatch,
    Metric::SubstringExactMatch,
    Metric::F1,
    Metric::RougeL,
    Metric::RougeLRecall,
    Metric::RougeLsum,
    Metric::RougeLsumRecall,
    Metric::RulerRecall,
    Metric::RulerAny,
    Metric::Ndcg,
    Metric::RowF1,
    Metric::RowPrecision,
    Metric::RowRecall,
    Metric::Accuracy,
    Metric::PartialAccuracy,
    Metric::ExtractionRate,
    Metric::ExactTokens,
    Metric::TokenAccuracy,
];

/// Something for each metric of a task.
pub type Scores<T> = BTreeMap<Metric, T>;

/// Word in results, title in tables, kinds of gold it reads, function.
type Entry = (
    &'static str,
    &'static str,
    &'static [&'static str],
    fn(&Answered<'_>) -> Option<ScorePair>,
);

const TEXTS: &[&str] = &["answers", "choice"];
const GRADES: &[&str] = &["grades"];
const TABLES: &[&str] = &["rows", "table"];
const PROCEDURES: &[&str] = &["route", "trace", "countdown", "travel"];
const EXTRACTED: &[&str] = &["table", "route", "trace", "countdown", "travel"];

/// Golds of every kind do that come with token ids.
const TOKENS: &[&str] = &["token ids"];

/// A word that names no metric.
#[derive(Debug, thiserror::Error)]
#[error("there is no metric `{0}`")]
pub struct UnknownMetric(String);

impl Metric {
    #[rustfmt::skip]
    fn entry(self) -> Entry {
        match self {
            Self::ExactMatch => ("exact_match", "exact match", TEXTS, exact_match::score),
            Self::SubstringExactMatch => ("substring_exact_match", "contained", TEXTS, substring_exact_match::score),
            Self::F1 => ("f1", "word F1", TEXTS, f1::score),
            Self::RougeL => ("rougeL_f1", "ROUGE-L", TEXTS, rouge_l::score),
            Self::RougeLRecall => ("rougeL_recall", "ROUGE-L recall", TEXTS, rouge_l::recall),
            Self::RougeLsum => ("rougeLsum_f1", "ROUGE-Lsum", TEXTS, rouge_lsum::score),
            Self::RougeLsumRecall => ("rougeLsum_recall", "ROUGE-Lsum recall", TEXTS, rouge_lsum::recall),
            Self::RulerRecall => ("ruler_recall", "recall", TEXTS, ruler_recall::score),
            Self::RulerAny => ("ruler_any", "any found", TEXTS, ruler_any::score),
            Self::Ndcg => ("ndcg@10", "NDCG@10", GRADES, ndcg::score),
            Self::RowF1 => ("row_f1", "row F1", TABLES, row_f1::score),
            Self::RowPrecision => ("row_precision", "row precision", TABLES, row_f1::precision),
            Self::RowRecall => ("row_recall", "row recall", TABLES, row_f1::recall),
            Self::Accuracy => ("accuracy", "right", PROCEDURES, accuracy::score),
            Self::PartialAccuracy => ("partial_accuracy", "right lines", PROCEDURES, partial_accuracy::score),
            Self::ExtractionRate => ("extraction_rate", "extracted", EXTRACTED, extraction_rate::score),
            Self::ExactTokens => ("exact_tokens", "exact answers", TOKENS, exact_tokens::score),
            Self::TokenAccuracy => ("token_accuracy", "right tokens", TOKENS, token_accuracy::score),
        }
    }

    /// The metric of that word.
    pub fn find(name: &str) -> Option<Self> {
        ALL.into_iter().find(|metric| metric.name() == name)
    }

    /// The metric that people call `word`: its name or other name, in any case.
    pub fn called(word: &str) -> Option<Self> {
        let is_called = |metric: &Self| {
            let mut names = std::iter::once(metric.name()).chain(metric.other_name());
            names.any(|name| name.eq_ignore_ascii_case(word))
        };
        ALL.into_iter().find(is_called)
    }

    /// The literature's shorter name, where it has one.
    pub fn other_name(self) -> Option<&'static str> {
        match self {
            Self::RougeL => Some("rougeL"),
            Self::RougeLsum => Some("rougeLsum"),
            _ => None,
        }
    }

    /// Its word in results.
    pub fn name(self) -> &'static str {
        self.entry().0
    }

    /// Its title in tables.
    pub fn title(self) -> &'static str {
        self.entry().1
    }

    /// The kinds of gold that it reads.
    pub fn reads(self) -> &'static [&'static str] {
        self.entry().2
    }

    /// The scores of one answer, each in [0, 1]; nothing where it cannot read the right answer, or has no tokens to read.
    pub fn score(self, answered: &Answered<'_>) -> Option<ScorePair> {
        self.entry().3(answered)
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
    use crate::eval::answered::Tokens;
    use crate::eval::gold::samples;
    use crate::eval::reading::Reading;
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

    #[test]
    fn people_may_call_them_otherwise() {
        for (word, metric) in [
            ("rougeL", Some(Metric::RougeL)),
            ("rougelsum_F1", Some(Metric::RougeLsum)),
            ("NDCG@10", Some(Metric::Ndcg)),
            ("rouge", None),
        ] {
            assert_eq!(Metric::called(word), metric, "{word}");
        }
    }

    #[test]
    fn metrics_read_the_golds_that_they_say() {
        let ids: &[i64] = &[1];
        let tokens = Tokens {
            output: ids,
            answer: ids,
        };
        for gold in samples::every_kind() {
            let answered = Answered::new("", "a", Reading::Whole, &gold);
            let with_tokens = answered.clone().with_tokens(tokens);
            for metric in ALL {
                let reads = metric.reads();
                assert_eq!(
                    metric.score(&answered).is_some(),
                    reads.contains(&gold.kind()),
                    "{metric:?} {gold:?}"
                );
                let is_read = reads.contains(&gold.kind()) || reads == TOKENS;
                assert_eq!(metric.score(&with_tokens).is_some(), is_read, "{metric:?}");
            }
        }
    }
}
