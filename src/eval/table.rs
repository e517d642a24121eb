//! The results as lines of text for a terminal.

use super::method::MethodKind;
use super::metric::registry::Metric;
use super::results::{MaskIdentity, MethodResult, Part, Results, TaskInfo, TaskResult};
use super::savers;
use super::scoring::Scoring;
use super::summary::{Cell, Score, mean};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// Methods of one kind that keep as many retrieval heads, or a method that evicts or skips: one column.
#[derive(Clone)]
pub(super) struct Column<'a> {
    kind: MethodKind,
    num_retrieval: Option<usize>,
    methods: Vec<&'a MethodResult>,
}

/// Every line of the report: for each model and chunk length, one block per task.
pub fn lines(results: &Results) -> Vec<String> {
    let mut lines = Vec::new();
    for part in &results.parts {
        if !lines.is_empty() {
            lines.push(String::new());
        }
        lines.extend(heading(results, part));
        for task in &part.tasks {
            let columns = columns(&task.methods);
            lines.push(String::new());
            lines.extend(scores(results, part, task, &columns));
            lines.push(String::new());
            lines.extend(memory(&columns));
            lines.extend(savers::line(&columns));
        }
    }
    lines.extend(remarks(results));
    lines
}

/// What the reader should know: warnings, and items without an answer.
pub(super) fn remarks(results: &Results) -> Vec<String> {
    let warnings = results.warnings.iter();
    let mut lines: Vec<String> = warnings
        .map(|warning| format!("warning: {warning}"))
        .collect();
    if !results.failures.is_empty() {
        let num_failed = results.failures.len();
        lines.push(format!(
            "warning: {num_failed} items failed and are part of no mean"
        ));
    }
    lines
}

/// A chance level in a few characters.
pub fn chance_text(chance: f64) -> String {
    if chance == 0.0 {
        return "0".to_owned();
    }
    if chance < 0.01 {
        return format!("{chance:.1e}");
    }
    // A hundredth of a percent: more digits are no news about a guess.
    let text = format!("{chance:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// What methods of one column share: kind, retrieval heads, and the place of a method that stands alone.
type Key = (MethodKind, Option<Reverse<usize>>, Option<usize>);

/// Groups methods by kind and number of retrieval heads, more heads first; methods that evict or skip stand alone.
pub(super) fn columns<'a>(methods: impl IntoIterator<Item = &'a MethodResult>) -> Vec<Column<'a>> {
    let mut groups: BTreeMap<Key, Vec<&MethodResult>> = BTreeMap::new();
    for (place, method) in methods.into_iter().enumerate() {
        let size = method.num_retrieval().map(Reverse);
        let own = method.kind.stands_alone().then_some(place);
        let key = (method.kind, size, own);
        groups.entry(key).or_default().push(method);
    }
    let column = |((kind, size, _), methods): (Key, _)| Column {
        kind,
        num_retrieval: size.map(|Reverse(size)| size),
        methods,
    };
    groups.into_iter().map(column).collect()
}

