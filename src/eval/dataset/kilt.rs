//! Questions over passages, one of which answers: HELMET's Natural Questions, TriviaQA, HotpotQA and PopQA.

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
use crate::eval::files::rows::{Located, Table, one_or_many};
use crate::eval::files::wording::{Field, Wording};
use crate::eval::gold::Gold;
use crate::eval::metric::registry::Metric;
use crate::eval::reading::Reading;
use crate::eval::scoring::Scoring;
use crate::eval::task::{Card, Category, Needs};
use std::path::PathBuf;

/// Passages at each length.
const NUM_PASSAGES: Tiers = [20, 50, 105, 220, 440, 1000];

/// PopQA's entities are rare: the logarithm of how often they are looked up is below this.
const MAX_POPULARITY: f64 = 3.0;

/// One of the data sets.
#[derive(Debug, Clone, Copy)]
pub struct Kilt {
    name: &'static str,
    about: &'static str,
    /// File of the items up to the number of passages.
    test: &'static str,
    /// File of the demonstrations.
    demos: &'static str,
    num_depths: usize,
    /// Whether there is one file for both, of which only rare entities are used.
    is_popqa: bool,
}

/// Natural Questions.
pub const NQ: Kilt = Kilt {
    name: "kilt_nq",
    about: "HELMET's Natural Questions: the answer to a question, among Wikipedia passages",
    test: "nq-dev-multikilt_1000",
    demos: "nq-train-multikilt_1000",
    num_depths: 6,
    is_popqa: false,
};

/// TriviaQA.
pub const TRIVIAQA: Kilt = Kilt {
    name: "kilt_triviaqa",
    about: "HELMET's TriviaQA: the answer to a question, among Wikipedia passages",
    test: "triviaqa-dev-multikilt_1000",
    demos: "triviaqa-train-multikilt_1000",
    ..NQ
};

/// HotpotQA.
pub const HOTPOTQA: Kilt = Kilt {
    name: "kilt_hotpotqa",
    about: "HELMET's HotpotQA: the answer that follows from two Wikipedia passages among others",
    test: "hotpotqa-dev-multikilt_1000",
    demos: "hotpotqa-train-multikilt_1000",
    num_depths: 3,
    is_popqa: false,
};

/// PopQA of rare entities.
pub const POPQA: Kilt = Kilt {
    name: "kilt_popqa_3",
    about: "HELMET's PopQA of rare entities: the answer to a question, among Wikipedia passages",
    test: "popqa_test_1000",
    demos: "popqa_test_1000",
    num_depths: 6,
    is_popqa: true,
};

#[derive(Debug, Clone, serde::Deserialize)]
struct Row {
    #[serde(default, deserialize_with = "some_key")]
    id: Option<Key>,
    question: String,
    #[serde(deserialize_with = "one_or_many")]
    answers: Vec<String>,
    ctxs: Vec<Passage>,
    depth: Option<f64>,
    s_pop: Option<f64>,
}

#[derive(Debug, Clone, serde::Deserialize)]
struct Passage {
    title: String,
    text: String,
}

fn some_key<'a, D: serde::Deserializer<'a>>(deserializer: D) -> Result<Option<Key>, D::Error> {
    key(deserializer).map(Some)
}

impl Row {
    fn key(&self) -> Key {
        let id = self.id.clone();
        id.unwrap_or_else(|| Key::Text(self.question.clone()))
    }

    fn is_rare(&self) -> bool {
        self.s_pop
            .is_some_and(|count| count.log10() < MAX_POPULARITY)
    }

    fn passages(&self, wording: &Wording) -> Result<String, FilesError> {
        let passages = self.ctxs.iter();
        wording.items(
            passages.map(|passage| vec![("title", &*passage.title), ("text", &*passage.text)]),
        )
    }
}

