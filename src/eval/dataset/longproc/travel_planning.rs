//! A tour through European cities that keeps to fixed days and to the flights there are.
//!
//! # Decisions
//! LongProc makes worked examples, and the search that partial credit compares with, by code. Prompts here have no examples,
//! and there is no partial credit.

use super::{EIGHT_K, Kind, Level, TWO_K};
use crate::eval::dataset::longproc::path_traversal;
use crate::eval::gold::Gold;
use crate::eval::task::{Card, Category};
use std::ops::Range;
use std::path::Path;

/// What separates cities, and days, in the files.
const SEPARATOR: &str = "**";

/// The task: items whose output has a number of tokens in this range.
#[derive(Debug, Clone, Copy)]
pub struct TravelPlanning {
    first: u32,
    end: u32,
}

/// A row of its files.
#[derive(Debug, Clone, serde::Deserialize)]
pub struct Row {
    disambig_question_text: String,
    ground_truth_cities: String,
    ground_truth_durations: String,
    estimated_output_tokens: f64,
}

impl Kind for TravelPlanning {
    type Row = Row;

    fn is_asked(&self, row: &Row) -> bool {
        let range: Range<f64> = f64::from(self.first)..f64::from(self.end);
        range.contains(&row.estimated_output_tokens)
    }

    fn fields(&self, row: &Row, _folder: &Path) -> Result<Vec<(&'static str, String)>, String> {
        let (cities, durations) = (cities(row), durations(row));
        if durations.len() != cities.len() {
            let reason = "`ground_truth_durations` are not one whole number for each of `ground_truth_cities`";
            return Err(reason.to_owned());
        }
        Ok(vec![
            ("problem", row.disambig_question_text.clone()),
            ("demonstration", String::new()),
        ])
    }

    fn gold(&self, row: &Row) -> Gold {
        Gold::Travel {
            cities: cities(row),
            durations: durations(row),
            procedure: String::new(),
        }
    }

    fn remark(&self) -> Option<&'static str> {
        Some("its prompts lack LongProc's worked examples, and part of a search gives no credit")
    }
}

fn cities(row: &Row) -> Vec<String> {
    let cities = row.ground_truth_cities.split(SEPARATOR);
    cities
        .filter(|city| !city.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Those that are whole numbers.
fn durations(row: &Row) -> Vec<i64> {
    let days = row.ground_truth_durations.split(SEPARATOR);
    days.filter_map(|days| days.parse().ok()).collect()
}

/// Up to 2,048 tokens of output.
pub const MIDDLE: Level<TravelPlanning> = Level {
    card: Card {
        name: "travel_planning_2k",
        about: "LongProc's travel planning: a tour that keeps to fixed days and to the flights there are",
        category: Category::Travel,
        ..path_traversal::SHORT.card
    },
    folder: "travel_planning",
    file: "travel_planning_all.json",
    kind: TravelPlanning {
        first: 0,
        end: 2048,
    },
    max_new_tokens: TWO_K,
};

/// From 4,096 to 8,192 tokens of output.
pub const LONG: Level<TravelPlanning> = Level {
    card: Card {
        name: "travel_planning_8k",
        ..MIDDLE.card
    },
    kind: TravelPlanning {
        first: 4096,
        end: 8192,
    },
    max_new_tokens: EIGHT_K,
    ..MIDDLE
};
