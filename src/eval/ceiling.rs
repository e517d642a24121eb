//! Whether full attention leaves room for a mask to lose anything.

use super::method::MethodKind;
use super::results::TaskResult;

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

fn full_score(task: &TaskResult, length: usize) -> Option<f64> {
    let mut methods = task.methods.iter();
    let full = methods.find(|method| method.kind == MethodKind::Full)?;
    full.summary
        .at_length(task.task.metric, task.task.headline, length)
}