/// Room for every title and a gap, at least `least`.
pub(super) fn width(columns: &[Column<'_>], least: usize) -> usize {
    let widths = columns.iter().map(|column| column.title().len() + 2);
    widths.fold(least, usize::max)
}

fn heading(results: &Results, of: &Part) -> Vec<String> {
    let machine = &results.provenance.machine;
    let grid = &results.provenance.grid;
    let seeds: Vec<String> = grid.seeds.iter().map(u64::to_string).collect();
    let streaming = of
        .streaming
        .map_or(String::new(), |streaming| format!(", {streaming}"));
    let size = |mask: &MaskIdentity| {
        let kept = mask.num_retrieval;
        (Reverse(kept), kept + mask.num_streaming)
    };
    let sizes: BTreeSet<_> = of.masks.iter().map(size).collect();
    let masks = sizes
        .into_iter()
        .map(|(Reverse(kept), all)| format!(", mask {kept} of {all} retrieval heads"));
    let masks = masks.collect::<Vec<_>>().concat();
    let names: Vec<&str> = of.tasks.iter().map(|of| of.task.name.as_str()).collect();
    let per_cell = format!(
        "{} items per length and depth, ",
        grid.items_per_cell * grid.seeds.len()
    );
    let any_of_grid = of.tasks.iter().any(|of| of.task.own.is_none());
    vec![
        format!("{} on {}{masks}", names.join(", "), of.model.name),
        format!(
            "{}chunk {}{streaming}; {} {} {}, seed {}",
            if any_of_grid { &per_cell } else { "" },
            of.chunk_len,
            machine.dtype,
            machine.device,
            machine.backend,
            seeds.join(", ")
        ),
    ]
}

fn scores(results: &Results, of: &Part, task: &TaskResult, columns: &[Column<'_>]) -> Vec<String> {
    let card = &task.task;
    let others = card.also.iter().map(|metric| metric.title().to_owned());
    let titles: Vec<String> = std::iter::once(card.title()).chain(others).collect();
    let width = width(columns, 22);
    let mut lines = vec![
        format!(
            "{}: {}, %, {}; chance level {}",
            card.name,
            titles.join(" / "),
            card.headline.name(),
            chance_text(100.0 * card.chance)
        ),
        row("length", "depth ", width, columns.iter().map(Column::title)),
    ];
    let window_len = of.streaming.map_or(0, |of| of.window_len);
    let mut any_near = false;
    let grid = &results.provenance.grid;
    let depths = card.depths(grid);
    for &length in &grid.lengths {
        for (depth_index, depth) in depths.iter().enumerate() {
            let at = |cell: &Cell| cell.length == length && cell.depth_index == depth_index;
            let cells = columns.iter().map(|column| column.scores(card, at));
            let near = task.is_in_window(window_len, length, depth_index);
            any_near |= near;
            let depth = format!("{depth:.2}{}", if near { "*" } else { " " });
            lines.push(row(&length.to_string(), &depth, width, cells));
        }
        if depths.len() != 1 {
            let at = |cell: &Cell| cell.length == length;
            let cells = columns.iter().map(|column| column.scores(card, at));
            lines.push(row(&length.to_string(), "all ", width, cells));
        }
    }
    let overall = |scoring| {
        let columns = columns.iter();
        columns.map(move |column| column.overall(card.metric, scoring))
    };
    lines.push(row("all", "all ", width, overall(card.headline)));
    let other = card.headline.other();
    if !overall(other).eq(overall(card.headline)) {
        lines.push(row(other.name(), "all ", width, overall(other)));
    }
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
        "attended",
        "peak bytes",
        "prefill ms",
        "ms/token",
    ];
    let cells = |values: [String; 8]| {
        let cells = values.iter();
        cells.fold(String::new(), |line, value| format!("{line}{value:>12}"))
    };
    let width = width(columns, 16);
    let mut lines = vec![format!(
        "{:<width$}{}",
        "KV, counted",
        cells(title.map(str::to_owned))
    )];
    for column in columns {
        let of = |pick: fn(&MethodResult) -> f64| cell(column.mean_of(pick), 6);
        let ms = |pick: fn(&MethodResult) -> f64| cell(column.mean_of(pick), 1);
        let values = [
            of(|method| method.summary.kv_counted.kv_footprint),
            of(|method| method.summary.kv_formula.kv_footprint),
            of(|method| method.summary.kv_counted.kv_peak),
            of(|method| method.summary.kv_formula.kv_peak),
            of(|method| method.summary.compute_share),
            column.peak_bytes().map_or(cell(None, 0), bytes_text),
            ms(|method| method.summary.timing.prefill_ms),
            ms(|method| method.summary.timing.decode_ms_per_token),
        ];
        lines.push(format!("{:<width$}{}", column.title(), cells(values)));
    }
    lines
}

fn row(length: &str, depth: &str, width: usize, cells: impl Iterator<Item = String>) -> String {
    let start = format!("{length:>8} {depth:>6}");
    cells.fold(start, |line, cell| format!("{line}{cell:>width$}"))
}

impl<'a> Column<'a> {
    /// The kind, the size of its masks, and their number if there are several.
    pub(super) fn title(&self) -> String {
        let name = match (self.kind, self.methods.as_slice()) {
            (kind, [one]) if kind.stands_alone() => &one.name,
            _ => self.kind.name(),
        };
        let sized = match (self.kind, self.num_retrieval) {
            (MethodKind::Mask | MethodKind::Random, Some(kept)) => format!("{name} {kept}"),
            _ => name.to_owned(),
        };
        match self.methods.len() {
            1 => sized,
            count => format!("{sized} x{count}"),
        }
    }

    /// Retrieval heads of its masks.
    pub(super) fn num_retrieval(&self) -> Option<usize> {
        self.num_retrieval
    }

    pub(super) fn kind(&self) -> MethodKind {
        self.kind
    }

    pub(super) fn methods(&self) -> &[&'a MethodResult] {
        &self.methods
    }

    pub(super) fn num_methods(&self) -> usize {
        self.methods.len()
    }

    /// Mean over its methods that answered anything; nothing if none did.
    pub(super) fn mean_of(&self, pick: fn(&MethodResult) -> f64) -> Option<f64> {
        let methods = self.methods.iter();
        let answered = methods.filter(|method| method.summary.num_items > 0);
        mean_if_any(answered.map(|method| pick(method)))
    }

    /// Largest peak of any item of any of its methods; nothing without answers.
    pub(super) fn peak_bytes(&self) -> Option<u64> {
        let summaries = self.methods.iter().map(|method| &method.summary);
        let answered = summaries.filter(|summary| summary.num_items > 0);
        answered.map(|summary| summary.kv_peak_bytes).max()
    }

    /// Mean score by `metric` at one length; nothing without answers.
    pub(super) fn at_length(&self, metric: Metric, scoring: Scoring, length: usize) -> Option<f64> {
        let methods = self.methods.iter();
        mean_if_any(methods.filter_map(|method| method.summary.at_length(metric, scoring, length)))
    }

    /// Mean score by `metric` at one length and place in the depth grid; nothing without items.
    pub(super) fn at_cell(
        &self,
        metric: Metric,
        scoring: Scoring,
        (length, depth_index): (usize, usize),
    ) -> Option<f64> {
        let cells = self.methods.iter().flat_map(|method| &method.summary.cells);
        let here = cells.filter(|cell| cell.length == length && cell.depth_index == depth_index);
        mean_if_any(here.filter_map(|cell| Some(*cell.scores.get(&metric)?.of(scoring))))
    }

    fn scores(&self, card: &TaskInfo, at: impl Fn(&Cell) -> bool) -> String {
        let cells: Vec<&Cell> = self
            .methods
            .iter()
            .flat_map(|method| &method.summary.cells)
            .filter(|cell| at(cell))
            .collect();
        let mean_of = |metric| {
            let scores = cells.iter().filter_map(|cell| cell.scores.get(&metric));
            let scores = scores.map(|score| *score.of(card.headline));
            cell(mean_if_any(scores).map(|mean| 100.0 * mean), 1)
        };
        let means: Vec<String> = card.metrics().map(mean_of).collect();
        means.join(" / ")
    }

    /// Overall score by `metric`: with the interval of one method, or the range over several.
    pub(super) fn overall(&self, metric: Metric, scoring: Scoring) -> String {
        let summaries = self.methods.iter().map(|method| &method.summary);
        let scores: Vec<Score> = summaries
            .filter_map(|summary| summary.overall(metric, scoring))
            .collect();
        let (low, high) = match scores.as_slice() {
            [] => return cell(None, 1),
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

fn mean_if_any(values: impl Iterator<Item = f64>) -> Option<f64> {
    let values: Vec<f64> = values.collect();
    (!values.is_empty()).then(|| mean(values.into_iter()))
}

/// A number for a reader; `-` where nothing was answered.
pub(super) fn cell(value: Option<f64>, num_digits: usize) -> String {
    value.map_or("-".to_owned(), |value| format!("{value:.num_digits$}"))
}

/// Bytes for a reader.
#[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
pub(super) fn bytes_text(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            return format!("{value:.1} {unit}");
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
}
