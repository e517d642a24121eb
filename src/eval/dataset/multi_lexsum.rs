//! HELMET's Multi-LexSum: the documents of a lawsuit, to be summarised.
//!
//! # Decisions
//! HELMET asks about cases of more than half the length in Llama-2 tokens; here it is the model's own. Upstream demonstrations
//! are drawn without a seed; here an item's place in its file is the seed.

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
use crate::eval::files::wording::{BREAK, Wording};
use crate::eval::gold::Gold;
use crate::eval::metric::registry::Metric;
use crate::eval::reading::Reading;
use crate::eval::scoring::Scoring;
use crate::eval::task::{Card, Category, Needs};
use std::path::PathBuf;

const NAME: &str = "multi_lexsum";
const MAX_NEW_TOKENS: usize = 400;

/// Tokens of a prompt beside its documents and summary.
const OTHERS: usize = 300;

/// The data set.
#[derive(Debug, Clone, Copy)]
pub struct MultiLexSum;

#[derive(Debug, Clone, serde::Deserialize)]
struct Row {
    sources: Vec<String>,
    #[serde(rename = "summary/short")]
    summary: Option<String>,
}

/// A case to be shown, without its documents.
#[derive(Debug, Clone, serde::Deserialize)]
struct Shown {
    #[serde(rename = "summary/short")]
    summary: Option<String>,
}

impl Row {
    fn text(&self) -> String {
        self.sources.join(BREAK)
    }
}

impl DataSet for MultiLexSum {
    fn card(&self) -> Card {
        Card {
            name: NAME,
            about: "HELMET's Multi-LexSum: the summary of a lawsuit's documents",
            category: Category::Summarisation,
            metric: Metric::RougeLsum,
            also: &[Metric::RougeLsumRecall, Metric::RougeL],
            headline: Scoring::Compat,
            reading: Reading::Either { prefix: "Summary:" },
            chance: 0.0,
            needs: Needs::Helmet,
            proxy: true,
        }
    }

    fn files(&self, library: &Library, length: usize) -> Result<Vec<Vec<PathBuf>>, FilesError> {
        tiers::check(NAME, length)?;
        let folder = library.helmet(NAME)?.join("hub/multi_lexsum");
        Ok(["validation.jsonl", "train.jsonl"]
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
        let test = Table::<Row>::lines(&files[0])?;
        let shown = Table::<Shown>::lines(&files[1])?;
        let test = long_ones(test, length / 2, desk.tokenizer)?;
        let summaries = shown.rows.into_iter().filter_map(|row| row.row.summary);
        let summaries: Vec<String> = summaries.collect();
        let num_cases = test.rows.len();
        let test = if num_cases > NUM_ITEMS {
            test.picked(&first_permuted(num_cases, NUM_ITEMS, SEED))
        } else {
            test
        };
        Ok(Box::new(Cases {
            test,
            keys: summaries.iter().cloned().map(Key::Text).collect(),
            wording: desk.library.wording(&forms::MULTI_LEXSUM)?,
            demos_path: files[1].clone(),
            tokenizer: desk.tokenizer,
            summaries,
            length,
        }))
    }
}

/// The cases with a summary whose documents have more than `min_tokens`.
fn long_ones(
    test: Table<Row>,
    min_tokens: usize,
    tokenizer: &Tokenizer,
) -> Result<Table<Row>, EvalError> {
    let is_long = |_: &_, Located { row, .. }: &Located<Row>| -> Result<bool, EvalError> {
        Ok(row.summary.is_some() && tokenizer.encode(&row.text())?.len() > min_tokens)
    };
    let long = test.filtered(is_long)?;
    if long.rows.is_empty() {
        return Err(EvalError::Files(FilesError::Format {
            path: long.path().to_owned(),
            reason: format!("has no case of more than {min_tokens} tokens with a summary"),
        }));
    }
    Ok(long)
}

struct Cases<'a> {
    test: Table<Row>,
    summaries: Vec<String>,
    keys: Vec<Key>,
    demos_path: PathBuf,
    wording: Wording,
    tokenizer: &'a Tokenizer,
    length: usize,
}

impl Opened for Cases<'_> {
    fn num_items(&self) -> usize {
        self.test.rows.len()
    }

    fn entry(&self, index: usize) -> Result<Entry, EvalError> {
        let Located { at, row } = &self.test.rows[index];
        let source = self.test.source(*at);
        let picked = pick(&self.demos_path, &self.keys, |_| true, of_text(&source))?;
        let fields = picked
            .iter()
            .map(|row| vec![("answer", &*self.summaries[*row])]);
        let demos = self.wording.demos(fields)?;
        let max_tokens = room(self.length, OTHERS, MAX_NEW_TOKENS);
        Ok(Entry {
            row: *at,
            source,
            depth: None,
            instruction: self.wording.instruction(&[("demos", &demos)])?,
            context: shortened(&row.text(), max_tokens, self.tokenizer)?,
            can_cut: true,
            question: self.wording.question(&[])?,
            cue: self.wording.cue(&[])?,
            gold: Gold::answer(row.summary.clone().unwrap_or_default()),
            max_new_tokens: MAX_NEW_TOKENS,
            is_chat: true,
            template: Some(self.wording.id.clone()),
        })
    }
}
