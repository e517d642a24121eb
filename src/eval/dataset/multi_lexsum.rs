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

/// A case with a summary.
struct Case {
    at: usize,
    text: String,
    summary: String,
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
        let cases = long_ones(&test, length / 2, desk.tokenizer)?;
        let summaries: Vec<String> = shown
            .rows
            .into_iter()
            .filter_map(|row| row.row.summary)
            .collect();
        let chosen = if cases.len() > NUM_ITEMS {
            first_permuted(cases.len(), NUM_ITEMS, SEED)
        } else {
            (0..cases.len()).collect()
        };
        Ok(Box::new(Cases {
            sources: cases.iter().map(|case| test.source(case.at)).collect(),
            keys: summaries.iter().cloned().map(Key::Text).collect(),
            wording: desk.library.wording(&forms::MULTI_LEXSUM)?,
            demos_path: files[1].clone(),
            tokenizer: desk.tokenizer,
            cases,
            chosen,
            summaries,
            length,
        }))
    }
}

/// The cases with a summary whose documents have more than `min_tokens`.
fn long_ones(
    test: &Table<Row>,
    min_tokens: usize,
    tokenizer: &Tokenizer,
) -> Result<Vec<Case>, EvalError> {
    let mut cases = Vec::new();
    for Located { at, row } in &test.rows {
        let Some(summary) = &row.summary else {
            continue;
        };
        let text = row.sources.join(BREAK);
        if tokenizer.encode(&text)?.len() > min_tokens {
            cases.push(Case {
                at: *at,
                text,
                summary: summary.clone(),
            });
        }
    }
    if cases.is_empty() {
        return Err(EvalError::Files(FilesError::Format {
            path: test.path().to_owned(),
            reason: format!("has no case of more than {min_tokens} tokens with a summary"),
        }));
    }
    Ok(cases)
}

struct Cases<'a> {
    cases: Vec<Case>,
    sources: Vec<String>,
    chosen: Vec<usize>,
    summaries: Vec<String>,
    keys: Vec<Key>,
    demos_path: PathBuf,
    wording: Wording,
    tokenizer: &'a Tokenizer,
    length: usize,
}

impl Opened for Cases<'_> {
    fn depths(&self) -> Vec<Option<f64>> {
        vec![None; self.chosen.len()]
    }

    fn entry(&self, index: usize) -> Result<Entry, EvalError> {
        let (case, source) = (
            &self.cases[self.chosen[index]],
            &self.sources[self.chosen[index]],
        );
        let picked = pick(&self.demos_path, &self.keys, |_| true, of_text(source))?;
        let fields = picked
            .iter()
            .map(|row| vec![("answer", &*self.summaries[*row])]);
        let demos = self.wording.demos(fields)?;
        let max_tokens = room(self.length, OTHERS, MAX_NEW_TOKENS);
        let entry = Entry {
            row: case.at,
            source: source.clone(),
            depth: None,
            instruction: self.wording.instruction(&[("demos", &demos)])?,
            context: shortened(&case.text, max_tokens, self.tokenizer)?,
            can_cut: true,
            question: self.wording.question(&[])?,
            cue: self.wording.cue(&[])?,
            gold: Gold::answer(&case.summary),
            max_new_tokens: MAX_NEW_TOKENS,
            is_chat: true,
            template: None,
        };
        Ok(entry.in_words_of(&self.wording))
    }
}
