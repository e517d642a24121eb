//! Every method on one task, in numbers.

use super::data::Data;
use crate::eval::critical::lines::percent;
use crate::eval::results::{MethodResult, TaskResult};
use crate::eval::summary::Summary;
use crate::eval::table::{bytes_text, chance_text};
use crate::mask::heatmap_svg::escape;

/// The table of one task.
pub(super) fn table(task: &TaskResult) -> String {
    let card = &task.task;
    let mut data = Data::new(&[
        "method",
        "score, %",
        "95 % interval",
        "n",
        "failed",
        "KV footprint, %",
        "KV peak, %",
        "peak bytes",
        "attended, %",
        "prefill, ms",
        "ms per token",
    ]);
    for method in &task.methods {
        data.row(row(task, method));
    }
    format!(
        "<h4>{}</h4>\n<p class=\"about\">{} ({}): {}, {}; chance level {} %.</p>\n{}",
        escape(&card.name),
        escape(&card.about),
        card.category.name(),
        card.title(),
        card.headline.name(),
        chance_text(100.0 * card.chance),
        data.table()
    )
}

fn row(task: &TaskResult, method: &MethodResult) -> Vec<String> {
    let summary = &method.summary;
    let score = summary.overall(task.task.metric, task.task.headline);
    let [mean, interval] = score.map_or([String::new(), String::new()], |score| {
        let interval = format!("{} to {}", percent(score.low), percent(score.high));
        [percent(score.mean), interval]
    });
    let n = if summary.is_complete() {
        summary.num_items.to_string()
    } else {
        format!("{} of {}", summary.num_items, summary.num_expected)
    };
    let failed = summary.num_failed.to_string();
    let cells = [title(method), mean, interval, n, failed];
    cells.into_iter().chain(costs(summary)).collect()
}

/// What answers cost on average; blank where there are none.
fn costs(summary: &Summary) -> [String; 6] {
    if summary.num_items == 0 {
        return Default::default();
    }
    [
        percent(summary.kv_counted.kv_footprint),
        percent(summary.kv_counted.kv_peak),
        bytes_text(summary.kv_peak_bytes),
        percent(summary.compute_share),
        format!("{:.1}", summary.timing.prefill_ms),
        format!("{:.2}", summary.timing.decode_ms_per_token),
    ]
}

/// The method's name; with the retrieval heads of a mask that has any.
fn title(method: &MethodResult) -> String {
    match method.num_retrieval() {
        Some(kept) if kept > 0 => format!("{}, {kept} retrieval heads", method.name),
        _ => method.name.clone(),
    }
}
