//! The tasks of `prulong eval`: their names on the command line, their list, their items, the verdict on them.

use super::output::{self, Output};
use crate::config::eval_files::FileSettings;
use crate::eval::error::EvalError;
use crate::eval::files::library::Library;
use crate::eval::item::Item;
use crate::eval::item_set::ItemSet;
use crate::eval::material::Material;
use crate::eval::method::MethodKind;
use crate::eval::request::Request;
use crate::eval::results::{MethodResult, Results, TaskResult};
use crate::eval::suite::{self, Suite};
use crate::eval::table::chance_text;
use crate::eval::task::registry::{all, find};
use crate::eval::task::{Card, Needs, Task};
use crate::fault::AnyFault;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Turns a name into its task; the help lists those that need no files.
pub(super) fn parser() -> impl TypedValueParser<Value = &'static dyn Task> {
    let values = all().map(|task| {
        let card = task.card();
        let value = PossibleValue::new(card.name).help(card.about);
        value.hide(!card.needs.is_offline())
    });
    PossibleValuesParser::new(values.collect::<Vec<_>>())
        .try_map(|name| find(&name).ok_or("it is not registered"))
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
    pub(super) set: ItemSet,
}

impl Questions {
    /// Lengths asked for, one per item.
    pub(super) fn lengths(&self) -> impl Iterator<Item = usize> {
        self.set.items.iter().map(|item| item.meta.length)
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
        let mut set = task.items(material, &request.plans(), limit)?;
        if request.file.query_agnostic {
            let is_late = |item: &Item| item.parts.before_question().is_some();
            if !set.items.iter().all(is_late) {
                let task = card.name.to_owned();
                return Err(EvalError::AskedFirst { task });
            }
        }
        if request.file.stop_newline {
            set.items.iter_mut().for_each(Item::stop_at_newline);
        }
        Ok(Questions { card, set })
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
    /// Files of the user's that are not there, by task: of those whose folder was named and has some for the lengths.
    missing: BTreeMap<&'static str, Vec<PathBuf>>,
}

/// Prints every task and every suite; of the user's files, those of `lengths` are looked for.
pub(super) fn list(json: bool, files: &FileSettings, lengths: &[usize]) -> Result<(), AnyFault> {
    let library = Library::open(files)?;
    let missing = all().filter_map(|task| {
        let paths = task.missing(&library, lengths).ok()?;
        Some((task.card().name, paths))
    });
    let listing = Listing {
        tasks: all().map(Task::card).collect(),
        suites: suite::ALL.to_vec(),
        missing: missing.collect(),
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
        "at hand",
        "asks for",
    ]))?;
    for card in &listing.tasks {
        let missing = listing.missing.get(card.name);
        out.line(line(card, missing.is_some_and(Vec::is_empty)))?;
    }
    for suite in &listing.suites {
        let tasks = suite.tasks.join(", ");
        out.line(format!("suite {}: {}: {tasks}", suite.name, suite.about))?;
    }
    out.finish()?;
    Ok(())
}

fn line(card: &Card, is_at_hand: bool) -> String {
    let needs = match card.needs {
        Needs::Nothing => "nothing",
        Needs::Haystack => "text (--source, --data)",
        Needs::Helmet => "files (--helmet)",
        Needs::LongProc => "files (--longproc)",
        Needs::Ruler => "files (--ruler)",
    };
    row([
        card.name,
        card.category.name(),
        &judged_by(card),
        &chance_text(card.chance),
        needs,
        if is_at_hand { "yes" } else { "no" },
        card.about,
    ])
}

fn judged_by(card: &Card) -> String {
    let proxy = if card.proxy { ", proxy" } else { "" };
    format!("{} ({}{proxy})", card.metric.name(), card.headline.name())
}

fn row([name, category, metric, chance, needs, at_hand, about]: [&str; 7]) -> String {
    format!("{name:<22} {category:<13} {metric:<30} {chance:<7} {needs:<23} {at_hand:<7} {about}")
}
