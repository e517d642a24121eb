//! Whether full attention leaves room for a mask to lose anything.

use super::method::MethodKind;
use super::results::TaskResult;
use super::summary::{Cell, mean};

/// Mean score of full attention below which losses say little: the critical KV footprint is where 90 % of it is kept.
const ENOUGH: f64 = 0.9;

/// One sentence for each task and length at which full attention scores too little.
pub fn warnings(tasks: &[TaskResult], lengths: &[usize]) -> Vec<String> {
    let mut warnings = Vec::new();
    for task in tasks {
        for &length in lengths {
            if let Some(found) = full_score(task, length).filter(|found| *found < ENOUGH) {
                warnings.push(format!(
                    "full attention has {} {found:.2} on `{}` at {length} tokens, below {ENOUGH}: what a mask loses there \
                     says little",
                    task.task.metric.name(),
                    task.task.name
                ));
            }
        }
    }
    warnings
}

/// Mean over the cells of `length`, which have equally many items.
fn full_score(task: &TaskResult, length: usize) -> Option<f64> {
    let of_full = |of: &&super::results::MethodResult| of.kind == MethodKind::Full;
    let full = task.methods.iter().find(of_full)?;
    let score = |cell: &Cell| cell.scores.get(&task.task.metric).copied();
    let cells = full.summary.cells.iter();
    let scores: Vec<f64> = cells
        .filter(|cell| cell.length == length)
        .filter_map(score)
        .collect();
    (!scores.is_empty()).then(|| mean(scores.into_iter()))
}
