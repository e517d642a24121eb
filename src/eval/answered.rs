//! An answer given beside the right one: all that a metric may read.

use super::error::EvalError;
use super::gold::Gold;
use super::metric::registry::{Metric, Scores};
use super::reading::Reading;
use super::scoring::ScorePair;
use std::iter;

/// An answer given beside the right one.
#[derive(Debug, Clone)]
pub struct Answered<'a> {
    text: String,
    /// The part of `text` that is the answer.
    parsed: String,
    reading: Reading<'a>,
    gold: &'a Gold,
    tokens: Option<Tokens<'a>>,
}

/// Both answers as token ids.
#[derive(Debug, Clone, Copy)]
pub struct Tokens<'a> {
    /// Given, without the token that ended it.
    pub output: &'a [i64],
    /// Right; none where tokens say nothing about an answer.
    pub answer: &'a [i64],
}

impl<'a> Answered<'a> {
    /// What a model wrote after the prompt's last words `cue`, which begin the answer.
    pub fn new(cue: &str, output: &str, reading: Reading<'a>, gold: &'a Gold) -> Self {
        let text = format!("{cue}{output}");
        Self {
            parsed: reading.parsed(&text).to_owned(),
            text,
            reading,
            gold,
            tokens: None,
        }
    }

    /// The same with token ids, for the metrics that compare those; without, where the right answer has none.
    #[must_use]
    pub fn with_tokens(self, tokens: Tokens<'a>) -> Self {
        Self {
            tokens: Some(tokens).filter(|tokens| !tokens.answer.is_empty()),
            ..self
        }
    }

    /// Everything written, after the cue.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The part of the text that is the answer.
    pub fn parsed(&self) -> &str {
        &self.parsed
    }

    /// The right answer.
    pub fn gold(&self) -> &'a Gold {
        self.gold
    }

    /// Both answers as token ids, where they are known.
    pub fn tokens(&self) -> Option<Tokens<'a>> {
        self.tokens
    }

    /// The scores by every one of `metrics`.
    ///
    /// # Errors
    /// [`EvalError::Unread`] for the first that cannot read the right answer.
    pub fn scores(&self, metrics: &[Metric]) -> Result<Scores<ScorePair>, EvalError> {
        let score = |metric: &Metric| {
            let score = metric.score(self).ok_or_else(|| EvalError::Unread {
                metric: metric.name(),
                gold: self.gold.kind(),
                has_tokens: self.tokens.is_some(),
            })?;
            Ok((*metric, score))
        };
        metrics.iter().map(score).collect()
    }

    /// The highest of `score(text, right answer)` over right answers: by `compat` over all parts of the text that may be
    /// the answer, by `strict` on the one that is.
    pub fn best(
        &self,
        answers: &[String],
        compat: impl Fn(&str, &str) -> f64,
        strict: impl Fn(&str, &str) -> f64,
    ) -> ScorePair {
        let highest = |text: &str, score: &dyn Fn(&str, &str) -> f64| {
            let scores = answers.iter().map(|answer| score(text, answer));
            scores.fold(0.0, f64::max)
        };
        ScorePair {
            compat: self
                .parts()
                .map(|text| highest(text, &compat))
                .fold(0.0, f64::max),
            strict: highest(self.parsed(), &strict),
        }
    }

    /// The parts of the text that may be the answer, for compat scoring.
    pub fn parts(&self) -> impl Iterator<Item = &str> {
        let whole = match self.reading {
            Reading::Either { .. } => Some(self.text()),
            Reading::Whole | Reading::Line { .. } => None,
        };
        iter::once(self.parsed()).chain(whole)
    }
}
