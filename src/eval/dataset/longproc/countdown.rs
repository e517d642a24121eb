//! Calculations that make a number of four others, found by a search.
//!
//! # Decisions
//! LongProc makes the search of a demonstration by code. Here the `demonstration`s of the user's file are shown, the first
//! two; without any the prompt has none.

use super::{EIGHT_K, HALF_K, Kind, Level, TWO_K};
use crate::eval::dataset::NUM_DEMOS;
use crate::eval::dataset::longproc::path_traversal;
use crate::eval::files::rows::Located;
use crate::eval::files::wording::BREAK;
use crate::eval::gold::Gold;
use crate::eval::task::Card;
use std::path::Path;

/// The task.
#[derive(Debug, Clone, Copy)]
pub struct Countdown;

/// A row of its files.
#[derive(Debug, Clone, serde::Deserialize)]
pub struct Row {
    nums: Vec<i64>,
    target: i64,
    demonstration: Option<String>,
}

impl Kind for Countdown {
    type Row = Row;

    /// Rows that are shown are not asked.
    fn is_asked(&self, row: &Row) -> bool {
        row.demonstration.is_none()
    }

    fn fields(&self, row: &Row, _folder: &Path) -> Result<Vec<(&'static str, String)>, String> {
        let nums: Vec<String> = row.nums.iter().map(ToString::to_string).collect();
        Ok(vec![
            ("nums", format!("[{}]", nums.join(", "))),
            ("target", row.target.to_string()),
        ])
    }

    fn gold(&self, row: &Row) -> Gold {
        Gold::Countdown {
            numbers: row.nums.clone(),
            target: row.target,
            search: String::new(),
        }
    }

    fn shared(&self, rows: &[Located<Row>]) -> Vec<(&'static str, String)> {
        let demos = rows
            .iter()
            .filter_map(|row| row.row.demonstration.as_deref());
        let demos: Vec<&str> = demos.take(NUM_DEMOS).collect();
        vec![("demonstration", demos.join(BREAK))]
    }

    fn remark(&self) -> Option<&'static str> {
        Some(
            "its prompts show the demonstrations of the file, and give no credit for part of a search",
        )
    }
}

/// Up to 512 tokens of output.
pub const SHORT: Level<Countdown> = Level {
    card: Card {
        name: "countdown_0.5k",
        about: "LongProc's countdown: calculations that make a number of four others, found by a search",
        ..path_traversal::SHORT.card
    },
    folder: "countdown",
    file: "countdown_0.5k.json",
    kind: Countdown,
    max_new_tokens: HALF_K,
};

/// Up to 2,048 tokens of output.
pub const MIDDLE: Level<Countdown> = Level {
    card: Card {
        name: "countdown_2k",
        ..SHORT.card
    },
    file: "countdown_2k.json",
    max_new_tokens: TWO_K,
    ..SHORT
};

/// Up to 8,192 tokens of output.
pub const LONG: Level<Countdown> = Level {
    card: Card {
        name: "countdown_8k",
        ..SHORT.card
    },
    file: "countdown_8k.json",
    max_new_tokens: EIGHT_K,
    ..SHORT
};
