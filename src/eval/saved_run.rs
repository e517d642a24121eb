//! A finished run read back: `results.json`, with the answers of `predictions.jsonl` in their places.
//!
//! **Invariant:** the only reader of a run folder's results; whatever is made of them later starts here.

use super::error::EvalError;
use super::item_result::ItemResult;
use super::ledger;
use super::results::{self, Results, SCHEMA, TaskInfo, TaskResult};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

/// What the answers of one method have in common: model, chunk length, task and method.
type Series = (String, usize, String, String);

/// An answer and its line, counted from 1.
type Line = (usize, ItemResult);

/// Reads `folder` as the last finished command left it, every answer with its method. Answers to items that this command did not
/// ask, such as those beyond its `--limit`, are left out.
///
/// # Errors
/// [`EvalError::Unfinished`] for a folder without results or with other answers than they count, [`EvalError::BadResults`] and
/// [`EvalError::Line`] for files that are not what they should be, [`EvalError::File`] for those that cannot be read.
pub fn read(folder: &Path) -> Result<Results, EvalError> {
    let mut results = read_results(folder)?;
    let mut series = read_answers(folder, &asked(&results))?;
    for part in &mut results.parts {
        for task in &mut part.tasks {
            for method in &mut task.methods {
                let key = (
                    part.model.name.clone(),
                    part.chunk_len,
                    task.task.name.clone(),
                    method.name.clone(),
                );
                let lines = series.remove(&key).unwrap_or_default();
                method.items = checked(folder, &task.task, lines)?;
                let counted = method.summary.num_items + method.summary.num_failed;
                let found = method.items.len();
                if found != counted {
                    let (task, method) = (&task.task.name, &method.name);
                    return Err(unfinished(
                        folder,
                        format!(
                            "`{}` counts {counted} items of `{method}` on `{task}`, `{}` holds {found}",
                            results::FILE_NAME,
                            ledger::FILE_NAME
                        ),
                    ));
                }
            }
        }
    }
    Ok(results)
}

fn read_results(folder: &Path) -> Result<Results, EvalError> {
    let path = folder.join(results::FILE_NAME);
    let bytes = std::fs::read(&path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            unfinished(folder, format!("it has no `{}`", results::FILE_NAME))
        }
        _ => EvalError::file("read", &path)(error),
    })?;
    let refuse = |line, column, reason| EvalError::BadResults {
        path: path.clone(),
        line,
        column,
        reason,
    };
    let foreign = |found: &str| refuse(1, 1, format!("its schema is `{found}`, not `{SCHEMA}`"));
    let parsed = serde_json::from_slice::<Results>(&bytes).map_err(|error| {
        // Another schema explains every other difference.
        match serde_json::from_slice::<serde_json::Value>(&bytes) {
            Ok(value) if value["schema"] != SCHEMA => {
                foreign(value["schema"].as_str().unwrap_or_default())
            }
            _ => refuse(error.line(), error.column(), error.to_string()),
        }
    });
    let results = parsed?;
    if results.schema != SCHEMA {
        return Err(foreign(&results.schema));
    }
    Ok(results)
}

/// Names of the items of every task.
fn asked(results: &Results) -> BTreeMap<String, BTreeSet<String>> {
    let grid = results.provenance.grid.ids();
    let tasks = results.parts.iter().flat_map(|part| &part.tasks);
    let ids = tasks.map(|TaskResult { task, .. }| {
        let own = task.own.as_ref().map(|own| own.ids.clone());
        (task.name.clone(), own.unwrap_or_else(|| grid.clone()))
    });
    ids.collect()
}

/// Every answer to the items `asked` by what it belongs to, in the order of the lines.
fn read_answers(
    folder: &Path,
    asked: &BTreeMap<String, BTreeSet<String>>,
) -> Result<BTreeMap<Series, Vec<Line>>, EvalError> {
    let path = folder.join(ledger::FILE_NAME);
    let answers = ledger::read(&path).map_err(|error| match error {
        EvalError::File { source, .. } if source.kind() == io::ErrorKind::NotFound => {
            unfinished(folder, format!("it has no `{}`", ledger::FILE_NAME))
        }
        other => other,
    })?;
    let mut series: BTreeMap<Series, Vec<Line>> = BTreeMap::new();
    let lines = (1..).zip(answers);
    let is_asked = |answer: &ItemResult| {
        let ids = asked.get(&answer.task);
        ids.is_some_and(|ids| ids.contains(&answer.id))
    };
    for (line, answer) in lines.filter(|(_, answer)| is_asked(answer)) {
        let key = (
            answer.model.clone(),
            answer.chunk_len,
            answer.task.clone(),
            answer.method.clone(),
        );
        series.entry(key).or_default().push((line, answer));
    }
    Ok(series)
}

/// The answers of `lines`, each with everything that results are made of.
fn checked(folder: &Path, task: &TaskInfo, lines: Vec<Line>) -> Result<Vec<ItemResult>, EvalError> {
    let check = |(line, answer): Line| match missing(task, &answer) {
        None => Ok(answer),
        Some(missing) => Err(EvalError::Line {
            path: folder.join(ledger::FILE_NAME),
            line,
            reason: format!("it has an answer and no {missing}"),
        }),
    };
    lines.into_iter().map(check).collect()
}

/// What an answer to `task` lacks.
fn missing(task: &TaskInfo, answer: &ItemResult) -> Option<String> {
    if answer.error.is_some() {
        return None;
    }
    if answer.kv.is_none() {
        return Some("`kv`".to_owned());
    }
    let mut metrics = task.metrics();
    let metric = metrics.find(|metric| !answer.scores.contains_key(metric))?;
    Some(format!("score by `{}`", metric.name()))
}

fn unfinished(folder: &Path, reason: String) -> EvalError {
    EvalError::Unfinished {
        path: folder.to_path_buf(),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::{Coded, Kind};

    #[test]
    fn folders_that_are_no_finished_run_are_refused_with_the_reason() {
        let place = tempfile::tempdir().unwrap();
        let refused = |folder: &Path, code: &str, words: &str| {
            let error = read(folder).unwrap_err();
            assert_eq!((error.code(), error.kind()), (code, Kind::Input), "{error}");
            assert!(error.to_string().contains(words), "{error}");
            assert!(error.hint().is_some());
        };
        refused(
            &place.path().join("none"),
            "eval.unfinished",
            "no `results.json`",
        );
        let write = |text: &str| std::fs::write(place.path().join(results::FILE_NAME), text);
        refused(place.path(), "eval.unfinished", "no `results.json`");
        for (text, words) in [
            ("{\n \"schema\": 1,", "results.json:2:"),
            (
                "{\"schema\": \"prulong.results/9\"}",
                "its schema is `prulong.results/9`",
            ),
            ("[]", "its schema is ``"),
            (
                "{\"schema\": \"prulong.results/1\",\n\"parts\": 1}",
                "results.json:2:",
            ),
        ] {
            write(text).unwrap();
            refused(place.path(), "eval.results", words);
        }
    }
}
