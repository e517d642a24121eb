//! `copy_table`: a table fills the length, and all rows of one name are asked for.
//!
//! The table and the question are those of `data::generate::copy_table`; names are of the evaluation class, and each has
//! one to three rows at random places.
//!
//! # Decisions
//! - The depth of an item is that of the *first* row of the name asked for: the name whose first row stands nearest to the
//!   depth wanted. Its other rows stand behind it, so the answer spans distances; the needle's distance is that of the
//!   last row, the nearest thing that the answer is read from.
//! - Answers have one to three rows. The number of rows that fits depends on the answer, so rows of other names are added
//!   once the name asked for is known, until one more would not fit.

use super::{Card, Category, Generated, Needs};
use crate::data::generate::copy_table::{HEADER, MAX_ROWS_PER_NAME, Table};
use crate::data::generate::fact::KeyClass;
use crate::eval::document::Document;
use crate::eval::error::EvalError;
use crate::eval::gold::Gold;
use crate::eval::item::Item;
use crate::eval::material::Material;
use crate::eval::metric::registry::Metric;
use crate::eval::plan::{Place, depth_of};
use crate::eval::reading::Reading;
use crate::eval::scoring::Scoring;
use crate::eval::units::{Draft, Units};
use rand::Rng;
use std::collections::BTreeSet;

/// The task's name on the command line and in results.
const NAME: &str = "copy_table";

/// No tokenizer writes a row, four bars around two words, one word and a number, in fewer.
const MIN_ROW_TOKENS: usize = 6;

/// Most rows of a table: they take about four fifths of the names of the evaluation class.
const MAX_ROWS: usize = 10_000;

/// Fewest rows: at least two names.
const MIN_ROWS: usize = MAX_ROWS_PER_NAME + 1;

/// The task.
#[derive(Debug, Clone, Copy)]
pub struct CopyTable;

impl Generated for CopyTable {
    fn card(&self) -> Card {
        Card {
            name: NAME,
            about: "all rows of one name, one to three, of a table that fills the length",
            category: Category::Extraction,
            metric: Metric::RowF1,
            also: &[Metric::ExactTokens, Metric::TokenAccuracy],
            headline: Scoring::Strict,
            reading: Reading::Whole,
            // A row holds one of 215 words and one of 900 numbers; none is guessed.
            chance: 0.0,
            needs: Needs::Nothing,
            proxy: false,
        }
    }

    fn item(&self, material: &Material<'_>, place: &Place) -> Result<Item, EvalError> {
        let units = Units {
            task: NAME,
            name: "rows",
            min: MIN_ROWS,
            max: MAX_ROWS.min(MIN_ROWS + place.length / MIN_ROW_TOKENS),
        };
        let pool = Pool::draw(place, units.max);
        let draft = |num| pool.document(&pool.rows[..num], None, place);
        let num_rows = units.fill(place, material, draft)?;
        pool.filled(num_rows, place, material)?
            .at(place, material.tokenizer())
    }
}

/// A row that may become part of a table.
#[derive(Debug, Clone)]
struct Row {
    /// Its rank among the rows of any table: random, so that rows of one name are scattered.
    rank: u64,
    /// Index of its name.
    name: usize,
    line: String,
}

/// More rows than fit, those of one name together: the first `n` are a table of `n` rows, for every `n`.
struct Pool {
    names: Vec<String>,
    rows: Vec<Row>,
}

impl Pool {
    fn draw(place: &Place, num_rows: usize) -> Self {
        let mut rng = place.stream(NAME);
        let Table { names, mut rows } = Table::draw(&mut rng, num_rows, KeyClass::Evaluation);
        rows.sort_by_key(|(name, _)| *name);
        let row = |(name, line)| Row {
            rank: rng.next_u64(),
            name,
            line,
        };
        Self {
            rows: rows.into_iter().map(row).collect(),
            names,
        }
    }

    /// The table of the first `num_rows` rows, and of as many more as leave the name asked for as it is and fit.
    fn filled(
        &self,
        num_rows: usize,
        place: &Place,
        material: &Material<'_>,
    ) -> Result<Document, EvalError> {
        let mut rows = self.rows[..num_rows].to_vec();
        let asked = asked(&self.table(&rows), place);
        let mut document = self.document(&rows, Some(asked), place);
        for row in self.rows[num_rows..].iter().filter(|row| row.name != asked) {
            rows.push(row.clone());
            let longer = self.document(&rows, Some(asked), place);
            if longer.num_tokens(material.tokenizer())? > place.length {
                break;
            }
            document = longer;
        }
        Ok(document)
    }

    fn table(&self, rows: &[Row]) -> Table {
        let mut rows: Vec<&Row> = rows.iter().collect();
        rows.sort_by_key(|row| row.rank);
        let row = |row: &Row| (row.name, row.line.clone());
        Table {
            names: self.names.clone(),
            rows: rows.into_iter().map(row).collect(),
        }
    }

    /// The table of `rows` with the question for name `asked`, or for the one at the place's depth.
    fn document(&self, rows: &[Row], asked_name: Option<usize>, place: &Place) -> Document {
        let table = self.table(rows);
        let asked = asked_name.unwrap_or_else(|| asked(&table, place));
        let mut end = HEADER.len();
        let (mut first, mut needle_end) = (None, end);
        for (index, (name, line)) in table.rows.iter().enumerate() {
            end += line.len();
            if *name == asked {
                first = first.or(Some(index));
                needle_end = end;
            }
        }
        let question = table.question(asked);
        Document {
            context: table.text(),
            needle_end,
            depth: depth_of(first.unwrap_or(0), table.rows.len()),
            num_units: table.rows.len(),
            gold: Gold::Rows {
                text: question.answer.clone(),
            },
            question,
        }
    }
}

/// The name whose first row stands nearest to the place's depth, the earlier of two.
fn asked(table: &Table, place: &Place) -> usize {
    let wanted = place.index_among(table.rows.len());
    let mut seen = BTreeSet::new();
    let first_rows = table.rows.iter().enumerate();
    first_rows
        .filter(|(_, (name, _))| seen.insert(*name))
        .min_by_key(|(index, _)| index.abs_diff(wanted))
        .map_or(0, |(_, (name, _))| *name)
}
