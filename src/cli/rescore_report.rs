//! What `prulong rescore` prints.

use crate::eval::metric::registry::{ALL, Metric};
use crate::eval::rescore::report::{Group, Report};
use crate::eval::summary::Score;
use serde_json::{Value, json};

/// The means of every group.
pub(super) fn lines(report: &Report) -> Vec<String> {
    let mut lines = Vec::new();
    for group in &report.groups {
        if !lines.is_empty() {
            lines.push(String::new());
        }
        lines.push(heading(report, group));
        lines.push(row(["", "compat", "strict", "n"]));
        for (metric, mean) in &group.scores {
            lines.push(row([
                metric.name(),
                &text(mean.compat),
                &text(mean.strict),
                &mean.num_items.to_string(),
            ]));
        }
    }
    lines.push("in %; (low-high): 95 % interval over answers".to_owned());
    if report.num_compared > 0 {
        lines.push(format!(
            "{} of {} stored scores are the same",
            report.num_compared - report.num_different,
            report.num_compared
        ));
    }
    lines
}

fn heading(report: &Report, group: &Group) -> String {
    let whose = group.of.as_ref().map_or_else(
        || report.file.clone(),
        |of| {
            format!(
                "{} on {}, chunk {}: {}",
                of.task, of.model, of.chunk_len, of.method
            )
        },
    );
    let failed = match group.num_failed {
        0 => String::new(),
        some => format!(", and {some} without an answer"),
    };
    format!("{whose}: {} answers{failed}", group.num_items)
}

fn text(score: Score) -> String {
    let [mean, low, high] = [score.mean, score.low, score.high].map(|share| 100.0 * share);
    format!("{mean:.1} ({low:.1}-{high:.1})")
}

fn row([name, compat, strict, n]: [&str; 4]) -> String {
    format!("{name:<22}{compat:>20}{strict:>20}{n:>8}")
}

/// Every metric and what it reads.
pub(super) fn list() -> Vec<String> {
    let row = |name: &str, reads: &str, title: &str| format!("{name:<22} {reads:<43} {title}");
    let each = ALL.map(|metric| row(metric.name(), &metric.reads().join(", "), metric.title()));
    let mut lines = vec![row("metric", "reads", "shown as")];
    lines.extend(each);
    lines
}

/// The same for programs.
pub(super) fn list_object() -> Value {
    let each = |metric: Metric| {
        json!({
            "name": metric.name(),
            "other_name": metric.other_name(),
            "reads": metric.reads(),
            "title": metric.title(),
        })
    };
    ALL.map(each).to_vec().into()
}
