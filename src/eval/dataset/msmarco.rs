//! HELMET's MS MARCO: passages to be ranked by how well they answer a query.

use super::demos::{key, pick};
use super::tiers::{self, Tiers};
use super::{DataSet, Desk, NUM_DEMOS, NUM_ITEMS, Opened, Published, PublishedFile};
use crate::eval::choice::key::Key;
use crate::eval::choice::seed::of_text;
use crate::eval::choice::subset::rows_of_sampled_keys;
use crate::eval::error::EvalError;
use crate::eval::files::entry::Entry;
use crate::eval::files::error::FilesError;
use crate::eval::files::fit::SEED;
use crate::eval::files::forms;
use crate::eval::files::library::Library;
use crate::eval::files::rows::{Located, Table};
use crate::eval::files::wording::{Field, Wording};
use crate::eval::gold::Gold;
use crate::eval::metric::registry::Metric;
use crate::eval::reading::Reading;
use crate::eval::scoring::Scoring;
use crate::eval::task::{Card, Category, Needs};
use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::path::PathBuf;

const NAME: &str = "msmarco_rerank_psg";

/// Passages at each length.
const NUM_PASSAGES: Tiers = [14, 50, 130, 285, 600, 1000];

/// Passages of a demonstration.
const NUM_SHOWN: usize = 10;

/// The data set.
#[derive(Debug, Clone, Copy)]
pub struct MsMarco;

#[derive(Debug, Clone, serde::Deserialize)]
struct Row {
    #[serde(deserialize_with = "key")]
    qid: Key,
    query: String,
    ctxs: Vec<Passage>,
    depth: Option<f64>,
}

#[derive(Debug, Clone, serde::Deserialize)]
struct Passage {
    #[serde(deserialize_with = "key")]
    id: Key,
    title: Option<String>,
    text: String,
    label: u32,
}

impl Row {
    fn passages(&self, wording: &Wording) -> Result<String, FilesError> {
        let fields: Vec<(String, String, &str)> = self
            .ctxs
            .iter()
            .map(|passage| {
                let heading = match &passage.title {
                    Some(title) => format!("Document (Title: {title})"),
                    None => "Document".to_owned(),
                };
                (passage.id.to_string(), heading, &*passage.text)
            })
            .collect();
        let fields = fields.iter();
        wording.items(fields.map(|(id, heading, text)| {
            vec![("id", &**id), ("heading", &**heading), ("text", *text)]
        }))
    }

    /// Ids by falling relevance, of the same relevance in their order.
    fn ranking(&self) -> String {
        let mut passages: Vec<&Passage> = self.ctxs.iter().collect();
        passages.sort_by_key(|passage| Reverse(passage.label));
        let ids: Vec<String> = passages
            .iter()
            .map(|passage| passage.id.to_string())
            .collect();
        ids.join(" > ")
    }
}

impl DataSet for MsMarco {
    fn card(&self) -> Card {
        Card {
            name: NAME,
            about: "HELMET's MS MARCO: the ids of passages in the order of how well they answer a query",
            category: Category::Rerank,
            metric: Metric::Ndcg,
            also: &[],
            headline: Scoring::Compat,
            reading: Reading::Whole,
            chance: 0.0,
            needs: Needs::Helmet,
            proxy: false,
        }
    }

    fn files(&self, library: &Library, length: usize) -> Result<Vec<Vec<PathBuf>>, FilesError> {
        let num_passages = tiers::at(NAME, &NUM_PASSAGES, length)?;
        let folder = library.helmet(NAME)?.join("msmarco");
        let file = |num: usize| vec![folder.join(format!("test_reranking_data_k{num}_dep3.jsonl"))];
        Ok(vec![file(num_passages), file(NUM_SHOWN)])
    }

    fn published(&self, _length: usize) -> Published {
        Published {
            name: NAME.to_owned(),
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
        let (test, demos) = (
            Table::<Row>::lines(&files[0])?,
            Table::<Row>::lines(&files[1])?,
        );
        if let Some(none) = test.rows.iter().find(|row| row.row.ctxs.is_empty()) {
            return Err(test.flaw(none.at, "`ctxs` holds no passage").into());
        }
        let keys = test.map(|row| row.qid.clone());
        let chosen = rows_of_sampled_keys(&keys, NUM_ITEMS, u64::from(SEED));
        let test = test.picked(&chosen);
        let asked = || test.map(|row| row.qid.clone()).into_iter().collect();
        Ok(Box::new(Queries {
            demo_keys: demos.map(|row| row.qid.clone()),
            // As in HELMET: where there are plenty, no query of any item is shown.
            asked: (demos.rows.len() > 2 * chosen.len()).then(asked),
            wording: desk.library.wording(&forms::MSMARCO)?,
            test,
            demos,
        }))
    }
}

struct Queries {
    test: Table<Row>,
    demos: Table<Row>,
    demo_keys: Vec<Key>,
    /// Queries that are never shown, where that is more than the item's own.
    asked: Option<BTreeSet<Key>>,
    wording: Wording,
}

impl Opened for Queries {
    fn num_items(&self) -> usize {
        self.test.rows.len()
    }

    fn depth(&self, index: usize) -> Option<f64> {
        self.test.rows[index].row.depth
    }

    fn entry(&self, index: usize) -> Result<Entry, EvalError> {
        let Located { at, row } = &self.test.rows[index];
        let demos = self.demos(&row.qid)?;
        let grades = row.ctxs.iter();
        Ok(Entry {
            row: *at,
            source: self.test.source(*at),
            depth: row.depth,
            instruction: self.wording.instruction(&[("demos", &demos)])?,
            context: row.passages(&self.wording)?,
            can_cut: true,
            question: self.wording.question(&[("query", &row.query)])?,
            cue: self.wording.cue(&[])?,
            gold: Gold::Grades {
                grades: grades
                    .map(|passage| (passage.id.to_string(), passage.label))
                    .collect(),
            },
            max_new_tokens: 200,
            is_chat: false,
            template: Some(self.wording.id.clone()),
        })
    }
}

impl Queries {
    fn demos(&self, qid: &Key) -> Result<String, FilesError> {
        let may_show = |other: &Key| match &self.asked {
            Some(asked) => !asked.contains(other),
            None => other != qid,
        };
        let seed = of_text(&qid.to_string());
        let picked = pick(self.demos.path(), &self.demo_keys, may_show, seed)?;
        let rows: Vec<&Row> = picked
            .iter()
            .map(|row| &self.demos.rows[*row].row)
            .collect();
        let texts = rows
            .iter()
            .map(|row| Ok((row.passages(&self.wording)?, row.ranking())))
            .collect::<Result<Vec<_>, FilesError>>()?;
        let fields = std::iter::zip(&rows, &texts).map(|(row, (documents, ranking))| {
            let fields: Vec<Field<'_>> = vec![
                ("documents", documents),
                ("query", &row.query),
                ("ranking", ranking),
            ];
            fields
        });
        self.wording.demos(fields)
    }
}
