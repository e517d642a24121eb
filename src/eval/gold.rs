//! What a right answer is, in the structure that its scorers read.

use std::collections::BTreeMap;
use std::iter;

/// What a right answer is.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Gold {
    /// Texts any of which is right; for recall of several values, the texts that must all appear.
    Answers {
        /// At least one.
        answers: Vec<String>,
    },
    /// A question with lettered options.
    Choice {
        /// The right option's letter, upper-case.
        letter: char,
        /// The right option's text, without its letter.
        text: String,
    },
    /// Passages with their relevance.
    Grades {
        /// Relevance of every judged passage by its id; 0 = not relevant.
        grades: BTreeMap<String, u32>,
    },
    /// Lines, in any order.
    Rows {
        /// One row per line.
        text: String,
    },
    /// A table with a header.
    Table {
        /// Tab-separated values, header first.
        tsv: String,
    },
    /// A route.
    Route {
        /// One step per line.
        text: String,
    },
    /// Steps of a story, each with positions and beliefs.
    Trace {
        /// Steps are the lines that begin with `-`.
        text: String,
    },
    /// Numbers from which a target is to be made.
    Countdown {
        /// The numbers given, each to be used once.
        numbers: Vec<i64>,
        /// The number to reach.
        target: i64,
        /// The search that finds a solution, line by line, for partial credit; empty if there is none.
        search: String,
    },
    /// A tour through cities.
    Travel {
        /// Cities in order.
        cities: Vec<String>,
        /// Days spent in each, both ends counted.
        durations: Vec<i64>,
        /// How the plan is found, for partial credit; empty if unknown.
        procedure: String,
    },
}

impl Gold {
    /// One right answer.
    pub fn answer(text: impl Into<String>) -> Self {
        Self::Answers {
            answers: vec![text.into()],
        }
    }

    /// Its word in files and messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Answers { .. } => "answers",
            Self::Choice { .. } => "choice",
            Self::Grades { .. } => "grades",
            Self::Rows { .. } => "rows",
            Self::Table { .. } => "table",
            Self::Route { .. } => "route",
            Self::Trace { .. } => "trace",
            Self::Countdown { .. } => "countdown",
            Self::Travel { .. } => "travel",
        }
    }

    /// The texts any of which is right, where that is what makes an answer right: of a choice the letter, and the letter
    /// with its text.
    pub fn answers(&self) -> Option<Vec<String>> {
        match self {
            Self::Answers { answers } => Some(answers.clone()),
            Self::Choice { letter, .. } => Some(
                iter::once(letter.to_string())
                    .chain(self.option())
                    .collect(),
            ),
            _ => None,
        }
    }

    /// The right option's letter with its text, where there are options.
    pub fn option(&self) -> Option<String> {
        match self {
            Self::Choice { letter, text } => Some(format!("{letter}. {text}")),
            _ => None,
        }
    }
}

/// Golds for tests.
#[cfg(test)]
pub(crate) mod samples {
    use super::Gold;

    /// One gold of every kind.
    pub(crate) fn every_kind() -> Vec<Gold> {
        let text = || "a\nb".to_owned();
        vec![
            Gold::answer("x"),
            Gold::Choice {
                letter: 'B',
                text: text(),
            },
            Gold::Grades {
                grades: [("7".to_owned(), 2), ("9".to_owned(), 0)].into(),
            },
            Gold::Rows { text: text() },
            Gold::Table { tsv: text() },
            Gold::Route { text: text() },
            Gold::Trace { text: text() },
            Gold::Countdown {
                numbers: vec![1, 2],
                target: 3,
                search: String::new(),
            },
            Gold::Travel {
                cities: vec![text()],
                durations: vec![3],
                procedure: text(),
            },
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_written_as_its_word_and_read_back() {
        for gold in samples::every_kind() {
            let written = serde_json::to_value(&gold).unwrap();
            assert_eq!(written["kind"], gold.kind());
            assert_eq!(serde_json::from_value::<Gold>(written).unwrap(), gold);
        }
    }

    #[test]
    fn unknown_fields_are_refused() {
        let text = r#"{"kind": "answers", "answers": ["a"], "answer": "b"}"#;
        assert!(serde_json::from_str::<Gold>(text).is_err());
    }
}
