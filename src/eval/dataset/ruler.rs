//! RULER's thirteen tasks, as its scripts write them or as kvpress exports them: whole prompts, in the words of the files.

use super::{DataSet, Desk, Opened, Published, PublishedFile};
use crate::config::eval_files::Overflow;
use crate::eval::error::EvalError;
use crate::eval::files::entry::Entry;
use crate::eval::files::error::FilesError;
use crate::eval::files::library::Library;
use crate::eval::files::rows::{Located, Table, one_or_many};
use crate::eval::gold::Gold;
use crate::eval::metric::registry::Metric;
use crate::eval::reading::Reading;
use crate::eval::scoring::Scoring;
use crate::eval::task::{Card, Category, Needs};
use std::path::PathBuf;

/// What comes before and behind the passages of a question.
const INSTRUCTION: &str = "Answer the question based on the given documents";

/// One of the tasks.
#[derive(Debug, Clone, Copy)]
pub struct Ruler {
    card: Card,
    /// RULER's name of it.
    folder: &'static str,
    is_question: bool,
    max_new_tokens: usize,
}

const NEEDLES: Ruler = Ruler {
    card: Card {
        name: "ruler_niah_single_1",
        about: "RULER's file of one needle among lines that all say the same",
        category: Category::Recall,
        metric: Metric::RulerRecall,
        also: &[Metric::RulerAny],
        headline: Scoring::Compat,
        reading: Reading::Whole,
        chance: 0.0,
        needs: Needs::Ruler,
        proxy: false,
    },
    folder: "niah_single_1",
    is_question: false,
    max_new_tokens: 128,
};

const fn needles(name: &'static str, folder: &'static str, about: &'static str) -> Ruler {
    Ruler {
        card: Card {
            name,
            about,
            ..NEEDLES.card
        },
        folder,
        ..NEEDLES
    }
}

const fn questions(name: &'static str, folder: &'static str, about: &'static str) -> Ruler {
    let needles = needles(name, folder, about);
    Ruler {
        card: Card {
            category: Category::Rag,
            metric: Metric::RulerAny,
            also: &[Metric::RulerRecall],
            ..needles.card
        },
        is_question: true,
        max_new_tokens: 32,
        ..needles
    }
}

const fn other(task: Ruler, category: Category, max_new_tokens: usize) -> Ruler {
    Ruler {
        card: Card {
            category,
            ..task.card
        },
        max_new_tokens,
        ..task
    }
}

/// All tasks, in RULER's order.
#[rustfmt::skip]
pub static ALL: [Ruler; 13] = [
    NEEDLES,
    needles("ruler_niah_single_2", "niah_single_2", "RULER's file of one needle in essays"),
    needles("ruler_niah_single_3", "niah_single_3", "RULER's file of one needle with a UUID in essays"),
    needles("ruler_niah_multikey_1", "niah_multikey_1", "RULER's file of one needle among others in essays"),
    needles("ruler_niah_multikey_2", "niah_multikey_2", "RULER's file of one needle, where every line is one"),
    needles("ruler_niah_multikey_3", "niah_multikey_3", "RULER's file of one needle with UUIDs, where every line is one"),
    needles("ruler_niah_multivalue", "niah_multivalue", "RULER's file of four values of one key in essays"),
    needles("ruler_niah_multiquery", "niah_multiquery", "RULER's file of the values of four keys in essays"),
    other(needles("ruler_vt", "vt", "RULER's file of names that stand for one number"), Category::Tracking, 30),
    other(needles("ruler_cwe", "cwe", "RULER's file of the ten most common words"), Category::Counting, 120),
    other(needles("ruler_fwe", "fwe", "RULER's file of the three most frequent coded words"), Category::Counting, 50),
    questions("ruler_qa_1", "qa_1", "RULER's file of SQuAD questions over passages"),
    questions("ruler_qa_2", "qa_2", "RULER's file of HotpotQA questions over passages"),
];