impl DataSet for Kilt {
    fn card(&self) -> Card {
        Card {
            name: self.name,
            about: self.about,
            category: Category::Rag,
            metric: Metric::SubstringExactMatch,
            also: &[Metric::ExactMatch, Metric::F1],
            headline: Scoring::Compat,
            reading: Reading::ANSWER,
            chance: 0.0,
            needs: Needs::Helmet,
            proxy: false,
        }
    }

    fn files(&self, library: &Library, length: usize) -> Result<Vec<Vec<PathBuf>>, FilesError> {
        let num_passages = tiers::at(self.name, &NUM_PASSAGES, length)?;
        let folder = library.helmet(self.name)?.join("kilt");
        let file = |stem: &str, num: usize| {
            vec![folder.join(format!("{stem}_k{num}_dep{}.jsonl", self.num_depths))]
        };
        Ok(vec![file(self.test, num_passages), file(self.demos, 3)])
    }

    fn published(&self, _length: usize) -> Published {
        Published {
            name: self.name.to_owned(),
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
        let read = |path: &PathBuf| {
            let table = Table::<Row>::lines(path)?;
            table.filtered(|table, Located { at, row }| {
                if self.is_popqa && row.s_pop.is_none() {
                    return Err(table.flaw(*at, "missing field `s_pop`"));
                }
                if row.answers.is_empty() {
                    return Err(table.flaw(*at, "`answers` holds no right answer"));
                }
                Ok(!self.is_popqa || row.is_rare())
            })
        };
        let (test, demos) = (read(&files[0])?, read(&files[1])?);
        let chosen = rows_of_sampled_keys(&test.map(Row::key), NUM_ITEMS, u64::from(SEED));
        let test = test.picked(&chosen);
        Ok(Box::new(Questions {
            demo_keys: demos.map(Row::key),
            is_popqa: self.is_popqa,
            wording: desk.library.wording(&forms::KILT)?,
            test,
            demos,
        }))
    }
}

/// The files of one length.
struct Questions {
    test: Table<Row>,
    demos: Table<Row>,
    demo_keys: Vec<Key>,
    is_popqa: bool,
    wording: Wording,
}

impl Opened for Questions {
    fn num_items(&self) -> usize {
        self.test.rows.len()
    }

    fn depth(&self, index: usize) -> Option<f64> {
        self.test.rows[index].row.depth
    }

    fn entry(&self, index: usize) -> Result<Entry, EvalError> {
        let Located { at, row } = &self.test.rows[index];
        let demos = self.demos(&row.key())?;
        let question = [("question", &*row.question)];
        Ok(Entry {
            row: *at,
            source: self.test.source(*at),
            depth: row.depth,
            instruction: self.wording.instruction(&[("demos", &demos)])?,
            context: row.passages(&self.wording)?,
            can_cut: true,
            question: self.wording.question(&question)?,
            cue: self.wording.cue(&[])?,
            gold: Gold::Answers {
                answers: row.answers.clone(),
            },
            max_new_tokens: 20,
            is_chat: false,
            template: Some(self.wording.id.clone()),
        })
    }
}

impl Questions {
    fn demos(&self, key: &Key) -> Result<String, FilesError> {
        let may_show = |other: &Key| !self.is_popqa || other != key;
        let picked = pick(
            self.demos.path(),
            &self.demo_keys,
            may_show,
            of_text(&key.to_string()),
        )?;
        let rows: Vec<&Row> = picked
            .iter()
            .map(|row| &self.demos.rows[*row].row)
            .collect();
        let documents = rows
            .iter()
            .map(|row| row.passages(&self.wording))
            .collect::<Result<Vec<String>, _>>()?;
        let fields = std::iter::zip(&rows, &documents).map(|(row, documents)| {
            let field: Vec<Field<'_>> = vec![
                ("documents", documents),
                ("question", &row.question),
                ("answer", &row.answers[0]),
            ];
            field
        });
        self.wording.demos(fields)
    }
}
