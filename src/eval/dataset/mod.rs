//! Data sets of published evaluations, read from the user's files: HELMET's, LongProc's and RULER's, one file per family.
//!
//! A [`DataSet`] says which files it needs and makes an entry of every item; [`task`] asks them like any other task. Start
//! reading at [`registry`].
//!
//! **Invariant:** which items are asked, and with which demonstrations, is HELMET's choice (its seed 42), whatever seeds an
//! evaluation has.

use super::error::EvalError;
use super::files::entry::Entry;
use super::files::error::FilesError;
use super::files::library::Library;
use super::task::Card;
use crate::config::eval_files::Overflow;
use crate::data::tokenizer::Tokenizer;
use std::path::PathBuf;

mod demos;
mod documents;
pub mod helmet_json_kv;
pub mod helmet_niah;
pub mod icl;
pub mod infbench;
pub mod kilt;
pub mod longproc;
pub mod msmarco;
pub mod multi_lexsum;
pub mod narrativeqa;
pub mod registry;
pub mod ruler;
pub mod task;
mod tiers;

#[cfg(test)]
mod tests;

/// Items of a data set that are asked where it has more.
pub const NUM_ITEMS: usize = 100;

/// Demonstrations before an item, where a data set has any.
pub const NUM_DEMOS: usize = 2;

/// A data set of a published evaluation.
pub trait DataSet: std::fmt::Debug + Send + Sync {
    /// What the user should know about it.
    fn card(&self) -> Card;

    /// The files it reads for a length, each with all places where it may lie.
    ///
    /// # Errors
    /// [`FilesError::Unnamed`] if their folder was not named, [`FilesError::Tier`] if there are none for that length.
    fn files(&self, library: &Library, length: usize) -> Result<Vec<Vec<PathBuf>>, FilesError>;

    /// Reads its `files`, one for each of [`Self::files`].
    ///
    /// # Errors
    /// [`EvalError::Files`] if a file or a wording cannot be used.
    fn open<'a>(
        &self,
        files: &[PathBuf],
        desk: &Desk<'a>,
        length: usize,
    ) -> Result<Box<dyn Opened + 'a>, EvalError>;

    /// What HELMET calls it at a length.
    fn published(&self, length: usize) -> Published;

    /// What happens to items that are too long, unless the user says otherwise.
    fn overflow(&self) -> Overflow {
        Overflow::Cut
    }

    /// What its readers should know about its prompts.
    fn remark(&self) -> Option<&'static str> {
        None
    }
}

/// What HELMET calls a data set in the names of its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Its name, with what its length decides.
    pub name: String,
    /// Name of its file, as far as results are named by it.
    pub file: PublishedFile,
    /// Demonstrations asked for, also where it has none.
    pub shots: usize,
}

/// What results call the file of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublishedFile {
    /// Its own name.
    Named,
    /// Nothing: it came from the hub.
    Hub,
    /// The folder of all of LongProc's.
    Folder,
}

impl PublishedFile {
    /// The word in the names of results, of a data set with the file `name`.
    pub fn word(self, name: &str) -> &str {
        match self {
            Self::Named => name.split_once('.').map_or(name, |(stem, _)| stem),
            Self::Hub => "",
            Self::Folder => "data",
        }
    }
}

/// A data set whose files were read.
pub trait Opened {
    /// How many items are asked.
    fn num_items(&self) -> usize;

    /// The depth of one of them, where the file names one.
    fn depth(&self, _index: usize) -> Option<f64> {
        None
    }

    /// One of them.
    ///
    /// # Errors
    /// [`EvalError::Files`] if it cannot be put into words, [`EvalError::Data`] if it cannot be tokenised.
    fn entry(&self, index: usize) -> Result<Entry, EvalError>;
}

/// What data sets make their entries with.
#[derive(Debug, Clone, Copy)]
pub struct Desk<'a> {
    /// Folders and wordings.
    pub library: &'a Library,
    /// Counts tokens, where a data set is cut to some number of them.
    pub tokenizer: &'a Tokenizer,
}
