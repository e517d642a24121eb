//! Rows of a file: JSON lines, or one JSON list. What is wrong with a row is said with its file and line.

use super::error::FilesError;
use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

/// A row and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Located<T> {
    /// Line, or place in the file's list, from 1.
    pub at: usize,
    /// What it says.
    pub row: T,
}

/// A file that was read: every row, and where each stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Table<T> {
    path: PathBuf,
    /// The rows in their order.
    pub rows: Vec<Located<T>>,
}

impl<T: DeserializeOwned> Table<T> {
    /// Reads JSON lines; blank ones are left out.
    ///
    /// # Errors
    /// [`FilesError::Read`] if there is no such text, [`FilesError::Row`] for the first line that is no such row,
    /// [`FilesError::Format`] if there is no row.
    pub fn lines(path: &Path) -> Result<Self, FilesError> {
        let unreadable = |source| FilesError::Read {
            path: path.to_owned(),
            source,
        };
        let file = BufReader::new(File::open(path).map_err(unreadable)?);
        let mut rows = Vec::new();
        for (index, line) in file.lines().enumerate() {
            let line = line.map_err(unreadable)?;
            if line.trim().is_empty() {
                continue;
            }
            let value = serde_json::from_str(&line).map_err(|error| FilesError::Row {
                path: path.to_owned(),
                row: index + 1,
                reason: error.to_string(),
            })?;
            rows.push(located(path, index, value)?);
        }
        Self::of(path, rows)
    }

    /// Reads one JSON list.
    ///
    /// # Errors
    /// As [`Self::lines`], or [`FilesError::Format`] if the file is no list.
    pub fn list(path: &Path) -> Result<Self, FilesError> {
        let text = std::fs::read_to_string(path).map_err(|source| FilesError::Read {
            path: path.to_owned(),
            source,
        })?;
        let values: Vec<serde_json::Value> =
            serde_json::from_str(&text).map_err(|error| FilesError::Format {
                path: path.to_owned(),
                reason: format!("not a JSON list: {error}"),
            })?;
        let rows = values.into_iter().enumerate();
        let rows = rows.map(|(index, value)| located(path, index, value));
        Self::of(path, rows.collect::<Result<_, _>>()?)
    }

    fn of(path: &Path, rows: Vec<Located<T>>) -> Result<Self, FilesError> {
        if rows.is_empty() {
            return Err(FilesError::Format {
                path: path.to_owned(),
                reason: "holds no rows".to_owned(),
            });
        }
        Ok(Self {
            path: path.to_owned(),
            rows,
        })
    }
}

impl<T> Table<T> {
    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its name with the place of a row.
    pub fn source(&self, at: usize) -> String {
        let name = self.path.file_name().unwrap_or_default();
        format!("{}:{at}", name.to_string_lossy())
    }

    /// Says what is wrong with a row.
    pub fn flaw(&self, at: usize, reason: impl Into<String>) -> FilesError {
        FilesError::Row {
            path: self.path.clone(),
            row: at,
            reason: reason.into(),
        }
    }

    /// The rows with these indices, in the order given; each keeps its place in the file.
    #[must_use]
    pub fn picked(self, indices: &[usize]) -> Self
    where
        T: Clone,
    {
        Self {
            rows: indices
                .iter()
                .map(|index| self.rows[*index].clone())
                .collect(),
            path: self.path,
        }
    }

    /// Something of every row, in their order.
    pub fn map<U>(&self, of: impl Fn(&T) -> U) -> Vec<U> {
        self.rows.iter().map(|located| of(&located.row)).collect()
    }

    /// The rows that `keep` keeps; their places stay.
    ///
    /// # Errors
    /// The first error of `keep`.
    pub fn filtered<E>(
        self,
        keep: impl Fn(&Self, &Located<T>) -> Result<bool, E>,
    ) -> Result<Self, E> {
        let kept: Vec<bool> = self
            .rows
            .iter()
            .map(|row| keep(&self, row))
            .collect::<Result<_, _>>()?;
        let rows = self.rows.into_iter().zip(kept);
        Ok(Self {
            path: self.path,
            rows: rows.filter_map(|(row, kept)| kept.then_some(row)).collect(),
        })
    }
}

fn located<T: DeserializeOwned>(
    path: &Path,
    index: usize,
    value: serde_json::Value,
) -> Result<Located<T>, FilesError> {
    let at = index + 1;
    let row = serde_path_to_error::deserialize(value).map_err(|error| {
        let field = error.path().to_string();
        let place = if field == "." {
            String::new()
        } else {
            format!("`{field}`: ")
        };
        FilesError::Row {
            path: path.to_owned(),
            row: at,
            reason: format!("{place}{}", error.inner()),
        }
    })?;
    Ok(Located { at, row })
}

/// Reads a text or a list of texts as a list.
///
/// # Errors
/// That of `deserializer` if it is neither.
pub fn one_or_many<'a, D: Deserializer<'a>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let texts = match serde_json::Value::deserialize(deserializer)? {
        serde_json::Value::String(text) => return Ok(vec![text]),
        serde_json::Value::Array(values) => values,
        _ => return Err(D::Error::custom("neither a text nor a list of texts")),
    };
    let texts = texts.into_iter().map(|value| match value {
        serde_json::Value::String(text) => Ok(text),
        _ => Err(D::Error::custom("a list of something else than texts")),
    });
    texts.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Coded;

    #[derive(Debug, Clone, PartialEq, serde::Deserialize)]
    struct Row {
        question: String,
        #[serde(deserialize_with = "one_or_many")]
        answers: Vec<String>,
    }

    fn write(text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.jsonl");
        std::fs::write(&path, text).unwrap();
        (folder, path)
    }

    #[test]
    fn rows_keep_their_lines_and_texts_become_lists() {
        let (_folder, path) = write(
            "{\"question\": \"a\", \"answers\": \"b\", \"more\": 1}\n\n{\"question\": \"c\", \"answers\": [\"d\", \"e\"]}\n",
        );
        let table = Table::<Row>::lines(&path).unwrap();
        assert_eq!(table.map(|row| row.answers.len()), [1, 2]);
        assert_eq!(table.rows[1].at, 3);
        assert_eq!(table.source(3), "rows.jsonl:3");
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        for (text, words) in [
            (
                "{\"question\": \"a\", \"answers\": []}\n{\"question\": \"a\"}",
                &["rows.jsonl:2", "missing field `answers`"][..],
            ),
            (
                "{\"question\": 1, \"answers\": []}",
                &["rows.jsonl:1", "`question`", "integer `1`"],
            ),
            ("{\"question\": \"a\", \"answ", &["rows.jsonl:1", "EOF"]),
            ("\n", &["holds no rows"]),
        ] {
            let (_folder, path) = write(text);
            let error = Table::<Row>::lines(&path).unwrap_err();
            let message = error.to_string();
            assert!(words.iter().all(|word| message.contains(word)), "{message}");
            assert_eq!(error.code(), "task.row");
        }
        let (folder, path) = write("{\"a\": 1}");
        let message = Table::<Row>::list(&path).unwrap_err().to_string();
        assert!(message.contains("not a JSON list"), "{message}");
        let none = Table::<Row>::lines(&folder.path().join("none")).unwrap_err();
        assert_eq!(none.code(), "task.file_read");
    }
}
