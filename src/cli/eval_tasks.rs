//! The tasks of `prulong eval`: their names on the command line, their list, their items, the verdict on them.

use super::output::{self, Output};
use crate::eval::error::EvalError;
use crate::eval::item::Item;
use crate::eval::material::Material;
use crate::eval::method::MethodKind;
use crate::eval::request::Request;
use crate::eval::results::{MethodResult, Results, TaskResult};
use crate::eval::suite::{self, Suite};
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

/// Turns a name into its suite; the help lists all names.
pub(super) fn suite_parser() -> impl TypedValueParser<Value = Suite> {
    let values = suite::ALL.map(|suite| PossibleValue::new(suite.name).help(suite.about));
    PossibleValuesParser::new(values)
        .try_map(|name| suite::find(&name).ok_or("there is no such suite"))
}

/// The items of one task.
pub(super) struct Questions {
    /// The task.
    pub(super) card: Card,
    /// Its items.
    pub(super) items: Vec<Item>,
}

impl Questions {
    /// Lengths asked for, one per item.
    pub(super) fn lengths(&self) -> impl Iterator<Item = usize> {
        self.items.iter().map(|item| item.meta.length)
    }
}

/// Makes the items of every task, those of the first seed first; with `limit` only so many of each length and seed.
pub(super) fn questions(
    request: &Request,
    material: &Material<'_>,
    limit: Option<usize>,
) -> Result<Vec<Questions>, EvalError> {
    let of_task = |task: &&'static dyn Task| {
        let card = task.card();
        let mut items = Vec::new();
        for plan in request.plans() {
            items.extend(match limit {
                Some(limit) => plan.first_items(limit, *task, material)?,
                None => plan.items(*task, material)?,
            });
        }
        if request.file.query_agnostic {
            let is_late = |item: &Item| item.parts.before_question().is_some();
            if !items.iter().all(is_late) {
                let task = card.name.to_owned();
                return Err(EvalError::AskedFirst { task });
            }
        }
        if request.file.stop_newline {
            items.iter_mut().for_each(Item::stop_at_newline);
        }
        Ok(Questions { card, items })
    };
    request.tasks.iter().map(of_task).collect()
}

/// Checks the score of every task, by its own metric.
pub(super) fn judge(fail_under: Option<f64>, results: &Results) -> Result<(), EvalError> {
    let Some(wanted) = fail_under else {
        return Ok(());
    };
    for TaskResult { task, methods } in results.parts.iter().flat_map(|part| &part.tasks) {
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
                task: task.name.clone(),
                metric: task.metric.name(),
                scoring: task.headline.name(),
                found,
                wanted,
            });
        }
    }
    Ok(())
}

/// All that may be asked.
#[derive(serde::Serialize)]
struct Listing {
    tasks: Vec<Card>,
    suites: Vec<Suite>,
}

/// Prints every task and every suite.
pub(super) fn list(json: bool) -> Result<(), AnyFault> {
    let listing = Listing {
        tasks: ALL.map(Task::card).to_vec(),
        suites: suite::ALL.to_vec(),
    };
    if json {
        output::json(&listing)?;
        return Ok(());
    }
    let mut out = Output::stdout();
    out.line(row([
        "task",
        "category",
        "judged by",
        "chance",
        "needs",
        "offline",
        "asks for",
    ]))?;
    for card in &listing.tasks {
        out.line(line(card))?;
    }
    for suite in &listing.suites {
        let tasks = suite.tasks.join(", ");
        out.line(format!("suite {}: {}: {tasks}", suite.name, suite.about))?;
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
        if card.needs.is_offline() { "yes" } else { "no" },
        card.about,
    ])
}

fn row([name, category, metric, chance, needs, offline, about]: [&str; 7]) -> String {
    format!("{name:<15} {category:<10} {metric:<30} {chance:<7} {needs:<23} {offline:<7} {about}")
}
