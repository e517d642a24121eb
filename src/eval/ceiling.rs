//! Whether full attention leaves room for a mask to lose anything.

use super::method::MethodKind;
use super::results::{TaskInfo, TaskResult};

/// Mean score of full attention below which losses say little: the critical KV footprint is where 90 % of it is kept.
const ENOUGH: f64 = 0.9;

/// One sentence for each task and length at which full attention scores too little.
pub fn warnings(tasks: &[TaskResult], lengths: &[usize]) -> Vec<String> {
    let mut warnings = Vec::new();
    for task in tasks {
        for &length in lengths {
            let found = full_score(task, length);
            warnings.extend(found.and_then(|found| warning(&task.task, length, found)));
        }
    }
    warnings
}

/// What to say where full attention scores `found` at `length`; nothing if that is enough.
pub(super) fn warning(task: &TaskInfo, length: usize, found: f64) -> Option<String> {
    (found < ENOUGH).then(|| {
        format!(
            "full attention has {} {found:.2} on `{}` at {length} tokens, below {ENOUGH}: what a mask loses there says little",
            task.metric.name(),
            task.name
        )
    })
}

fn full_score(task: &TaskResult, length: usize) -> Option<f64> {
    let mut methods = task.methods.iter();
    let full = methods.find(|method| method.kind == MethodKind::Full)?;
    full.summary
        .at_length(task.task.metric, task.task.headline, length)
}