/// A row of RULER's own files, or of kvpress's data set.
#[derive(Debug, Clone, serde::Deserialize)]
struct Row {
    input: Option<String>,
    context: Option<String>,
    question: Option<String>,
    #[serde(default)]
    answer_prefix: String,
    #[serde(default, deserialize_with = "one_or_many")]
    outputs: Vec<String>,
    /// What kvpress calls them.
    #[serde(default, deserialize_with = "one_or_many")]
    answer: Vec<String>,
    task: Option<String>,
    max_new_tokens: Option<usize>,
}

impl Row {
    fn answers(&self) -> &[String] {
        if self.outputs.is_empty() {
            &self.answer
        } else {
            &self.outputs
        }
    }

    /// Context and question of either form.
    fn texts(&self, is_question: bool) -> Option<(&str, &str)> {
        // RULER's rows have a context as well, in which the prompt's first words are missing.
        if let Some(input) = &self.input {
            let last_line = || input.trim_end().rfind('\n').map(|at| at + 1);
            let repeated = || input.rfind(INSTRUCTION).filter(|at| *at > 0);
            let start = is_question.then(repeated).flatten().or_else(last_line);
            return Some(input.split_at(start.unwrap_or(0)));
        }
        Some((self.context.as_deref()?, self.question.as_deref()?))
    }
}

impl DataSet for Ruler {
    fn card(&self) -> Card {
        self.card
    }

    fn files(&self, library: &Library, length: usize) -> Result<Vec<Vec<PathBuf>>, FilesError> {
        let (root, task) = (library.ruler(self.card.name)?, self.folder);
        let names = [
            format!("{task}/validation_{length}.jsonl"),
            format!("{length}/data/{task}/validation.jsonl"),
            format!("{length}/{task}/validation.jsonl"),
            format!("{length}/{task}.jsonl"),
            format!("{length}.jsonl"),
        ];
        Ok(vec![names.iter().map(|name| root.join(name)).collect()])
    }

    fn published(&self, _length: usize) -> Published {
        Published {
            name: self.card.name.to_owned(),
            file: PublishedFile::Named,
            shots: 0,
        }
    }

    fn open<'a>(
        &self,
        files: &[PathBuf],
        _desk: &Desk<'a>,
        _length: usize,
    ) -> Result<Box<dyn Opened + 'a>, EvalError> {
        let table = Table::<Row>::lines(&files[0])?.filtered(|table, Located { at, row }| {
            if row.texts(self.is_question).is_none() {
                return Err(table.flaw(*at, "neither `input`, nor `context` and `question`"));
            }
            if row.answers().is_empty() {
                return Err(table.flaw(*at, "neither `outputs` nor `answer` holds a right answer"));
            }
            Ok(row.task.as_deref().is_none_or(|task| task == self.folder))
        })?;
        if table.rows.is_empty() {
            return Err(EvalError::Files(FilesError::Format {
                path: files[0].clone(),
                reason: format!("holds no row whose `task` is `{}`", self.folder),
            }));
        }
        Ok(Box::new(Prompts { of: *self, table }))
    }

    fn overflow(&self) -> Overflow {
        Overflow::Error
    }
}

struct Prompts {
    of: Ruler,
    table: Table<Row>,
}

impl Opened for Prompts {
    fn num_items(&self) -> usize {
        self.table.rows.len()
    }

    fn entry(&self, index: usize) -> Result<Entry, EvalError> {
        let Located { at, row } = &self.table.rows[index];
        let (context, question) = row.texts(self.of.is_question).unwrap_or_default();
        Ok(Entry {
            row: *at,
            source: self.table.source(*at),
            depth: None,
            instruction: String::new(),
            context: context.to_owned(),
            can_cut: true,
            question: question.to_owned(),
            cue: row.answer_prefix.clone(),
            gold: Gold::Answers {
                answers: row.answers().to_vec(),
            },
            max_new_tokens: row.max_new_tokens.unwrap_or(self.of.max_new_tokens),
            is_chat: false,
            template: None,
        })
    }
}
