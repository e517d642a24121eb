//! Tasks: prompts with known answers, one file per task. Start reading at [`Task`]; [`registry`] lists them all.
//!
//! **Invariant:** an item depends on its task, its place and the haystack alone, never on which other items are made.

use super::error::EvalError;
use super::files::error::FilesError;
use super::files::library::Library;
use super::item::Item;
use super::item_set::ItemSet;
use super::material::Material;
use super::metric::registry::Metric;
use super::plan::{Place, Plan};
use super::reading::Reading;
use super::scoring::Scoring;
use std::path::PathBuf;

pub mod copy_table;
pub mod countdown;
pub mod cwe;
pub mod fwe;
pub mod json_kv;
pub mod json_kv_uuid;
pub mod label_map;
pub mod niah_multikey_1;
pub mod niah_multikey_2;
pub mod niah_multikey_3;
pub mod niah_multiquery;
pub mod niah_multivalue;
pub mod niah_single_1;
pub mod niah_single_2;
pub mod niah_single_3;
pub mod path_traversal;
pub mod recall;
pub mod registry;
pub mod tom_tracking;
pub mod vt;

#[cfg(test)]
pub(super) mod tests;

/// Prompts with known answers.
pub trait Task: std::fmt::Debug + Send + Sync {
    /// What the user should know about it.
    fn card(&self) -> Card;

    /// The items of all `plans`; with `limit` only so many of each length and plan, those of every depth before a second one of
    /// any.
    ///
    /// # Errors
    /// As [`Generated::item`], or [`EvalError::Files`] if a file of the user's cannot be used.
    fn items(
        &self,
        material: &Material<'_>,
        plans: &[Plan],
        limit: Option<usize>,
    ) -> Result<ItemSet, EvalError>;

    /// The files of the user's that it needs for these lengths, and that are not there.
    ///
    /// # Errors
    /// [`FilesError::Unnamed`] if their folder was not named, [`FilesError::Tier`] for a length without any.
    fn missing(&self, _library: &Library, _lengths: &[usize]) -> Result<Vec<PathBuf>, FilesError> {
        Ok(Vec::new())
    }
}

/// A task that makes its prompts.
pub trait Generated: std::fmt::Debug + Send + Sync {
    /// What the user should know about it.
    fn card(&self) -> Card;

    /// Makes the item of `place`.
    ///
    /// # Errors
    /// [`EvalError::TooShort`] or [`EvalError::TooMany`] for a length that the task cannot fill, [`EvalError::Data`] or
    /// [`EvalError::Rows`] if text cannot be read or tokenised, [`EvalError::NoHaystack`] if it needs one and has none.
    fn item(&self, material: &Material<'_>, place: &Place) -> Result<Item, EvalError>;
}

impl<T: Generated> Task for T {
    fn card(&self) -> Card {
        Generated::card(self)
    }

    fn items(
        &self,
        material: &Material<'_>,
        plans: &[Plan],
        limit: Option<usize>,
    ) -> Result<ItemSet, EvalError> {
        let places = plans.iter().flat_map(|plan| plan.first_places(limit));
        let items = places.map(|place| self.item(material, &place));
        Ok(ItemSet {
            items: items.collect::<Result<_, _>>()?,
            num_expected: plans.iter().map(Plan::num_places).sum(),
            depths: None,
            fingerprint: None,
            notes: Vec::new(),
        })
    }
}

/// What the user should know about a task.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Card {
    /// Its name on the command line and in results.
    pub name: &'static str,
    /// What it asks, in one sentence without a period.
    pub about: &'static str,
    /// What it measures.
    pub category: Category,
    /// The score it is judged by.
    pub metric: Metric,
    /// Other scores that are reported.
    pub also: &'static [Metric],
    /// Which of the scores of every metric it is judged by.
    pub headline: Scoring,
    /// Where in an output the answer stands.
    pub reading: Reading<'static>,
    /// Expected score, in [0, 1], of a guess that knows the answer's form and nothing of the prompt.
    pub chance: f64,
    /// What it cannot do without.
    pub needs: Needs,
    /// Whether its metric stands in for a judge that has to be paid: comparable between methods, with no published score.
    pub proxy: bool,
}

impl Card {
    /// Every score that is reported, the one it is judged by first.
    pub fn metrics(&self) -> impl Iterator<Item = Metric> + use<> {
        std::iter::once(self.metric).chain(self.also.iter().copied())
    }
}

/// What a task measures.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Category {
    /// One thing among many must be found and repeated.
    Recall,
    /// A mapping must be learnt from examples in the prompt.
    InContext,
    /// Everything that matches must be copied.
    Extraction,
    /// What names stand for must be followed from one to the next.
    Tracking,
    /// What comes most often must be found.
    Counting,
    /// A question must be answered from the passage that does.
    Rag,
    /// Passages must be ordered by how well they answer.
    Rerank,
    /// A question about one long document must be answered.
    LongQa,
    /// A long text must be told in short.
    Summarisation,
    /// A page must become a table.
    HtmlToTsv,
    /// A tour must be planned.
    Travel,
    /// Many steps must be written down, each of which follows from those before.
    Procedure,
}

impl Category {
    /// Its word in tables and results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Recall => "recall",
            Self::InContext => "in-context",
            Self::Extraction => "extraction",
            Self::Tracking => "tracking",
            Self::Counting => "counting",
            Self::Rag => "rag",
            Self::Rerank => "rerank",
            Self::LongQa => "long-qa",
            Self::Summarisation => "summarisation",
            Self::HtmlToTsv => "html-to-tsv",
            Self::Travel => "travel",
            Self::Procedure => "procedure",
        }
    }
}

/// What a task cannot do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Needs {
    /// Nothing: its documents are drawn at random.
    Nothing,
    /// Text to hide needles in.
    Haystack,
    /// HELMET's files.
    Helmet,
    /// LongProc's files.
    LongProc,
    /// RULER's files, or kvpress's.
    Ruler,
}

impl Needs {
    /// Whether that is found on every machine that builds this.
    pub fn is_offline(self) -> bool {
        match self {
            Self::Nothing | Self::Haystack => true,
            Self::Helmet | Self::LongProc | Self::Ruler => false,
        }
    }

    /// Whose tasks those are that need it: means of categories are taken over tasks of one collection.
    pub fn collection(self) -> &'static str {
        match self {
            Self::Nothing | Self::Haystack => "prulong",
            Self::Helmet => "helmet",
            Self::LongProc => "longproc",
            Self::Ruler => "ruler",
        }
    }
}
