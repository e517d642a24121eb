//! Every finished answer of a run: in memory, and in `predictions.jsonl` where the run has a folder.
//!
//! A line is appended and synced before the next item begins, so that a kill loses the item it interrupts and no other.
//!
//! **Invariant:** when a run has ended, the file holds its answers in the order of its plan, however often it was killed.

use super::error::EvalError;
use super::item_result::{ItemResult, Key, SCHEMA};
use crate::checkpoint::durable;
use crate::metrics::jsonl::append;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

/// Name of the file inside a run folder.
pub const FILE_NAME: &str = "predictions.jsonl";

/// Finished answers by their keys.
#[derive(Debug, Default)]
pub struct Ledger {
    done: BTreeMap<Key, ItemResult>,
    /// Keys in the order of the file's lines.
    written: Vec<Key>,
    file: Option<(PathBuf, File)>,
}

impl Ledger {
    /// A ledger without a file.
    pub fn in_memory() -> Self {
        Self::default()
    }

    /// Opens `folder/predictions.jsonl` to go on where it ends. A last line that a kill cut and items that failed are
    /// dropped: they are run again.
    ///
    /// # Errors
    /// [`EvalError::Line`] for a complete line that is no prediction, or a second one of the same item;
    /// [`EvalError::File`] if the file cannot be read or written.
    pub fn open(folder: &Path) -> Result<Self, EvalError> {
        let path = folder.join(FILE_NAME);
        let (mut ledger, bytes) = Self::read(&path)?;
        let kept = ledger.lines(&ledger.written);
        if kept != bytes {
            durable::replace(&path, &kept).map_err(EvalError::file("write", &path))?;
        }
        let file = OpenOptions::new().create(true).append(true).open(&path);
        ledger.file = Some((path.clone(), file.map_err(EvalError::file("open", &path))?));
        Ok(ledger)
    }

    /// What [`Self::open`] would find finished in `folder`, where nothing is changed.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn peek(folder: &Path) -> Result<Self, EvalError> {
        Ok(Self::read(&folder.join(FILE_NAME))?.0)
    }

    /// The answers of a file, and its bytes.
    fn read(path: &Path) -> Result<(Self, Vec<u8>), EvalError> {
        let bytes = match std::fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            other => other.map_err(EvalError::file("read", path))?,
        };
        let mut ledger = Self::default();
        for result in read_lines(&bytes, path)? {
            if result.error.is_none() {
                ledger.insert(result);
            }
        }
        Ok((ledger, bytes))
    }

    /// The answer of `key`, if it is finished.
    pub fn get(&self, key: &Key) -> Option<&ItemResult> {
        self.done.get(key)
    }

    /// Number of finished answers.
    pub fn len(&self) -> usize {
        self.done.len()
    }

    /// Whether nothing is finished.
    pub fn is_empty(&self) -> bool {
        self.done.is_empty()
    }

    /// Items that failed, in the order in which they ran.
    pub fn failures(&self) -> impl Iterator<Item = &ItemResult> {
        let results = self.written.iter().filter_map(|key| self.done.get(key));
        results.filter(|result| result.error.is_some())
    }

    /// Adds an answer and makes it durable.
    ///
    /// # Errors
    /// [`EvalError::File`]; the file then ends where it ended before.
    pub fn push(&mut self, result: ItemResult) -> Result<(), EvalError> {
        if let Some((path, file)) = &mut self.file {
            append(file, line(&result).as_bytes())
                .and_then(|()| file.sync_data())
                .map_err(EvalError::file("append to", path))?;
        }
        self.insert(result);
        Ok(())
    }

    /// Brings the lines into the order of the run's plan, where items that failed were run again later; lines that `plan`
    /// does not name come last.
    ///
    /// # Errors
    /// [`EvalError::File`]; the file is then as it was.
    pub fn settle(&mut self, plan: &[Key]) -> Result<(), EvalError> {
        let place: BTreeMap<&Key, usize> = plan.iter().zip(0..).collect();
        let mut order = self.written.clone();
        order.sort_by_key(|key| place.get(key).copied().unwrap_or(usize::MAX));
        if order == self.written {
            return Ok(());
        }
        let Some((path, _)) = &self.file else {
            return Ok(());
        };
        let path = path.clone();
        durable::replace(&path, &self.lines(&order)).map_err(EvalError::file("write", &path))?;
        let file = OpenOptions::new().append(true).open(&path);
        self.file = Some((path.clone(), file.map_err(EvalError::file("open", &path))?));
        self.written = order;
        Ok(())
    }

    fn insert(&mut self, result: ItemResult) {
        let key = result.key();
        self.written.push(key.clone());
        self.done.insert(key, result);
    }

    fn lines(&self, order: &[Key]) -> Vec<u8> {
        let lines = order.iter().filter_map(|key| self.done.get(key)).map(line);
        lines.collect::<String>().into_bytes()
    }
}

