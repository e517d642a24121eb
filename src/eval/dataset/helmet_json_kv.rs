//! HELMET's JSON key-value task: the value of one key of an object of UUIDs.

use super::tiers::{self, Tiers};
use super::{DataSet, Desk, NUM_DEMOS, NUM_ITEMS, Opened, Published, PublishedFile};
use crate::eval::choice::subset::first_permuted;
use crate::eval::error::EvalError;
use crate::eval::files::entry::Entry;
use crate::eval::files::error::FilesError;
use crate::eval::files::fit::SEED;
use crate::eval::files::forms;
use crate::eval::files::library::Library;
use crate::eval::files::rows::{Located, Table, one_or_many};
use crate::eval::files::wording::Wording;
use crate::eval::gold::Gold;
use crate::eval::metric::registry::Metric;
use crate::eval::reading::Reading;
use crate::eval::scoring::Scoring;
use crate::eval::task::{Card, Category, Needs};
use std::path::PathBuf;

const NAME: &str = "helmet_json_kv";

/// Pairs at each length.
const NUM_PAIRS: Tiers = [50, 105, 220, 440, 900, 1800];

/// The data set.
#[derive(Debug, Clone, Copy)]
pub struct HelmetJsonKv;

#[derive(Debug, Clone, serde::Deserialize)]
struct Row {
    context: String,
    demos: Vec<(String, String)>,
    question: String,
    #[serde(deserialize_with = "one_or_many")]
    answer: Vec<String>,
    depth: Option<f64>,
}

impl DataSet for HelmetJsonKv {
    fn card(&self) -> Card {
        Card {
            name: NAME,
            about: "HELMET's JSON key-value task: the value of one key of an object of UUIDs, after two examples",
            category: Category::Recall,
            metric: Metric::SubstringExactMatch,
            also: &[Metric::ExactMatch],
            headline: Scoring::Compat,
            reading: Reading::Either {
                prefix: "corresponding value:",
            },
            chance: 0.0,
            needs: Needs::Helmet,
            proxy: false,
        }
    }

    fn files(&self, library: &Library, length: usize) -> Result<Vec<Vec<PathBuf>>, FilesError> {
        let num_pairs = tiers::at(NAME, &NUM_PAIRS, length)?;
        let name = format!("json_kv/test_k{num_pairs}_dep6.jsonl");
        Ok(vec![vec![library.helmet(NAME)?.join(name)]])
    }

    fn published(&self, _length: usize) -> Published {
        Published {
            name: "json_kv".to_owned(),
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
            if row.demos.len() < NUM_DEMOS || row.answer.is_empty() {
                let reason = format!(
                    "`demos` or `answer` is too short: {NUM_DEMOS} demonstrations are shown"
                );
                return Err(table.flaw(*at, reason).into());
            }
        }
        let chosen = first_permuted(table.rows.len(), NUM_ITEMS, SEED);
        Ok(Box::new(Objects {
            table: table.picked(&chosen),
            wording: desk.library.wording(&forms::JSON_KV)?,
        }))
    }
}

struct Objects {
    table: Table<Row>,
    wording: Wording,
}

impl Opened for Objects {
    fn num_items(&self) -> usize {
        self.table.rows.len()
    }

    fn depth(&self, index: usize) -> Option<f64> {
        self.table.rows[index].row.depth
    }

    fn entry(&self, index: usize) -> Result<Entry, EvalError> {
        let Located { at, row } = &self.table.rows[index];
        let demos = row.demos.iter().take(NUM_DEMOS);
        let demos = demos.map(|(key, value)| vec![("key", &**key), ("value", &**value)]);
        let demos = self.wording.demos(demos)?;
        let asked = [("demos", &*demos), ("key", &*row.question)];
        Ok(Entry {
            row: *at,
            source: self.table.source(*at),
            depth: row.depth,
            instruction: self.wording.instruction(&[])?,
            context: row.context.clone(),
            can_cut: true,
            question: self.wording.question(&asked)?,
            cue: self.wording.cue(&[])?,
            gold: Gold::Answers {
                answers: row.answer.clone(),
            },
            max_new_tokens: 100,
            is_chat: false,
            template: Some(self.wording.id.clone()),
        })
    }
}
