//! RULER's needles as HELMET asks for them: keys among keys, and several values of one key.

use super::tiers;
use super::{DataSet, Desk, NUM_DEMOS, NUM_ITEMS, Opened, Published, PublishedFile};
use crate::eval::choice::subset::first_permuted;
use crate::eval::error::EvalError;
use crate::eval::files::entry::Entry;
use crate::eval::files::error::FilesError;
use crate::eval::files::fit::SEED;
use crate::eval::files::forms;
use crate::eval::files::library::Library;
use crate::eval::files::rows::{Located, Table, one_or_many};
use crate::eval::files::wording::{Form, Wording};
use crate::eval::gold::Gold;
use crate::eval::metric::registry::Metric;
use crate::eval::reading::Reading;
use crate::eval::scoring::Scoring;
use crate::eval::task::{Card, Category, Needs};
use std::path::PathBuf;

/// One of the data sets.
#[derive(Debug, Clone, Copy)]
pub struct HelmetNiah {
    name: &'static str,
    about: &'static str,
    /// RULER's name of it.
    folder: &'static str,
    form: Form,
    max_new_tokens: usize,
}

/// A word's number among numbers of words.
pub const MK_2: HelmetNiah = HelmetNiah {
    name: "helmet_niah_mk_2",
    about: "HELMET's RULER needles: the number of one word, where every line is such a needle",
    folder: "niah_multikey_2",
    form: forms::NIAH,
    max_new_tokens: 50,
};

/// A UUID's UUID among UUIDs of UUIDs.
pub const MK_3: HelmetNiah = HelmetNiah {
    name: "helmet_niah_mk_3",
    about: "HELMET's RULER needles: the UUID of one UUID, where every line is such a needle",
    folder: "niah_multikey_3",
    max_new_tokens: 100,
    ..MK_2
};

/// Several numbers of one word.
pub const MV: HelmetNiah = HelmetNiah {
    name: "helmet_niah_mv",
    about: "HELMET's RULER needles: the four numbers of one word, in a long text",
    folder: "niah_multivalue",
    form: forms::NIAH_MANY,
    max_new_tokens: 50,
};

#[derive(Debug, Clone, serde::Deserialize)]
struct Row {
    context: String,
    /// In some files it is called `question`.
    query: Option<String>,
    question: Option<String>,
    type_needle_v: String,
    /// In some files they are only called `outputs`.
    #[serde(default, deserialize_with = "one_or_many")]
    answer: Vec<String>,
    #[serde(default, deserialize_with = "one_or_many")]
    outputs: Vec<String>,
}

impl Row {
    fn answers(&self) -> &[String] {
        if self.answer.is_empty() {
            &self.outputs
        } else {
            &self.answer
        }
    }

    fn query(&self) -> Option<&str> {
        self.query.as_deref().or(self.question.as_deref())
    }
}

impl DataSet for HelmetNiah {
    fn card(&self) -> Card {
        Card {
            name: self.name,
            about: self.about,
            category: Category::Recall,
            metric: Metric::RulerRecall,
            also: &[Metric::RulerAny],
            headline: Scoring::Compat,
            reading: Reading::Whole,
            chance: 0.0,
            needs: Needs::Helmet,
            proxy: false,
        }
    }

    fn files(&self, library: &Library, length: usize) -> Result<Vec<Vec<PathBuf>>, FilesError> {
        tiers::check(self.name, length)?;
        let name = format!("ruler/{}/validation_{length}.jsonl", self.folder);
        Ok(vec![vec![library.helmet(self.name)?.join(name)]])
    }

    fn published(&self, _length: usize) -> Published {
        Published {
            name: self.name.replace("helmet_", "ruler_"),
            file: PublishedFile::Named,
            shots: NUM_DEMOS,
        }
    }

    fn open<'a>(
        &self,
        files: &[PathBuf],
        desk: &Desk<'a>,
        _length: usize,
    ) -> Result<Box<dyn Opened + 'a>, EvalError> {
        let table = Table::<Row>::lines(&files[0])?;
        for Located { at, row } in &table.rows {
            if row.answers().is_empty() {
                return Err(table
                    .flaw(*at, "neither `answer` nor `outputs` holds a right answer")
                    .into());
            }
            if row.query().is_none() {
                return Err(table.flaw(*at, "missing field `query`").into());
            }
        }
        let chosen = first_permuted(table.rows.len(), NUM_ITEMS, SEED);
        Ok(Box::new(Needles {
            table: table.picked(&chosen),
            wording: desk.library.wording(&self.form)?,
            is_one: self.form.name == forms::NIAH.name,
            max_new_tokens: self.max_new_tokens,
        }))
    }
}

struct Needles {
    table: Table<Row>,
    wording: Wording,
    is_one: bool,
    max_new_tokens: usize,
}

impl Opened for Needles {
    fn num_items(&self) -> usize {
        self.table.rows.len()
    }

    fn entry(&self, index: usize) -> Result<Entry, EvalError> {
        let Located { at, row } = &self.table.rows[index];
        let kind = if self.is_one {
            // Some files keep the plural.
            row.type_needle_v.trim_end_matches('s')
        } else {
            &row.type_needle_v
        };
        let asked = [("kind", kind), ("query", row.query().unwrap_or_default())];
        Ok(Entry {
            row: *at,
            source: self.table.source(*at),
            depth: None,
            instruction: self.wording.instruction(&asked[..1])?,
            context: row.context.clone(),
            can_cut: true,
            question: self.wording.question(&asked)?,
            cue: self.wording.cue(&asked)?,
            gold: Gold::Answers {
                answers: row.answers().to_vec(),
            },
            max_new_tokens: self.max_new_tokens,
            is_chat: false,
            template: Some(self.wording.id.clone()),
        })
    }
}
