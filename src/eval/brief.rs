//! The results in a few lines: one row per method, one column per length.

use super::results::{Part, Results, TaskResult};
use super::savers;
use super::table::{Column, bytes_text, cell, columns, remarks, width};

/// For each task, model and chunk length a heading and a row for every method, or group of masks of one size.
pub fn lines(results: &Results) -> Vec<String> {
    let mut lines = Vec::new();
    let mut any_group = false;
    for part in &results.parts {
        for task in &part.tasks {
            let columns = columns(&task.methods);
            any_group |= columns.iter().any(|column| column.num_methods() > 1);
            lines.extend(block(results, part, task, &columns));
            lines.extend(savers::line(&columns));
        }
    }
    let several = if any_group {
        "; of several masks, the lowest and the highest"
    } else {
        ""
    };
    lines.push(format!("(low-high): 95 % interval over items{several}"));
    lines.extend(remarks(results));
    lines
}

fn block(results: &Results, of: &Part, task: &TaskResult, columns: &[Column<'_>]) -> Vec<String> {
    let asked = &results.provenance.grid;
    let (metric, headline) = (task.task.metric, task.task.headline);
    let per_length = task.task.num_items(asked) / asked.lengths.len().max(1);
    let chunk = match results.parts.len() {
        1 => String::new(),
        _ => format!(", chunk {}", of.chunk_len),
    };
    let mut lines = vec![format!(
        "{} on {}{chunk}: {} in %, {}; {per_length} items a length; KV counted from the caches",
        task.task.name,
        of.model.name,
        task.task.title(),
        headline.name()
    )];
    let end = ["all lengths", "footprint", "peak", "peak bytes"].map(str::to_owned);
    let name = |title: &str| format!("{title:<0$}", width(columns, 18));
    let lengths = asked.lengths.iter().map(ToString::to_string);
    lines.push(row(name(""), lengths, &end));
    for column in columns {
        let at = |length: &usize| {
            let score = column.at_length(metric, headline, *length);
            cell(score.map(|score| 100.0 * score), 1)
        };
        let kv = |share: Option<f64>| cell(share, 3);
        let end = [
            column.overall(metric, headline),
            kv(column.mean_of(|method| method.summary.kv_counted.kv_footprint)),
            kv(column.mean_of(|method| method.summary.kv_counted.kv_peak)),
            column.peak_bytes().map_or(cell(None, 0), bytes_text),
        ];
        lines.push(row(
            name(&column.title()),
            asked.lengths.iter().map(at),
            &end,
        ));
    }
    lines
}

fn row(name: String, lengths: impl Iterator<Item = String>, end: &[String; 4]) -> String {
    let start = lengths.fold(name, |line, cell| format!("{line}{cell:>8}"));
    let [overall, footprint, peak, bytes] = end;
    format!("{start}{overall:>20}{footprint:>11}{peak:>7}{bytes:>12}")
}
