//! Tasks: prompts with known answers, one file per task. Start reading at [`Task`]; [`registry`] lists them all.
//!
//! **Invariant:** an item depends on its task, its place and the haystack alone, never on which other items are made.

use super::error::EvalError;
use super::item::Item;
use super::material::Material;
use super::metric::registry::Metric;
use super::plan::Place;
use super::reading::Reading;
use super::scoring::Scoring;

pub mod copy_table;
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
pub mod recall;
pub mod registry;
pub mod vt;

#[cfg(test)]
pub(super) mod tests;

/// Makes prompts with known answers.
pub trait Task: std::fmt::Debug + Send + Sync {
    /// What the user should know about it.
    fn card(&self) -> Card;

    /// Makes the item of `place`.
    ///
    /// # Errors
    /// [`EvalError::TooShort`] or [`EvalError::TooMany`] for a length that the task cannot fill, [`EvalError::Data`] or
    /// [`EvalError::Rows`] if text cannot be read or tokenised, [`EvalError::NoHaystack`] if it needs one and has none.
    fn item(&self, material: &Material<'_>, place: &Place) -> Result<Item, EvalError>;
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
}

impl Needs {
    /// Whether that is found on every machine that builds this.
    pub fn is_offline(self) -> bool {
        match self {
            Self::Nothing | Self::Haystack => true,
        }
    }
}
