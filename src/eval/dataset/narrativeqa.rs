//! HELMET's NarrativeQA: questions about novels and scripts that are longer than the prompt.
//!
//! # Decisions
//! HELMET asks about documents of more than 131,072 Llama-2 tokens; here it is more tokens of the model's own than the length
//! asked for. It draws demonstrations without a seed; here an item's place in its file is the seed.

use super::demos::pick;
use super::documents::{room, shortened};
use super::tiers;
use super::{DataSet, Desk, NUM_DEMOS, NUM_ITEMS, Opened, Published, PublishedFile};
use crate::data::tokenizer::Tokenizer;
use crate::eval::choice::key::Key;
use crate::eval::choice::seed::of_text;
use crate::eval::choice::subset::first_permuted;
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
use std::collections::HashMap;
use std::path::PathBuf;

const NAME: &str = "narrativeqa";
const MAX_NEW_TOKENS: usize = 100;

/// Tokens of a prompt beside its document and answer.
const OTHERS: usize = 200;

/// The data set.
#[derive(Debug, Clone, Copy)]
pub struct NarrativeQa;

#[derive(Debug, Clone, serde::Deserialize)]
struct Text {
    text: String,
}

#[derive(Debug, Clone, serde::Deserialize)]
struct Row {
    document: Text,
    question: Text,
    answers: Vec<Text>,
}

/// A question to be shown, without its story.
#[derive(Debug, Clone, serde::Deserialize)]
struct Shown {
    question: Text,
    answers: Vec<Text>,
}

impl DataSet for NarrativeQa {
    fn card(&self) -> Card {
        Card {
            name: NAME,
            about: "HELMET's NarrativeQA: the answer to a question about a novel or a script",
            category: Category::LongQa,
            metric: Metric::RougeL,
            also: &[
                Metric::RougeLRecall,
                Metric::F1,
                Metric::SubstringExactMatch,
            ],
            headline: Scoring::Compat,
            reading: Reading::ANSWER,
            chance: 0.0,
            needs: Needs::Helmet,
            proxy: true,
        }
    }

    fn files(&self, library: &Library, length: usize) -> Result<Vec<Vec<PathBuf>>, FilesError> {
        tiers::check(NAME, length)?;
        let folder = library.helmet(NAME)?.join("hub/narrativeqa");
        Ok(["test.jsonl", "train.jsonl"]
            .map(|name| vec![folder.join(name)])
            .to_vec())
    }

    fn published(&self, length: usize) -> Published {
        Published {
            name: format!("{NAME}_{}", room(length, OTHERS, MAX_NEW_TOKENS)),
            file: PublishedFile::Hub,
            shots: NUM_DEMOS,
        }
    }

    fn open<'a>(
        &self,
        files: &[PathBuf],
        desk: &Desk<'a>,
        length: usize,
    ) -> Result<Box<dyn Opened + 'a>, EvalError> {
        let (test, demos) = (
            Table::<Row>::lines(&files[0])?,
            Table::<Shown>::lines(&files[1])?,
        );
        let unanswered = |answers: &[Text]| answers.is_empty();
        if let Some(none) = test.rows.iter().find(|row| unanswered(&row.row.answers)) {
            return Err(test.flaw(none.at, "`answers` holds no right answer").into());
        }
        if let Some(none) = demos.rows.iter().find(|row| unanswered(&row.row.answers)) {
            return Err(demos
                .flaw(none.at, "`answers` holds no right answer")
                .into());
        }
        let chosen = long_ones(&test, length, desk.tokenizer)?;
        Ok(Box::new(Stories {
            test: test.picked(&chosen),
            wording: desk.library.wording(&forms::NARRATIVEQA)?,
            demo_keys: demos.map(|row| Key::Text(row.question.text.clone())),
            tokenizer: desk.tokenizer,
            length,
            demos,
        }))
    }
}

/// The first rows in random order whose documents have more tokens than `length`.
fn long_ones(
    test: &Table<Row>,
    length: usize,
    tokenizer: &Tokenizer,
) -> Result<Vec<usize>, EvalError> {
    let mut lens: HashMap<&str, usize> = HashMap::new();
    let mut chosen = Vec::new();
    for row in first_permuted(test.rows.len(), test.rows.len(), SEED) {
        let text = test.rows[row].row.document.text.as_str();
        let len = match lens.get(text) {
            Some(len) => *len,
            None => tokenizer.encode(text)?.len(),
        };
        lens.insert(text, len);
        if len > length {
            chosen.push(row);
        }
        if chosen.len() == NUM_ITEMS {
            break;
        }
    }
    if chosen.is_empty() {
        return Err(EvalError::Files(FilesError::Format {
            path: test.path().to_owned(),
            reason: format!("has no document of more than {length} tokens"),
        }));
    }
    Ok(chosen)
}

struct Stories<'a> {
    test: Table<Row>,
    demos: Table<Shown>,
    demo_keys: Vec<Key>,
    wording: Wording,
    tokenizer: &'a Tokenizer,
    length: usize,
}

impl Opened for Stories<'_> {
    fn num_items(&self) -> usize {
        self.test.rows.len()
    }

    fn entry(&self, index: usize) -> Result<Entry, EvalError> {
        let Located { at, row } = &self.test.rows[index];
        let source = self.test.source(*at);
        let picked = pick(
            self.demos.path(),
            &self.demo_keys,
            |_| true,
            of_text(&source),
        )?;
        let fields = picked.iter().map(|demo| {
            let shown = &self.demos.rows[*demo].row;
            let fields: Vec<Field<'_>> = vec![
                ("question", &shown.question.text),
                ("answer", &shown.answers[0].text),
            ];
            fields
        });
        let demos = self.wording.demos(fields)?;
        let max_tokens = room(self.length, OTHERS, MAX_NEW_TOKENS);
        Ok(Entry {
            row: *at,
            source,
            depth: None,
            instruction: self.wording.instruction(&[("demos", &demos)])?,
            context: shortened(&row.document.text, max_tokens, self.tokenizer)?,
            can_cut: true,
            question: self.wording.question(&[("question", &row.question.text)])?,
            cue: self.wording.cue(&[])?,
            gold: Gold::Answers {
                answers: row
                    .answers
                    .iter()
                    .map(|answer| answer.text.clone())
                    .collect(),
            },
            max_new_tokens: MAX_NEW_TOKENS,
            is_chat: true,
            template: Some(self.wording.id.clone()),
        })
    }
}
