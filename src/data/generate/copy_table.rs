//! `copy-table`: a table in which several rows may share a name, then requests for all rows of a name.
//!
//! ```text
//! | name | item | count |
//! |---|---|---|
//! | calm otter | plum | 482 |
//! | wild heron | fig | 118 |
//! | calm otter | kale | 907 |
//! Rows of calm otter:
//! | calm otter | plum | 482 |
//! | calm otter | kale | 907 |
//! ---
//! ```

use super::fact::{KeyClass, class_of, draw_words};
use super::question::QuestionText;
use super::quiz::{DrawQuiz, Quiz, draw_rounds};
use super::range::CountRange;
use crate::config::generator_kinds::CopyTableSettings;
use crate::data::error::DataError;
use crate::random::{index_below, shuffle};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeSet;

/// The form's word in settings.
pub(super) const NAME: &str = "copy-table";

/// First lines of a table.
pub const HEADER: &str = "| name | item | count |\n|---|---|---|\n";

/// What ends an answer.
const END: &str = "---\n";

/// Most rows that share a name.
pub const MAX_ROWS_PER_NAME: usize = 3;

/// A table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Names, all different.
    pub names: Vec<String>,
    /// Rows in order: the index of the name, and the line.
    pub rows: Vec<(usize, String)>,
}

impl Table {
    /// Draws a table of `num_rows` rows over names of `class`, each of which has 1 to [`MAX_ROWS_PER_NAME`] rows, in a random
    /// order.
    pub fn draw(rng: &mut ChaCha8Rng, num_rows: usize, class: KeyClass) -> Self {
        let mut names = Vec::new();
        let mut seen = BTreeSet::new();
        let mut rows = Vec::with_capacity(num_rows + MAX_ROWS_PER_NAME);
        while rows.len() < num_rows {
            let name = draw_name(rng, class, &mut seen);
            for _ in 0..=index_below(rng, MAX_ROWS_PER_NAME) {
                rows.push((names.len(), row(rng, &name)));
            }
            names.push(name);
        }
        rows.truncate(num_rows);
        shuffle(rng, &mut rows);
        Self { names, rows }
    }

    /// Header and rows.
    pub fn text(&self) -> String {
        let rows: String = self.rows.iter().map(|(_, row)| row.as_str()).collect();
        format!("{HEADER}{rows}")
    }

    /// The request for all rows of name number `name`, in the table's order.
    pub fn question(&self, name: usize) -> QuestionText {
        let rows = self.rows.iter().filter(|(of, _)| *of == name);
        QuestionText {
            cue: format!("Rows of {}:\n", self.names[name]),
            answer: rows.map(|(_, row)| row.as_str()).collect(),
            close: END.to_owned(),
        }
    }
}

/// Quizzes on tables.
#[derive(Debug, Clone, Copy)]
pub struct CopyTable {
    /// Rows of a table.
    pub rows: CountRange,
    /// Requests; beyond the number of names they repeat.
    pub num_queries: usize,
}

impl CopyTable {
    /// As the settings say.
    ///
    /// # Errors
    /// [`DataError::GeneratorSetting`] for a range that is none.
    pub fn from_settings(settings: &CopyTableSettings) -> Result<Self, DataError> {
        let (min, max) = (settings.num_rows_min, settings.num_rows_max);
        Ok(Self {
            rows: CountRange::new(NAME, "num_rows_min", min, max)?,
            num_queries: settings.num_queries,
        })
    }
}

impl DrawQuiz for CopyTable {
    fn name(&self) -> &'static str {
        NAME
    }

    fn draw(&self, rng: &mut ChaCha8Rng) -> Quiz {
        let num_rows = self.rows.draw(rng);
        let table = Table::draw(rng, num_rows, KeyClass::Training);
        let asked = draw_rounds(rng, table.names.len(), self.num_queries);
        Quiz {
            context: table.text(),
            questions: asked.iter().map(|name| table.question(*name)).collect(),
        }
    }
}

fn draw_name(rng: &mut ChaCha8Rng, class: KeyClass, seen: &mut BTreeSet<String>) -> String {
    loop {
        let [adjective, animal, _] = draw_words(rng);
        let name = format!("{adjective} {animal}");
        if class_of(&format!("table-name:{name}")) == class && seen.insert(name.clone()) {
            return name;
        }
    }
}

fn row(rng: &mut ChaCha8Rng, name: &str) -> String {
    let [_, _, plant] = draw_words(rng);
    let count = 100 + index_below(rng, 900);
    format!("| {name} | {plant} | {count} |\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::generate::question::tests::assert_seamless;
    use crate::random::stream;

    #[test]
    fn an_answer_holds_exactly_the_rows_of_the_name_in_order() {
        let form = CopyTable {
            rows: CountRange::new(NAME, "rows", 4, 30).unwrap(),
            num_queries: 5,
        };
        for index in 0..40 {
            let quiz = form.draw(&mut stream("t", &[index]));
            for question in &quiz.questions {
                let name = &question.cue["Rows of ".len()..question.cue.len() - 2];
                let expected: String = quiz
                    .context
                    .split_inclusive('\n')
                    .filter(|line| line.starts_with(&format!("| {name} |")))
                    .collect();
                assert_eq!(question.answer, expected);
                assert!((1..=MAX_ROWS_PER_NAME).contains(&expected.lines().count()));
                assert_eq!(class_of(&format!("table-name:{name}")), KeyClass::Training);
            }
            assert_seamless(&quiz.context, &quiz.questions);
        }
    }

    #[test]
    fn a_table_has_the_rows_asked_for() {
        for num_rows in 1..20 {
            let table = Table::draw(&mut stream("t", &[1]), num_rows, KeyClass::Evaluation);
            assert_eq!(table.rows.len(), num_rows);
            assert_eq!(table.text().lines().count(), num_rows + 2);
            let named: BTreeSet<usize> = table.rows.iter().map(|(name, _)| *name).collect();
            assert_eq!(named.len(), table.names.len());
        }
    }
}
