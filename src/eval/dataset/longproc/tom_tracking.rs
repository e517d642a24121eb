//! Where things are in a story, and where its people believe they are.

use super::{EIGHT_K, HALF_K, Kind, Level, TWO_K};
use crate::eval::dataset::longproc::path_traversal;
use crate::eval::gold::Gold;
use crate::eval::task::Card;
use std::path::Path;

/// The task.
#[derive(Debug, Clone, Copy)]
pub struct TomTracking;

/// A row of its files.
#[derive(Debug, Clone, serde::Deserialize)]
pub struct Row {
    #[serde(default)]
    story_components: serde_json::Value,
    story: String,
    question: String,
    solution: String,
}

impl Kind for TomTracking {
    type Row = Row;

    fn fields(&self, row: &Row, _folder: &Path) -> Result<Vec<(&'static str, String)>, String> {
        let components = match &row.story_components {
            serde_json::Value::String(text) => text.clone(),
            serde_json::Value::Null => String::new(),
            other => other.to_string(),
        };
        Ok(vec![
            ("story_components", components),
            ("story", row.story.clone()),
            ("question", row.question.clone()),
        ])
    }

    fn gold(&self, row: &Row) -> Gold {
        Gold::Trace {
            text: row.solution.clone(),
        }
    }
}

/// Up to 512 tokens of output.
pub const SHORT: Level<TomTracking> = Level {
    card: Card {
        name: "tom_tracking_0.5k",
        about: "LongProc's theory-of-mind tracking: where things are in a story, and where its people believe they are",
        ..path_traversal::SHORT.card
    },
    folder: "tom_tracking",
    file: "tom_tracking_0.5k.json",
    kind: TomTracking,
    max_new_tokens: HALF_K,
};

/// Up to 2,048 tokens of output.
pub const MIDDLE: Level<TomTracking> = Level {
    card: Card {
        name: "tom_tracking_2k",
        ..SHORT.card
    },
    file: "tom_tracking_2k.json",
    max_new_tokens: TWO_K,
    ..SHORT
};

/// Up to 8,192 tokens of output.
pub const LONG: Level<TomTracking> = Level {
    card: Card {
        name: "tom_tracking_8k",
        ..SHORT.card
    },
    file: "tom_tracking_8k.json",
    max_new_tokens: EIGHT_K,
    ..SHORT
};
