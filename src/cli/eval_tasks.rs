//! The tasks of `prulong eval`: their names on the command line, their list, their items, the verdict on them.

use super::output::{self, Output};
use crate::eval::error::EvalError;
use crate::eval::item::Item;
use crate::eval::material::Material;
use crate::eval::method::MethodKind;
use crate::eval::plan::Plan;
use crate::eval::results::{MethodResult, TaskResult};
use crate::eval::table::chance_text;
use crate::eval::task::registry::{ALL, find};
use crate::eval::task::{Card, Needs, Task};
use crate::fault::AnyFault;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};

/// Turns a name into its task; the help lists all names.
pub(super) fn parser() -> impl TypedValueParser<Value = &'static dyn Task> {
    let values = ALL.map(|task| {
        let card = task.card();
        PossibleValue::new(card.name).help(card.about)
    });
    PossibleValuesParser::new(values).try_map(|name| find(&name).ok_or("it is not registered"))
}

/// The items of one task.
pub(super) struct Questions {
    /// The task.
    pub(super) card: Card,
    /// Its items.
    pub(super) items: Vec<Item>,
}

/// Makes the items of every task; a task named twice is run once.
pub(super) fn questions(
    tasks: &[&'static dyn Task],
    plan: &Plan,
    material: &Material<'_>,
) -> Result<Vec<Questions>, EvalError> {
    let mut all: Vec<Questions> = Vec::with_capacity(tasks.len());
    for task in tasks {
        let card = task.card();
        if all.iter().all(|of| of.card.name != card.name) {
            let items = plan.items(*task, material)?;
            all.push(Questions { card, items });
        }
    }
    Ok(all)
}

/// Checks the score of every task, by its own metric.
pub(super) fn judge(fail_under: Option<f64>, tasks: &[TaskResult]) -> Result<(), EvalError> {
    let Some(wanted) = fail_under else {
        return Ok(());
    };
    for TaskResult { task, methods } in tasks {
        let score = |method: &MethodResult| {
            let score = method.summary.overall(task.metric, task.headline);
            score.map_or(0.0, |score| score.mean)
        };
        let masks = methods
            .iter()
            .filter(|method| method.kind == MethodKind::Mask);
        let judged = masks
            .min_by(|a, b| score(a).total_cmp(&score(b)))
            .or(methods.first());
        let Some(method) = judged else { continue };
        let found = score(method);
        if found < wanted {
            return Err(EvalError::Under {
                method: method.name.clone(),
                task: task.name,
                metric: task.metric.name(),
                scoring: task.headline.name(),
                found,
                wanted,
            });
        }
    }
    Ok(())
}

/// Prints every task.
pub(super) fn list(json: bool) -> Result<(), AnyFault> {
    let cards = ALL.map(Task::card);
    if json {
        output::json(&cards.as_slice())?;
        return Ok(());
    }
    let mut out = Output::stdout();
    out.line(row([
        "task",
        "category",
        "judged by",
        "chance",
        "needs",
        "asks for",
    ]))?;
    for card in cards {
        out.line(line(&card))?;
    }
    out.finish()?;
    Ok(())
}

fn line(card: &Card) -> String {
    let needs = match card.needs {
        Needs::Nothing => "nothing",
        Needs::Haystack => "text (--source, --data)",
    };
    row([
        card.name,
        card.category.name(),
        &format!("{} ({})", card.metric.name(), card.headline.name()),
        &chance_text(card.chance),
        needs,
        card.about,
    ])
}

fn row([name, category, metric, chance, needs, about]: [&str; 6]) -> String {
    format!("{name:<13} {category:<11} {metric:<21} {chance:<8} {needs:<24} {about}")
}
