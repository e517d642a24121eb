//! The results as lines of text for a terminal.

use super::method::MethodKind;
use super::metric::registry::Metric;
use super::results::{MethodResult, Provenance, Results, TaskResult};
use super::summary::{Cell, Score, mean};
use super::task::Card;
use std::collections::BTreeMap;

/// Methods of one kind: one column.
struct Column<'a> {
    kind: MethodKind,
    methods: Vec<&'a MethodResult>,
}

/// Every line of the report: one block per task.
pub fn lines(results: &Results) -> Vec<String> {
    let mut lines = heading(results);
    for task in &results.tasks {
        let columns = columns(&task.methods);
        lines.push(String::new());
        lines.extend(scores(&results.provenance, task, &columns));
        lines.push(String::new());
        lines.extend(memory(&columns));
    }
    for warning in &results.provenance.warnings {
        lines.push(format!("warning: {warning}"));
    }
    lines
}

/// A chance level in a few characters.
pub fn chance_text(chance: f64) -> String {
    if chance == 0.0 || chance >= 0.01 {
        chance.to_string()
    } else {
        format!("{chance:.1e}")
    }
}

fn columns(methods: &[MethodResult]) -> Vec<Column<'_>> {
    let mut by_kind: BTreeMap<MethodKind, Vec<&MethodResult>> = BTreeMap::new();
    for method in methods {
        by_kind.entry(method.kind).or_default().push(method);
    }
    let column = |(kind, methods)| Column { kind, methods };
    by_kind.into_iter().map(column).collect()
}

fn heading(results: &Results) -> Vec<String> {
    let of = &results.provenance;
    let asked = &of.settings;
    let streaming = of.streaming.map_or(String::new(), |streaming| {
        format!(
            ", {} with sink {} and window {}",
            streaming.rule.name(),
            streaming.span.sink_len(),
            streaming.span.window_len()
        )
    });
    let mask = of.mask.as_ref().map_or(String::new(), |mask| {
        format!(
            ", mask {} of {} retrieval heads",
            mask.num_retrieval,
            mask.num_retrieval + mask.num_streaming
        )
    });
    let names: Vec<&str> = results.tasks.iter().map(|of| of.task.name).collect();
    vec![
        format!("{} on {}{mask}", names.join(", "), of.model.name),
        format!(
            "{} items per length and depth, chunk {}{streaming}; {} {} {}, seed {}",
            asked.items_per_cell,
            asked.chunk_len,
            of.machine.dtype,
            of.machine.device,
            of.machine.backend,
            asked.seed
        ),
    ]
}

fn scores(of: &Provenance, task: &TaskResult, columns: &[Column<'_>]) -> Vec<String> {
    let card = &task.task;
    let titles: Vec<&str> = card.metrics().map(Metric::title).collect();
    let mut lines = vec![
        format!(
            "{}: {}, %; chance level {}",
            card.name,
            titles.join(" / "),
            chance_text(100.0 * card.chance)
        ),
        row("length", "depth ", columns.iter().map(Column::title)),
    ];
    let window_len = of.streaming.map_or(0, |of| of.span.window_len());
    let mut any_near = false;
    let depths = &of.settings.depths;
    for &length in &of.settings.lengths {
        for (depth_index, depth) in depths.iter().enumerate() {
            let at = |cell: &Cell| cell.length == length && cell.depth_index == depth_index;
            let cells = columns.iter().map(|column| column.scores(card, at));
            let near = task.is_in_window(window_len, length, depth_index);
            any_near |= near;
            let depth = format!("{depth:.2}{}", if near { "*" } else { " " });
            lines.push(row(&length.to_string(), &depth, cells));
        }
        if depths.len() > 1 {
            let at = |cell: &Cell| cell.length == length;
            let cells = columns.iter().map(|column| column.scores(card, at));
            lines.push(row(&length.to_string(), "all ", cells));
        }
    }
    let overall = columns.iter().map(|column| column.overall(card.metric));
    lines.push(row("all", "all ", overall));
    if any_near {
        lines.push("* some needles stand in the window of streaming heads".to_owned());
    }
    lines
}

fn memory(columns: &[Column<'_>]) -> Vec<String> {
    let title = [
        "footprint",
        "formula",
        "peak",
        "formula",
        "peak bytes",
        "prefill ms",
        "ms/token",
    ];
    let cells = |values: [String; 7]| {
        let cells = values.iter();
        cells.fold(String::new(), |line, value| format!("{line}{value:>12}"))
    };
    let mut lines = vec![format!(
        "{:<16}{}",
        "KV, counted",
        cells(title.map(str::to_owned))
    )];
    for column in columns {
        let mean_of =
            |pick: fn(&MethodResult) -> f64| mean(column.methods.iter().map(|method| pick(method)));
        let of = |pick: fn(&MethodResult) -> f64| format!("{:.6}", mean_of(pick));
        let ms = |pick: fn(&MethodResult) -> f64| format!("{:.1}", mean_of(pick));
        let bytes = column.methods.iter().map(|m| m.summary.kv_peak_bytes).max();
        let values = [
            of(|method| method.summary.kv_counted.kv_footprint),
            of(|method| method.summary.kv_formula.kv_footprint),
            of(|method| method.summary.kv_counted.kv_peak),
            of(|method| method.summary.kv_formula.kv_peak),
            bytes_text(bytes.unwrap_or(0)),
            ms(|method| method.summary.timing.prefill_ms),
            ms(|method| method.summary.timing.decode_ms_per_token),
        ];
        lines.push(format!("{:<16}{}", column.title(), cells(values)));
    }
    lines
}

fn row(length: &str, depth: &str, cells: impl Iterator<Item = String>) -> String {
    let start = format!("{length:>8} {depth:>6}");
    cells.fold(start, |line, cell| format!("{line}{cell:>22}"))
}

impl Column<'_> {
    fn title(&self) -> String {
        match self.methods.len() {
            1 => self.kind.name().to_owned(),
            count => format!("{} x{count}", self.kind.name()),
        }
    }

    fn scores(&self, card: &Card, at: impl Fn(&Cell) -> bool) -> String {
        let cells: Vec<&Cell> = self
            .methods
            .iter()
            .flat_map(|method| &method.summary.cells)
            .filter(|cell| at(cell))
            .collect();
        let mean_of = |metric| {
            let scores = cells.iter().filter_map(|cell| cell.scores.get(&metric));
            let scores: Vec<f64> = scores.copied().collect();
            format!("{:.1}", 100.0 * mean(scores.into_iter()))
        };
        let means: Vec<String> = card.metrics().map(mean_of).collect();
        means.join(" / ")
    }

    /// Overall score by `metric`: with the interval of one method, or the range over several.
    fn overall(&self, metric: Metric) -> String {
        let scores = self.methods.iter().map(|method| &method.summary.scores);
        let scores: Vec<Score> = scores
            .filter_map(|scores| scores.get(&metric).copied())
            .collect();
        let (low, high) = match scores.as_slice() {
            [one] => (one.low, one.high),
            many => many.iter().fold((1.0_f64, 0.0_f64), |(low, high), score| {
                (low.min(score.mean), high.max(score.mean))
            }),
        };
        let mean = mean(scores.iter().map(|score| score.mean));
        format!(
            "{:.1} ({:.1}-{:.1})",
            100.0 * mean,
            100.0 * low,
            100.0 * high
        )
    }
}

#[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
fn bytes_text(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            return format!("{value:.1} {unit}");
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
}
