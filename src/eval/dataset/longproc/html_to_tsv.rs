//! A table of what a web page says.

use super::{EIGHT_K, HALF_K, Kind, Level, TWO_K};
use crate::eval::dataset::longproc::path_traversal;
use crate::eval::gold::Gold;
use crate::eval::metric::registry::Metric;
use crate::eval::task::{Card, Category};
use std::path::{Path, PathBuf};

/// The task.
#[derive(Debug, Clone, Copy)]
pub struct HtmlToTsv;

/// A row of its files.
#[derive(Debug, Clone, serde::Deserialize)]
pub struct Row {
    html_path: PathBuf,
    task_topic: String,
    task_description: String,
    gt: String,
    tsv_header: String,
    filtering_instruction: String,
}

impl Kind for HtmlToTsv {
    type Row = Row;

    fn fields(&self, row: &Row, folder: &Path) -> Result<Vec<(&'static str, String)>, String> {
        let path = page(&row.html_path, folder)?;
        let html = std::fs::read_to_string(&path)
            .map_err(|error| format!("`html_path`: cannot read `{}`: {error}", path.display()))?;
        Ok(vec![
            ("html_str", html),
            ("task_topic", row.task_topic.clone()),
            ("task_description", row.task_description.clone()),
            ("tsv_header", row.tsv_header.clone()),
            ("filtering_instruction", row.filtering_instruction.clone()),
        ])
    }

    fn gold(&self, row: &Row) -> Gold {
        Gold::Table {
            tsv: row.gt.clone(),
        }
    }
}

/// The page's file: relative to the folder of the rows or to one above it, as far as LongProc's repository goes.
fn page(path: &Path, folder: &Path) -> Result<PathBuf, String> {
    let places = folder.ancestors().take(3);
    let found = places
        .map(|base| base.join(path))
        .find(|path| path.is_file());
    let root = folder.ancestors().nth(2).unwrap_or(folder);
    let Some(found) = found.and_then(|path| path.canonicalize().ok()) else {
        return Err(format!(
            "`html_path`: there is no `{}` in `{}`",
            path.display(),
            folder.display()
        ));
    };
    let is_inside = root
        .canonicalize()
        .is_ok_and(|root| found.starts_with(root));
    if path.is_absolute() || !is_inside {
        let root = root.display();
        return Err(format!(
            "`html_path`: `{}` lies outside of `{root}`",
            path.display()
        ));
    }
    Ok(found)
}

/// Up to 512 tokens of output.
pub const SHORT: Level<HtmlToTsv> = Level {
    card: Card {
        name: "html_to_tsv_0.5k",
        about: "LongProc's HTML to TSV: a table of what a web page says",
        category: Category::HtmlToTsv,
        metric: Metric::RowF1,
        also: &[
            Metric::RowPrecision,
            Metric::RowRecall,
            Metric::ExtractionRate,
        ],
        ..path_traversal::SHORT.card
    },
    folder: "html_to_tsv",
    file: "html_to_tsv_0.5k.json",
    kind: HtmlToTsv,
    max_new_tokens: HALF_K,
};

/// Up to 2,048 tokens of output.
pub const MIDDLE: Level<HtmlToTsv> = Level {
    card: Card {
        name: "html_to_tsv_2k",
        ..SHORT.card
    },
    file: "html_to_tsv_2k.json",
    max_new_tokens: TWO_K,
    ..SHORT
};

/// Up to 8,192 tokens of output.
pub const LONG: Level<HtmlToTsv> = Level {
    card: Card {
        name: "html_to_tsv_8k",
        ..SHORT.card
    },
    file: "html_to_tsv_8k.json",
    max_new_tokens: EIGHT_K,
    ..SHORT
};
