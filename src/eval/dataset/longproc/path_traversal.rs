//! A route through cities, each of which leads to one other.

use super::{EIGHT_K, HALF_K, Kind, Level, TWO_K};
use crate::eval::gold::Gold;
use crate::eval::metric::registry::Metric;
use crate::eval::reading::Reading;
use crate::eval::scoring::Scoring;
use crate::eval::task::{Card, Category, Needs};
use std::path::Path;

/// The task.
#[derive(Debug, Clone, Copy)]
pub struct PathTraversal;

/// A row of its files.
#[derive(Debug, Clone, serde::Deserialize)]
pub struct Row {
    context_nl: String,
    /// First and last city.
    question_repr: (String, String),
    answer_nl: String,
}

impl Kind for PathTraversal {
    type Row = Row;

    fn fields(&self, row: &Row, _folder: &Path) -> Result<Vec<(&'static str, String)>, String> {
        let (start, end) = &row.question_repr;
        Ok(vec![
            ("city_context", row.context_nl.clone()),
            ("src_city", start.clone()),
            ("dst_city", end.clone()),
        ])
    }

    fn gold(&self, row: &Row) -> Gold {
        Gold::Route {
            text: row.answer_nl.clone(),
        }
    }
}

/// Up to 512 tokens of output.
pub const SHORT: Level<PathTraversal> = Level {
    card: Card {
        name: "path_traversal_0.5k",
        about: "LongProc's path traversal: a route through cities, each of which leads to one other",
        category: Category::Procedure,
        metric: Metric::Accuracy,
        also: &[Metric::PartialAccuracy, Metric::ExtractionRate],
        headline: Scoring::Compat,
        reading: Reading::Whole,
        chance: 0.0,
        needs: Needs::LongProc,
        proxy: false,
    },
    folder: "path_traversal",
    file: "path_traversal_0.5k.json",
    kind: PathTraversal,
    max_new_tokens: HALF_K,
};

/// Up to 2,048 tokens of output.
pub const MIDDLE: Level<PathTraversal> = Level {
    card: Card {
        name: "path_traversal_2k",
        ..SHORT.card
    },
    file: "path_traversal_2k.json",
    max_new_tokens: TWO_K,
    ..SHORT
};

/// Up to 8,192 tokens of output.
pub const LONG: Level<PathTraversal> = Level {
    card: Card {
        name: "path_traversal_8k",
        ..SHORT.card
    },
    file: "path_traversal_8k.json",
    max_new_tokens: EIGHT_K,
    ..SHORT
};
