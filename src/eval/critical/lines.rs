//! Critical footprints as lines of text for a terminal: families x tasks, a block for every model, chunk length and length.

use super::curve::{Critical, Curve};
use super::study::{Panel, Study};
use crate::eval::summary::Score;
use crate::footprint::critical::Crossing;
use crate::footprint::paired::{Interval, Range};

/// Shares that differ by no more are the same.
const ROUNDING: f64 = 1e-9;

/// Every line of the report.
pub fn lines(study: &Study) -> Vec<String> {
    let mut lines = vec![format!(
        "critical KV footprint, %: the least that keeps {} % of full attention's score (95 % interval over items)",
        percent(study.keep)
    )];
    for panels in blocks(study) {
        lines.push(String::new());
        lines.extend(block(&panels));
    }
    lines.push(String::new());
    lines.push(
        "<, >: every, or no, footprint tried keeps the score; a curve's points are joined by straight lines".to_owned(),
    );
    let warnings = study.warnings.iter();
    lines.extend(warnings.map(|warning| format!("warning: {warning}")));
    lines
}

/// Panels that differ in their task alone.
fn blocks(study: &Study) -> Vec<Vec<&Panel>> {
    let mut blocks: Vec<Vec<&Panel>> = Vec::new();
    let place = |panel: &Panel| (panel.model.clone(), panel.chunk_len, panel.length);
    for panel in &study.panels {
        let same = |block: &&mut Vec<&Panel>| {
            block
                .first()
                .is_some_and(|first| place(first) == place(panel))
        };
        match blocks.iter_mut().find(same) {
            Some(block) => block.push(panel),
            None => blocks.push(vec![panel]),
        }
    }
    blocks
}

fn block(panels: &[&Panel]) -> Vec<String> {
    let Some(first) = panels.first() else {
        return Vec::new();
    };
    let mut families: Vec<&str> = Vec::new();
    for curve in panels.iter().flat_map(|panel| &panel.curves) {
        if !families.contains(&curve.family.as_str()) {
            families.push(&curve.family);
        }
    }
    let heading = format!(
        "{} at {} tokens, chunk {}",
        first.model, first.length, first.chunk_len
    );
    let titles = panels.iter().map(|panel| panel.task.clone());
    let full = panels.iter().map(|panel| {
        let mark = if panel.has_room { "" } else { "!" };
        format!("{}{mark}, n = {}", full_text(&panel.full), panel.num_items)
    });
    let mut rows = vec![
        row(heading, titles),
        row("full attention's score".to_owned(), full),
    ];
    for family in families {
        let cells = panels.iter().map(|panel| {
            let critical = of_family(panel, family).map(|curve| curve.critical.as_ref());
            critical.map_or(String::new(), cell)
        });
        rows.push(row(family.to_owned(), cells));
    }
    let mut lines = aligned(&rows);
    let notes = panels.iter().flat_map(|panel| notes(panel));
    lines.extend(notes.map(|note| note.line()));
    lines
}

fn row(name: String, cells: impl Iterator<Item = String>) -> Vec<String> {
    std::iter::once(name).chain(cells).collect()
}

/// Names to the left, everything else to the right of columns that are as wide as they need to be.
fn aligned(rows: &[Vec<String>]) -> Vec<String> {
    let num_columns = rows.first().map_or(0, Vec::len);
    let cell_len = |row: &Vec<String>, at: usize| row[at].chars().count();
    let width = |at| rows.iter().map(|row| cell_len(row, at)).max().unwrap_or(0);
    let widths: Vec<usize> = (0..num_columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).skip(1);
        let start = format!("{:<1$}", row[0], widths[0]);
        cells.fold(start, |line, (cell, width)| {
            format!("{line}  {cell:>width$}")
        })
    };
    rows.iter().map(line).collect()
}

fn of_family<'a>(panel: &'a Panel, family: &str) -> Option<&'a Curve> {
    panel.curves.iter().find(|curve| curve.family == family)
}

/// The default figure and its interval, marked where a note says more.
pub(in crate::eval) fn cell(critical: Option<&Critical>) -> String {
    let Some(critical) = critical else {
        return "-".to_owned();
    };
    let mark = if critical.found.num_dips > 0 { "~" } else { "" };
    let figure = figure(critical.found.last_crossing, &critical.interval);
    format!("{mark}{figure}")
}

/// A figure with its interval, without it where resampling changes nothing.
fn figure(crossing: Crossing, interval: &Interval<Crossing>) -> String {
    let [found, low, high] = [crossing, interval.low, interval.high].map(|of| of.to_string());
    if found == low && low == high {
        return found;
    }
    format!("{found} ({low} to {high})")
}

/// What a cell does not say.
pub(in crate::eval) struct Note {
    /// Whether it explains the mark `~` of a cell.
    is_marked: bool,
    /// It, beginning with the task.
    pub(in crate::eval) text: String,
}

impl Note {
    fn plain(text: String) -> Self {
        let is_marked = false;
        Self { is_marked, text }
    }

    /// Below a table on a terminal.
    fn line(&self) -> String {
        let mark = if self.is_marked { '~' } else { ' ' };
        format!("{mark} {}", self.text)
    }
}

/// What the cells of one task do not say: dips, the mask beside the best baseline, and results that hang on one item.
pub(in crate::eval) fn notes(panel: &Panel) -> Vec<Note> {
    let mut notes = Vec::new();
    let mut unsure = Vec::new();
    for curve in &panel.curves {
        let Some(critical) = &curve.critical else {
            continue;
        };
        let place = format!("{}, {}", panel.task, curve.family);
        if critical.found.num_dips > 0 {
            notes.push(dip(&place, critical));
        }
        if critical.found.margin < item_share(panel) - ROUNDING {
            unsure.push(format!(
                "{} ({})",
                curve.family,
                percent(critical.found.margin)
            ));
        }
        if let Some(baseline) = &critical.baseline {
            notes.push(Note::plain(format!(
                "{place} less the best baseline, {}: {} ({} to {})",
                baseline.family,
                range(&baseline.by),
                end(baseline.interval.low),
                end(baseline.interval.high)
            )));
        }
    }
    if !unsure.is_empty() {
        notes.push(Note::plain(format!(
            "{}: one item more or less moves to other points (margin in points of score): {}",
            panel.task,
            unsure.join(", ")
        )));
    }
    notes
}

fn dip(place: &str, critical: &Critical) -> Note {
    let times = match critical.found.num_dips {
        1 => "once".to_owned(),
        many => format!("{many} times"),
    };
    let strict = figure(critical.found.first_crossing, &critical.first_interval);
    Note {
        is_marked: true,
        text: format!(
            "{place}: the score falls below the line and recovers {times}; up to its first fall: {strict}"
        ),
    }
}

/// What one item weighs in a mean.
#[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 items")]
fn item_share(panel: &Panel) -> f64 {
    1.0 / panel.num_items.max(1) as f64
}

fn full_text(score: &Score) -> String {
    percent(score.mean)
}

/// A share in percent.
pub(in crate::eval) fn percent(share: f64) -> String {
    let text = format!("{:.1}", 100.0 * share);
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

/// A difference of footprints in percentage points, or what bounds it.
fn range(range: &Range) -> String {
    match (range.low.is_finite(), range.high.is_finite()) {
        (true, true) => end(range.low),
        (false, true) => format!("below {}", end(range.high)),
        (true, false) => format!("above {}", end(range.low)),
        (false, false) => "not known".to_owned(),
    }
}

fn end(value: f64) -> String {
    if value.is_finite() {
        format!("{:+.1}", 100.0 * value)
    } else {
        "unbounded".to_owned()
    }
}
