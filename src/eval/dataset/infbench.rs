//! HELMET's InfiniteBench: a whole book, and a question, a question with options, or a summary.

use super::documents::{room, shortened};
use super::tiers;
use super::{DataSet, Desk, NUM_DEMOS, NUM_ITEMS, Opened, Published, PublishedFile};
use crate::data::tokenizer::Tokenizer;
use crate::eval::choice::subset::{first_permuted, first_permuted_twice};
use crate::eval::error::EvalError;
use crate::eval::files::entry::Entry;
use crate::eval::files::error::FilesError;
use crate::eval::files::fit::SEED;
use crate::eval::files::forms;
use crate::eval::files::library::Library;
use crate::eval::files::rows::{Located, Table, one_or_many};
use crate::eval::files::wording::{Field, Form, Wording};
use crate::eval::gold::Gold;
use crate::eval::metric::registry::Metric;
use crate::eval::reading::Reading;
use crate::eval::scoring::Scoring;
use crate::eval::task::{Card, Category, Needs};
use crate::eval::text::choice::LETTERS;
use std::path::PathBuf;

/// Tokens of a prompt beside its book and answer.
const OTHERS: usize = 200;

/// One of the data sets.
#[derive(Debug, Clone, Copy)]
pub struct InfBench {
    card: Card,
    file: &'static str,
    form: Form,
    has_options: bool,
    max_new_tokens: usize,
}

/// Questions.
pub const QA: InfBench = InfBench {
    card: Card {
        name: "infbench_qa_eng",
        about: "HELMET's InfiniteBench questions: the answer to a question about a book",
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
        proxy: false,
    },
    file: "longbook_qa_eng.jsonl",
    form: forms::INFBENCH_QA,
    has_options: false,
    max_new_tokens: 10,
};

/// Questions with options.
pub const CHOICE: InfBench = InfBench {
    card: Card {
        name: "infbench_choice_eng",
        about: "HELMET's InfiniteBench choices: the right one of four options about a book",
        metric: Metric::ExactMatch,
        also: &[Metric::SubstringExactMatch],
        chance: 0.25,
        ..QA.card
    },
    file: "longbook_choice_eng.jsonl",
    form: forms::INFBENCH_CHOICE,
    has_options: true,
    ..QA
};

/// Summaries.
pub const SUM: InfBench = InfBench {
    card: Card {
        name: "infbench_sum_eng",
        about: "HELMET's InfiniteBench summaries: the summary of a book",
        category: Category::Summarisation,
        metric: Metric::RougeLsum,
        also: &[Metric::RougeLsumRecall, Metric::RougeL],
        proxy: true,
        ..QA.card
    },
    file: "longbook_sum_eng.jsonl",
    form: forms::INFBENCH_SUM,
    has_options: false,
    max_new_tokens: 1200,
};

#[derive(Debug, Clone, serde::Deserialize)]
struct Row {
    context: String,
    #[serde(default)]
    input: String,
    #[serde(deserialize_with = "one_or_many")]
    answer: Vec<String>,
    #[serde(default)]
    options: Vec<String>,
}

impl Row {
    fn options(&self) -> String {
        let lines: Vec<String> = std::iter::zip(LETTERS, &self.options)
            .map(|(letter, option)| format!("{letter}. {option}"))
            .collect();
        lines.join("\n")
    }

    /// Letter and text of the right option.
    fn choice(&self) -> Option<(char, &str)> {
        let right = self.answer.first()?;
        let mut options = std::iter::zip(LETTERS, &self.options);
        let (letter, _) = options.find(|(_, option)| *option == right)?;
        Some((letter, right))
    }
}

impl DataSet for InfBench {
    fn card(&self) -> Card {
        self.card
    }

    fn files(&self, library: &Library, length: usize) -> Result<Vec<Vec<PathBuf>>, FilesError> {
        tiers::check(self.card.name, length)?;
        let folder = library.helmet(self.card.name)?.join("hub/infinitebench");
        Ok(vec![vec![folder.join(self.file)]])
    }

