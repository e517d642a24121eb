//! A forecast as lines of text for a terminal.

use super::forecast::{Forecast, Load, MethodForecast, PartForecast, TaskForecast};
use super::method::MethodKind;
use super::table::bytes_text;

/// For each model, chunk length and task a heading and a row for every method; then what all of it takes.
pub fn lines(forecast: &Forecast) -> Vec<String> {
    let mut lines = Vec::new();
    for part in &forecast.parts {
        for task in &part.tasks {
            lines.extend(block(part, task));
            lines.push(String::new());
        }
    }
    let warnings = forecast.warnings.iter();
    lines.extend(warnings.map(|warning| format!("warning: {warning}")));
    lines.push(format!("in all: {}", load_text(&forecast.total)));
    lines
}

fn block(part: &PartForecast, task: &TaskForecast) -> Vec<String> {
    let streaming = part
        .streaming
        .map_or(String::new(), |streaming| format!(", {streaming}"));
    let mut lines = vec![format!(
        "{} on {}, chunk {}{streaming}; KV by formula",
        task.task, part.model.name, part.chunk_len
    )];
    let titles: Vec<String> = task.methods.iter().map(title).collect();
    let width = titles
        .iter()
        .map(|title| title.len() + 2)
        .fold(18, usize::max);
    let lengths = task
        .methods
        .first()
        .map_or(&[][..], |method| &method.lengths);
    let lengths = lengths.iter().map(|of| format!("footprint {}", of.length));
    let end = [
        "peak bytes",
        "items",
        "finished",
        "prompt tokens",
        "new tokens",
    ];
    lines.push(row("", width, lengths, end.map(str::to_owned)));
    for (method, title) in task.methods.iter().zip(&titles) {
        let footprints = method.lengths.iter().map(|of| {
            let least = of.kv_formula.kv_footprint;
            let most = of
                .kv_at_most
                .map(|most| format!("-{:.3}", most.kv_footprint));
            format!("{least:.3}{}", most.unwrap_or_default())
        });
        let peak = method.lengths.iter().map(|of| of.kv_peak_bytes).max();
        let total = &method.total;
        let end = [
            bytes_text(peak.unwrap_or(0)),
            total.num_items.to_string(),
            total.num_finished.to_string(),
            total.num_prompt_tokens.to_string(),
            total.num_new_tokens.to_string(),
        ];
        lines.push(row(title, width, footprints, end));
    }
    lines
}

/// The name, and the mask's file and size where there is one.
fn title(method: &MethodForecast) -> String {
    let name = &method.name;
    match (method.kind, method.num_retrieval, &method.mask) {
        (MethodKind::Mask, Some(kept), Some(mask)) => format!("{name} {kept} ({mask})"),
        (MethodKind::Random, Some(kept), _) => format!("{name} {kept}"),
        _ => name.clone(),
    }
}

fn row(
    title: &str,
    width: usize,
    lengths: impl Iterator<Item = String>,
    end: [String; 5],
) -> String {
    let start = lengths.fold(format!("{title:<width$}"), |line, cell| {
        format!("{line}{cell:>17}")
    });
    let [peak, items, finished, read, write] = end;
    format!("{start}{peak:>12}{items:>8}{finished:>10}{read:>15}{write:>12}")
}

fn load_text(load: &Load) -> String {
    format!(
        "{} items, {} of them finished; {} prompt tokens to read, at most {} to write",
        load.num_items, load.num_finished, load.num_prompt_tokens, load.num_new_tokens
    )
}
