//! Means of the scores of written answers, and whether they are those that were written down with them.
//!
//! # Decisions
//! Answers of different tasks or methods are never averaged: every method of a task has means of its own, and so have the
//! lines that name no task.

use super::error::RescoreError;
use super::lines::Lines;
use crate::eval::item_result::Key;
use crate::eval::metric::registry::{Metric, Scores};
use crate::eval::reading::Reading;
use crate::eval::scoring::{Pair, ScorePair};
use crate::eval::summary::{Score, score};

/// Name and version of the format.
pub const SCHEMA: &str = "prulong.rescore/1";

/// Scores that differ by less are the same.
const TOLERANCE: f64 = 1e-9;

/// Differences that are told one by one.
const MAX_TOLD: usize = 5;

/// What the answers of a file score.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// The file.
    pub file: String,
    /// One entry for every method of every task, in the order of their first answers.
    pub groups: Vec<Group>,
    /// Scores written down in the file that were computed again.
    pub num_compared: usize,
    /// How many of those differ.
    pub num_different: usize,
    /// The first that differ.
    pub differences: Vec<String>,
}

/// Answers of one method to one task, or all answers that name no task.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Group {
    /// Whose they are; nothing where the lines do not tell.
    pub of: Option<Origin>,
    /// Answers.
    pub num_items: usize,
    /// Items without an answer: part of no mean.
    pub num_failed: usize,
    /// Means by each metric.
    pub scores: Scores<Mean>,
    #[serde(skip)]
    values: Scores<Pair<Vec<f64>>>,
}

/// Whose answers they are.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Origin {
    /// Name of the model.
    pub model: String,
    /// Tokens per prefill chunk.
    pub chunk_len: usize,
    /// Name of the task.
    pub task: String,
    /// Name of the method.
    pub method: String,
}

/// Means by one metric, each with its 95 % interval over answers.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Mean {
    /// Answers that the metric can read.
    pub num_items: usize,
    /// As the scorers of the literature.
    pub compat: Score,
    /// Without their loopholes.
    pub strict: Score,
}

/// Scores every line by `metrics`, or, if there are none, by those whose scores are written down with it, or else by all
/// that can read it. Answers of tasks are read as their tasks say, others by `reading`, without one as a whole.
///
/// # Errors
/// [`RescoreError::Line`] for the first line that cannot be scored, [`RescoreError::Empty`] without any,
/// [`RescoreError::Read`].
pub fn report(
    lines: &mut Lines,
    metrics: &[Metric],
    reading: Option<Reading<'_>>,
) -> Result<Report, RescoreError> {
    let mut report = Report {
        schema: SCHEMA,
        file: lines.path().display().to_string(),
        groups: Vec::new(),
        num_compared: 0,
        num_different: 0,
        differences: Vec::new(),
    };
    while let Some(line) = lines.next_line()? {
        let group = report.group(line.key.as_ref());
        if line.is_failed {
            group.num_failed += 1;
            continue;
        }
        let scores = line
            .scores(metrics, reading)
            .map_err(|flaw| lines.refuse(flaw))?;
        group.add(&scores);
        report.compare(&lines.place(), &line.stored, &scores);
    }
    if report.groups.is_empty() {
        return Err(RescoreError::Empty {
            path: lines.path().to_path_buf(),
        });
    }
    report.groups.iter_mut().for_each(Group::average);
    Ok(report)
}

impl Report {
    /// Whether the scores are those that were written down.
    ///
    /// # Errors
    /// [`RescoreError::Differ`] if any is another.
    pub fn judge(&self) -> Result<(), RescoreError> {
        if self.num_different == 0 {
            return Ok(());
        }
        Err(RescoreError::Differ {
            path: self.file.clone().into(),
            num_different: self.num_different,
            num_compared: self.num_compared,
            first: self.differences.clone(),
        })
    }

    fn group(&mut self, key: Option<&Key>) -> &mut Group {
        let of = key.map(Origin::from);
        let at = self.groups.iter().position(|group| group.of == of);
        let at = at.unwrap_or_else(|| {
            self.groups.push(Group::new(of));
            self.groups.len() - 1
        });
        &mut self.groups[at]
    }

    fn compare(&mut self, place: &str, stored: &Scores<ScorePair>, scores: &Scores<ScorePair>) {
        for (metric, old) in stored {
            let Some(new) = scores.get(metric) else {
                continue;
            };
            self.num_compared += 1;
            let far = |a: f64, b: f64| (a - b).abs() > TOLERANCE || a.is_nan() != b.is_nan();
            if !far(old.compat, new.compat) && !far(old.strict, new.strict) {
                continue;
            }
            self.num_different += 1;
            if self.differences.len() < MAX_TOLD {
                let text = |of: &ScorePair| format!("{} / {}", of.compat, of.strict);
                self.differences.push(format!(
                    "{place}: {} is stored as {}, and is {} (compat / strict)",
                    metric.name(),
                    text(old),
                    text(new)
                ));
            }
        }
    }
}

impl Group {
    fn new(of: Option<Origin>) -> Self {
        Self {
            of,
            num_items: 0,
            num_failed: 0,
            scores: Scores::new(),
            values: Scores::new(),
        }
    }

    fn add(&mut self, scores: &Scores<ScorePair>) {
        self.num_items += 1;
        for (metric, pair) in scores {
            let values = self.values.entry(*metric).or_default();
            values.compat.push(pair.compat);
            values.strict.push(pair.strict);
        }
    }

    fn average(&mut self) {
        let mean = |values: Pair<Vec<f64>>| Mean {
            num_items: values.compat.len(),
            compat: score(&values.compat),
            strict: score(&values.strict),
        };
        let values = std::mem::take(&mut self.values).into_iter();
        self.scores = values
            .map(|(metric, values)| (metric, mean(values)))
            .collect();
    }
}

impl From<&Key> for Origin {
    fn from(key: &Key) -> Self {
        Self {
            model: key.model.clone(),
            chunk_len: key.chunk_len,
            task: key.task.clone(),
            method: key.method.clone(),
        }
    }
}

#[cfg(test)]
mod tests;
