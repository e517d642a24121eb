//! Written answers of a file, one after the other.

use super::error::RescoreError;
use super::line::{Flaw, Line};
use crate::eval::item_result::Key;
use crate::eval::ledger::FILE_NAME;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

/// An open file of answers.
#[derive(Debug)]
pub struct Lines {
    path: PathBuf,
    reader: BufReader<File>,
    number: usize,
    seen: BTreeMap<Key, usize>,
}

impl Lines {
    /// Opens a file, or the predictions of a run folder.
    ///
    /// # Errors
    /// [`RescoreError::Read`], [`RescoreError::NoPredictions`].
    pub fn open(path: &Path) -> Result<Self, RescoreError> {
        let mut file = path.to_path_buf();
        if path.is_dir() {
            file.push(FILE_NAME);
            if !file.exists() {
                return Err(RescoreError::NoPredictions {
                    path: path.to_path_buf(),
                    name: FILE_NAME,
                });
            }
        }
        let opened = File::open(&file).map_err(|source| RescoreError::Read {
            path: file.clone(),
            source,
        })?;
        Ok(Self {
            path: file,
            reader: BufReader::new(opened),
            number: 0,
            seen: BTreeMap::new(),
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The next answer; nothing behind the last one. Blank lines are left out.
    ///
    /// # Errors
    /// [`RescoreError::Read`]; [`RescoreError::Line`] for a line that is no answer, or one that repeats an item of a run.
    pub fn next_line(&mut self) -> Result<Option<Line>, RescoreError> {
        let mut bytes = Vec::new();
        loop {
            bytes.clear();
            let read = self.reader.read_until(b'\n', &mut bytes);
            let read = read.map_err(|source| RescoreError::Read {
                path: self.path.clone(),
                source,
            })?;
            if read == 0 {
                return Ok(None);
            }
            self.number += 1;
            if !bytes.trim_ascii().is_empty() {
                break;
            }
        }
        let line = Line::parse(&bytes).map_err(|flaw| self.refuse(flaw))?;
        let first = line
            .key
            .clone()
            .and_then(|key| self.seen.insert(key, self.number));
        match first {
            Some(first) => Err(self.refuse(Flaw {
                reason: format!("line {first} holds the same item"),
                remedy: None,
            })),
            None => Ok(Some(line)),
        }
    }

    /// Where the last answer stands.
    pub fn place(&self) -> String {
        format!("{}:{}", self.path.display(), self.number)
    }

    /// The error for the last answer.
    pub fn refuse(&self, flaw: Flaw) -> RescoreError {
        RescoreError::Line {
            path: self.path.clone(),
            line: self.number,
            reason: flaw.reason,
            remedy: flaw.remedy,
        }
    }
}
