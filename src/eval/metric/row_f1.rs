//! How many rows were written, and how many that do not belong there.

use crate::eval::answered::Answered;
use crate::eval::gold::Gold;
use crate::eval::scoring::{Pair, ScorePair};
use crate::eval::summary::mean;
use crate::eval::text::tsv::Table;
use std::collections::BTreeMap;

/// F1 of [`precision`] and [`recall`], in [0, 1]: 0 without a right row.
pub fn score(answered: &Answered<'_>) -> Option<ScorePair> {
    Some(shares(answered)?.f1())
}

/// Share of the rows written that are rows of the gold, in [0, 1]. Strict: each as often as there.
pub fn precision(answered: &Answered<'_>) -> Option<ScorePair> {
    Some(shares(answered)?.precision)
}

/// Share of the gold's rows that were written, in [0, 1]. Strict: each as often as there.
pub fn recall(answered: &Answered<'_>) -> Option<ScorePair> {
    Some(shares(answered)?.recall)
}

/// 1 if a table of the gold's width was written, else 0; nothing for rows without columns.
pub(super) fn extraction(answered: &Answered<'_>) -> Option<ScorePair> {
    let Gold::Table { tsv } = answered.gold() else {
        return None;
    };
    let found = f64::from(tables(answered.text(), tsv).is_some());
    Some(Pair::both(found))
}

/// The two shares.
#[derive(Debug, Clone, Copy, Default)]
struct Shares {
    precision: ScorePair,
    recall: ScorePair,
}

/// A row and how often it stands in a table.
type Rows = BTreeMap<Vec<String>, usize>;

fn shares(answered: &Answered<'_>) -> Option<Shares> {
    match answered.gold() {
        Gold::Rows { text } => {
            let (found, wanted) = (lines(answered.text()), lines(text));
            Some(Shares::of(&found, &wanted))
        }
        Gold::Table { tsv } => {
            let tables = tables(answered.text(), tsv);
            Some(tables.map_or_else(Shares::default, |[found, wanted]| {
                Shares::of(&count(found.rows), &count(wanted.rows))
            }))
        }
        _ => None,
    }
}

/// The table written and the one wanted, if both are of one width.
fn tables(text: &str, wanted: &str) -> Option<[Table; 2]> {
    let (found, wanted) = (Table::parse(text)?, Table::parse(wanted)?);
    (found.num_columns == wanted.num_columns).then_some([found, wanted])
}

/// Lines with something on them, each a row of one cell.
fn lines(text: &str) -> Rows {
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    count(lines.map(|line| vec![line.to_owned()]))
}

fn count(rows: impl IntoIterator<Item = Vec<String>>) -> Rows {
    let mut counts = Rows::new();
    for row in rows {
        *counts.entry(row).or_default() += 1;
    }
    counts
}

impl Shares {
    fn of(found: &Rows, wanted: &Rows) -> Self {
        if found.is_empty() && wanted.is_empty() {
            return Self {
                precision: Pair::both(1.0),
                recall: Pair::both(1.0),
            };
        }
        Self {
            precision: share_of(found, wanted),
            recall: share_of(wanted, found),
        }
    }

    fn f1(&self) -> ScorePair {
        let f1 = |precision: f64, recall: f64| {
            let sum = precision + recall;
            if sum == 0.0 {
                0.0
            } else {
                2.0 * precision * recall / sum
            }
        };
        ScorePair {
            compat: f1(self.precision.compat, self.recall.compat),
            strict: f1(self.precision.strict, self.recall.strict),
        }
    }
}

/// Share of the rows of `these` that `others` have too; strict: as often.
fn share_of(these: &Rows, others: &Rows) -> ScorePair {
    let mut compat = Vec::new();
    let mut strict = Vec::new();
    for (row, count) in these {
        let there = others.get(row).copied().unwrap_or(0);
        compat.extend((0..*count).map(|_| f64::from(there > 0)));
        strict.extend((0..*count).map(|index| f64::from(index < there)));
    }
    ScorePair {
        compat: mean(compat.into_iter()),
        strict: mean(strict.into_iter()),
    }
}

#[cfg(test)]
mod tests;
