//! The folder of one evaluation: `config.toml identity.json predictions.jsonl results.json report.html log.txt
//! .lock`.
//!
//! The same request given again goes on where the folder ends; another one is refused with what differs.
//!
//! **Invariant:** a folder that is refused is left as it was.

use super::critical::study::{KEEP, Study};
use super::error::EvalError;
use super::ledger::{self, Ledger};
use super::report::page::{self, page};
use super::results::{self, Results};
use crate::checkpoint::durable;
use crate::checkpoint::identity::Identity;
use crate::fault::AnyFault;
use crate::train::run_dir::{CONFIG_NAME, RunDir, refuse_foreign};
use serde_json::Value;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// Name of the file that says which question the folder answers.
pub const IDENTITY_NAME: &str = "identity.json";

/// An open run folder, locked for this process.
#[derive(Debug)]
pub struct RunFolder {
    dir: RunDir,
}

impl RunFolder {
    /// Opens or creates `path` for the evaluation that `resolved` describes; `identity` is everything that decides its
    /// answers, fingerprints of files included.
    ///
    /// # Errors
    /// [`EvalError::Changed`] if the folder answers another question, [`EvalError::Foreign`] if it is another program's;
    /// [`crate::train::run_dir_error::RunDirError`] if it cannot be used; what is wrong with its predictions.
    pub fn open(path: &Path, resolved: &str, identity: &Value) -> Result<(Self, Ledger), AnyFault> {
        let identity = Identity::new(identity, "", "");
        check(path, &identity)?;
        let dir = RunDir::open(path)?;
        // Between the look and the lock another process may have begun a run here.
        check(path, &identity)?;
        let ledger = Ledger::open(path)?;
        let text = serde_json::to_string_pretty(&identity)
            .unwrap_or_else(|_| unreachable!("an identity has a JSON form"));
        dir.record(IDENTITY_NAME, &format!("{text}\n"))?;
        dir.record(CONFIG_NAME, resolved)?;
        Ok((Self { dir }, ledger))
    }

    /// What a run of that evaluation would find finished in `path`, which stays as it is, whoever writes to it.
    ///
    /// # Errors
    /// As [`Self::open`], but for a folder that is in use.
    pub fn peek(path: &Path, identity: &Value) -> Result<Ledger, AnyFault> {
        check(path, &Identity::new(identity, "", ""))?;
        refuse_foreign(path)?;
        Ok(Ledger::peek(path)?)
    }

    /// Opens `log.txt` for appending.
    ///
    /// # Errors
    /// [`crate::train::run_dir_error::RunDirError::Io`].
    pub fn log(&self) -> Result<File, AnyFault> {
        Ok(self.dir.log()?)
    }

    /// Writes `results.json` and its page, replacing older ones at once or not at all; returns where the page is.
    ///
    /// # Errors
    /// [`EvalError::File`]; [`crate::footprint::critical::CriticalError`] for numbers that are not finite.
    pub fn write(&self, results: &Results) -> Result<PathBuf, AnyFault> {
        let mut text = serde_json::to_string_pretty(results)
            .unwrap_or_else(|_| unreachable!("results have a JSON form"));
        text.push('\n');
        let path = self.dir.path().join(results::FILE_NAME);
        durable::replace(&path, text.as_bytes()).map_err(EvalError::file("write", &path))?;
        let html = page(results, &Study::of(results, KEEP)?);
        Ok(write_report(self.dir.path(), &html)?)
    }
}

/// Writes the page of a run into its `folder`, replacing an older one at once or not at all; returns where.
///
/// # Errors
/// [`EvalError::File`].
pub fn write_report(folder: &Path, html: &str) -> Result<PathBuf, EvalError> {
    let path = folder.join(page::FILE_NAME);
    durable::replace(&path, html.as_bytes()).map_err(EvalError::file("write", &path))?;
    Ok(path)
}

/// Compares what the folder says it answers with `current`; a folder without answers fits everything.
fn check(path: &Path, current: &Identity) -> Result<(), EvalError> {
    let foreign = |reason: String| EvalError::Foreign {
        path: path.to_path_buf(),
        reason,
    };
    let file = path.join(IDENTITY_NAME);
    let bytes = match std::fs::read(&file) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Ok(()),
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(EvalError::file("read", &file)(error));
        }
        Err(_) => {
            let taken = [CONFIG_NAME, ledger::FILE_NAME].map(|name| (name, path.join(name)));
            let taken = taken.iter().find(|(_, path)| path.exists());
            return taken.map_or(Ok(()), |(name, _)| {
                Err(foreign(format!(
                    "it holds `{name}` without `{IDENTITY_NAME}`"
                )))
            });
        }
    };
    let saved: Identity = serde_json::from_slice(&bytes)
        .map_err(|error| foreign(format!("`{IDENTITY_NAME}` does not say what: {error}")))?;
    let changes = saved.changes(current);
    if changes.is_empty() {
        return Ok(());
    }
    Err(EvalError::Changed {
        path: path.to_path_buf(),
        changes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn open(path: &Path, seed: u64) -> Result<(RunFolder, Ledger), AnyFault> {
        let identity = json!({ "seeds": [seed], "models": { "tiny": "00" } });
        RunFolder::open(path, &format!("seeds = [{seed}]\n"), &identity)
    }

    fn contents(path: &Path) -> Vec<(String, Vec<u8>)> {
        let entries = std::fs::read_dir(path).unwrap();
        let mut contents: Vec<_> = entries
            .map(|entry| entry.unwrap().path())
            .map(|path| (path.display().to_string(), std::fs::read(&path).unwrap()))
            .collect();
        contents.sort();
        contents
    }

    #[test]
    fn another_question_is_refused_with_the_difference_and_changes_nothing() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("run");
        drop(open(&path, 1).unwrap());
        let before = contents(&path);
        let error = open(&path, 2).unwrap_err();
        assert_eq!(error.code(), "run.config_changed");
        assert!(error.to_string().contains("seeds: [1] -> [2]"), "{error}");
        assert_eq!(contents(&path), before);
        drop(open(&path, 1).unwrap());
        assert_eq!(
            std::fs::read_to_string(path.join(CONFIG_NAME)).unwrap(),
            "seeds = [1]\n"
        );
    }

    #[test]
    fn folders_of_others_and_of_training_are_refused() {
        let place = tempfile::tempdir().unwrap();
        let refused = |name: &str| {
            let path = place.path().join(name);
            let before = path.is_dir().then(|| contents(&path));
            let error = open(&path, 1).unwrap_err();
            assert_eq!(error.code(), "run.foreign_files", "{name}");
            assert_eq!(path.is_dir().then(|| contents(&path)), before);
        };
        std::fs::create_dir(place.path().join("trained")).unwrap();
        for (name, file) in [("trained", ".lock"), ("trained", CONFIG_NAME)] {
            std::fs::write(place.path().join(name).join(file), "").unwrap();
        }
        refused("trained");
        std::fs::create_dir(place.path().join("thesis")).unwrap();
        std::fs::write(place.path().join("thesis/a.tex"), "x").unwrap();
        refused("thesis");
        refused("thesis/a.tex");
        let held = open(&place.path().join("run"), 1).unwrap();
        let error = open(&place.path().join("run"), 1).unwrap_err();
        assert_eq!(error.code(), "run.locked");
        drop(held);
    }
}