    fn published(&self, length: usize) -> Published {
        Published {
            name: format!(
                "{}_{}",
                self.card.name,
                room(length, OTHERS, self.max_new_tokens)
            ),
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
        let table = Table::<Row>::lines(&files[0])?;
        for Located { at, row } in &table.rows {
            if row.answer.is_empty() {
                return Err(table.flaw(*at, "`answer` holds no right answer").into());
            }
            if self.has_options && (row.options.len() != LETTERS.count() || row.choice().is_none())
            {
                let reason = "`options` are not four texts, one of which is the `answer`";
                return Err(table.flaw(*at, reason).into());
            }
        }
        let chosen = first_permuted_twice(table.rows.len(), NUM_ITEMS, SEED);
        if chosen.len() <= NUM_DEMOS {
            return Err(EvalError::Files(FilesError::Format {
                path: table.path().to_owned(),
                reason: format!(
                    "has {} rows: one is asked and {NUM_DEMOS} others are shown",
                    chosen.len()
                ),
            }));
        }
        Ok(Box::new(Books {
            of: *self,
            table: table.picked(&chosen),
            wording: desk.library.wording(&self.form)?,
            tokenizer: desk.tokenizer,
            length,
        }))
    }
}

struct Books<'a> {
    of: InfBench,
    table: Table<Row>,
    wording: Wording,
    tokenizer: &'a Tokenizer,
    length: usize,
}

impl Opened for Books<'_> {
    fn num_items(&self) -> usize {
        self.table.rows.len()
    }

    fn entry(&self, index: usize) -> Result<Entry, EvalError> {
        let Located { at, row } = &self.table.rows[index];
        let demos = self.demos(index)?;
        let options = row.options();
        let asked = Self::fields(row, &options, "");
        let max_tokens = room(self.length, OTHERS, self.of.max_new_tokens);
        let gold = match row.choice().filter(|_| self.of.has_options) {
            Some((letter, text)) => Gold::Choice {
                letter,
                text: text.to_owned(),
            },
            None => Gold::Answers {
                answers: row.answer.clone(),
            },
        };
        Ok(Entry {
            row: *at,
            source: self.table.source(*at),
            depth: None,
            instruction: self.wording.instruction(&[("demos", &demos)])?,
            context: shortened(&row.context, max_tokens, self.tokenizer)?,
            can_cut: true,
            question: self.wording.question(&asked)?,
            cue: self.wording.cue(&[])?,
            gold,
            max_new_tokens: self.of.max_new_tokens,
            is_chat: true,
            template: Some(self.wording.id.clone()),
        })
    }
}

impl Books<'_> {
    fn demos(&self, index: usize) -> Result<String, FilesError> {
        let others = (0..self.table.rows.len()).filter(|other| *other != index);
        let others: Vec<usize> = others.collect();
        let shown = first_permuted(others.len(), NUM_DEMOS, SEED);
        let rows: Vec<&Row> = shown
            .iter()
            .map(|other| &self.table.rows[others[*other]].row)
            .collect();
        let texts: Vec<(String, String)> = rows
            .iter()
            .map(|row| (row.options(), self.answer(row)))
            .collect();
        let demos = std::iter::zip(rows, &texts);
        self.wording
            .demos(demos.map(|(row, (options, answer))| Self::fields(row, options, answer)))
    }

    fn answer(&self, row: &Row) -> String {
        let letter = row.choice().filter(|_| self.of.has_options);
        letter.map_or_else(
            || row.answer[0].trim().to_owned(),
            |(letter, _)| letter.to_string(),
        )
    }

    /// What a wording may name of a row.
    fn fields<'t>(row: &'t Row, options: &'t str, answer: &'t str) -> Vec<Field<'t>> {
        vec![
            ("question", &row.input),
            ("options", options),
            ("answer", answer),
        ]
    }
}