/// Every complete line of a file of predictions.
///
/// # Errors
/// [`EvalError::File`] if it cannot be read, [`EvalError::Line`] for a complete line that is none, or one that repeats an
/// item.
pub fn read(path: &Path) -> Result<Vec<ItemResult>, EvalError> {
    let bytes = std::fs::read(path).map_err(EvalError::file("read", path))?;
    read_lines(&bytes, path)
}

fn read_lines(bytes: &[u8], path: &Path) -> Result<Vec<ItemResult>, EvalError> {
    let mut results: Vec<ItemResult> = Vec::new();
    let mut seen: BTreeMap<Key, usize> = BTreeMap::new();
    let complete = bytes
        .split_inclusive(|byte| *byte == b'\n')
        .filter(|line| line.ends_with(b"\n"));
    for (number, line) in (1..).zip(complete) {
        let refuse = |reason: String| EvalError::Line {
            path: path.to_path_buf(),
            line: number,
            reason,
        };
        let result: ItemResult =
            serde_json::from_slice(line).map_err(|error| refuse(error.to_string()))?;
        if result.schema != SCHEMA {
            return Err(refuse(format!(
                "its schema is `{}`, not `{SCHEMA}`",
                result.schema
            )));
        }
        if let Some(first) = seen.insert(result.key(), number) {
            return Err(refuse(format!("line {first} holds the same item")));
        }
        results.push(result);
    }
    Ok(results)
}

fn line(result: &ItemResult) -> String {
    let mut line = serde_json::to_string(result)
        .unwrap_or_else(|_| unreachable!("a prediction has a JSON form"));
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::item_result::samples::{failed, result};
    use crate::fault::Coded;

    fn ids(folder: &Path) -> Vec<String> {
        let results = read(&folder.join(FILE_NAME)).unwrap();
        results.into_iter().map(|result| result.id).collect()
    }

    #[test]
    fn torn_and_failed_lines_are_dropped_and_what_was_finished_stays() {
        let place = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(place.path()).unwrap();
        ledger.push(result("a")).unwrap();
        ledger.push(failed("b")).unwrap();
        ledger.push(result("c")).unwrap();
        assert_eq!(ledger.failures().count(), 1);
        drop(ledger);
        let path = place.path().join(FILE_NAME);
        let whole = std::fs::read(&path).unwrap();
        let first_len = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        for torn_len in [0, 1, first_len / 2] {
            let torn = [&whole[..], &whole[..torn_len]].concat();
            std::fs::write(&path, torn).unwrap();
            assert_eq!(Ledger::peek(place.path()).unwrap().len(), 2);
            assert!(std::fs::read(&path).unwrap().ends_with(&whole[..torn_len]));
            let ledger = Ledger::open(place.path()).unwrap();
            assert_eq!(ledger.len(), 2);
            assert_eq!(ledger.get(&result("a").key()), Some(&result("a")));
            assert_eq!(ids(place.path()), ["a", "c"]);
        }
    }

    #[test]
    fn lines_end_in_the_order_of_the_plan() {
        let place = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(place.path()).unwrap();
        for id in ["a", "c", "other", "b"] {
            ledger.push(result(id)).unwrap();
        }
        let plan = ["a", "b", "c"].map(|id| result(id).key());
        ledger.settle(&plan).unwrap();
        assert_eq!(ids(place.path()), ["a", "b", "c", "other"]);
        ledger.push(result("d")).unwrap();
        assert_eq!(ids(place.path()), ["a", "b", "c", "other", "d"]);
    }

    #[test]
    fn broken_lines_are_named() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join(FILE_NAME);
        let foreign = ItemResult {
            schema: "prulong.prediction/9".to_owned(),
            ..result("b")
        };
        for second in ["{}\n".to_owned(), line(&foreign), line(&result("a"))] {
            std::fs::write(&path, format!("{}{second}", line(&result("a")))).unwrap();
            let error = Ledger::open(place.path()).unwrap_err();
            assert_eq!(error.code(), "eval.prediction");
            assert!(error.to_string().contains(".jsonl:2: "), "{error}");
        }
    }
}
