//! LongProc: procedures to be carried out step by step. Prompts are the user's own `prompts.yaml`.

use super::{DataSet, Desk, NUM_ITEMS, Opened, Published, PublishedFile};
use crate::config::eval_files::Overflow;
use crate::eval::choice::subset::first_permuted;
use crate::eval::error::EvalError;
use crate::eval::files::entry::Entry;
use crate::eval::files::error::FilesError;
use crate::eval::files::fit::SEED;
use crate::eval::files::library::Library;
use crate::eval::files::rows::{Located, Table};
use crate::eval::files::wording::{Field, fill};
use crate::eval::gold::Gold;
use crate::eval::task::Card;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};

pub mod countdown;
pub mod html_to_tsv;
pub mod path_traversal;
pub mod tom_tracking;
pub mod travel_planning;

/// Longest output of a level.
const HALF_K: usize = 1024;
/// See [`HALF_K`].
const TWO_K: usize = 3072;
/// See [`HALF_K`].
const EIGHT_K: usize = 10_240;

/// A task at one level of output.
#[derive(Debug, Clone, Copy)]
pub struct Level<T> {
    card: Card,
    /// Name of its folder.
    folder: &'static str,
    /// Name of its file in there.
    file: &'static str,
    /// How its rows are read.
    kind: T,
    max_new_tokens: usize,
}

/// A kind of LongProc's tasks.
pub trait Kind: std::fmt::Debug + Copy + Send + Sync + 'static {
    /// A row of its files.
    type Row: Clone + DeserializeOwned + 'static;

    /// Whether a row is part of the level.
    fn is_asked(&self, _row: &Self::Row) -> bool {
        true
    }

    /// What the prompt names of a row, in the folder of its files.
    ///
    /// # Errors
    /// What is wrong with the row.
    fn fields(&self, row: &Self::Row, folder: &Path)
    -> Result<Vec<(&'static str, String)>, String>;

    /// What a right answer is.
    fn gold(&self, row: &Self::Row) -> Gold;

    /// Further fields of every prompt, from all rows.
    fn shared(&self, _rows: &[Located<Self::Row>]) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// What readers should know about the prompts.
    fn remark(&self) -> Option<&'static str> {
        None
    }
}

impl<T: Kind> DataSet for Level<T> {
    fn card(&self) -> Card {
        self.card
    }

    fn files(&self, library: &Library, _length: usize) -> Result<Vec<Vec<PathBuf>>, FilesError> {
        let folder = library.longproc(self.card.name)?.join(self.folder);
        Ok([self.file, "prompts.yaml"]
            .map(|name| vec![folder.join(name)])
            .to_vec())
    }

    fn published(&self, _length: usize) -> Published {
        Published {
            name: self.card.name.to_owned(),
            file: PublishedFile::Folder,
            shots: 0,
        }
    }

    fn open<'a>(
        &self,
        files: &[PathBuf],
        _desk: &Desk<'a>,
        _length: usize,
    ) -> Result<Box<dyn Opened + 'a>, EvalError> {
        let table = Table::<T::Row>::list(&files[0])?;
        let prompt = user_prompt(&files[1])?;
        let shared = self.kind.shared(&table.rows);
        let table = table.filtered(|_, row| Ok::<_, FilesError>(self.kind.is_asked(&row.row)))?;
        let chosen = first_permuted(table.rows.len(), NUM_ITEMS, SEED);
        Ok(Box::new(Procedures {
            of: *self,
            prompts: files[1].clone(),
            table: table.picked(&chosen),
            prompt,
            shared,
        }))
    }

    fn overflow(&self) -> Overflow {
        Overflow::Error
    }

    fn remark(&self) -> Option<&'static str> {
        self.kind.remark()
    }
}

struct Procedures<T: Kind> {
    of: Level<T>,
    table: Table<T::Row>,
    prompts: PathBuf,
    prompt: String,
    shared: Vec<(&'static str, String)>,
}

impl<T: Kind> Opened for Procedures<T> {
    fn num_items(&self) -> usize {
        self.table.rows.len()
    }

    fn entry(&self, index: usize) -> Result<Entry, EvalError> {
        let Located { at, row } = &self.table.rows[index];
        let folder = self.table.path().parent().unwrap_or(Path::new("."));
        let own = self.of.kind.fields(row, folder);
        let own = own.map_err(|reason| self.table.flaw(*at, reason))?;
        let fields: Vec<Field<'_>> = own
            .iter()
            .chain(&self.shared)
            .map(|(name, text)| (*name, text.as_str()))
            .collect();
        let prompt = fill(&self.prompt, &fields).map_err(|reason| FilesError::Format {
            path: self.prompts.clone(),
            reason: format!("`USER_PROMPT` {reason}"),
        })?;
        let source = self.table.source(*at);
        let entry = Entry::whole(
            *at,
            source,
            prompt,
            self.of.kind.gold(row),
            self.of.max_new_tokens,
        );
        Ok(Entry {
            template: Some(blake3::hash(self.prompt.as_bytes()).to_hex().to_string()),
            ..entry
        })
    }
}

/// The prompt in `prompts.yaml`.
fn user_prompt(path: &Path) -> Result<String, FilesError> {
    #[derive(serde::Deserialize)]
    struct Prompts {
        #[serde(rename = "USER_PROMPT")]
        user_prompt: String,
    }
    let text = std::fs::read_to_string(path).map_err(|source| FilesError::Read {
        path: path.to_owned(),
        source,
    })?;
    let prompts: Prompts = serde_norway::from_str(&text).map_err(|error| FilesError::Format {
        path: path.to_owned(),
        reason: error.to_string(),
    })?;
    Ok(prompts.user_prompt)
}
