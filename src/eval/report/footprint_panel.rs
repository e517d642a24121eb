//! Score over KV footprint on one task: a curve for every family, full attention, the line to be kept, and below the plot the
//! critical footprint of each family with its interval.
//!
//! The footprint falls to the right, as in the paper: the further right a curve stays above the line, the better.

use super::axes::{Axes, Axis, LEFT, TOP};
use super::data::Data;
use super::drawing::{Drawing, Mark, px};
use super::looks::{Look, Looks};
use crate::eval::critical::curve::{Critical, Curve, Point};
use crate::eval::critical::lines::{cell, percent};
use crate::eval::critical::study::Panel;
use crate::footprint::critical::Crossing;
use crate::mask::heatmap_svg::escape;
use crate::real::real;

/// Width and height of the plot.
const PLOT: (f64, f64) = (326.0, 190.0);
/// Height of one family's row below it.
const ROW: f64 = 26.0;
/// Half the length of a crossing's stroke on the line.
const STROKE: f64 = 6.0;

/// The drawing, and what is said of it.
pub(super) struct Plot {
    pub(super) drawing: Drawing,
    pub(super) title: String,
    pub(super) description: String,
    pub(super) data: Data,
}

/// Draws the plot.
pub(super) fn plot(panel: &Panel, keep: f64, looks: &Looks) -> Plot {
    let axes = Axes::new(
        Axis::percent("KV footprint, % of full attention's", true),
        Axis::percent("score, %", false),
        PLOT,
    );
    let (width, plot_height) = axes.size();
    let height = plot_height + 10.0 + ROW * px(real(panel.curves.len()));
    let mut drawing = Drawing::new(width, height);
    axes.draw(&mut drawing);
    references(&mut drawing, &axes, panel, keep);
    for curve in &panel.curves {
        draw_curve(&mut drawing, &axes, curve, looks.get(&curve.family));
    }
    for saver in &panel.savers {
        let at = (axes.x(saver.kv_footprint), axes.y(saver.score.mean));
        drawing.mark(at, Mark::Diamond, "hollow", &note(saver));
    }
    for (row, curve) in panel.curves.iter().enumerate() {
        let top = plot_height + 14.0 + ROW * real(row);
        strip(&mut drawing, &axes, curve, (top, looks.get(&curve.family)));
        if let Some(critical) = &curve.critical {
            crossing(
                &mut drawing,
                &axes,
                critical,
                (panel.threshold, looks.get(&curve.family)),
            );
        }
    }
    Plot {
        drawing,
        title: format!("{} at {} tokens", panel.task, panel.length),
        description: description(panel, keep),
        data: numbers(panel),
    }
}

/// The figure, with its numbers below it.
pub(super) fn figure_of(panel: &Panel, keep: f64, looks: &Looks) -> String {
    let Plot {
        drawing,
        title,
        description,
        data,
    } = plot(panel, keep, looks);
    let svg = drawing.finish(&title, &description, &data);
    let room = if panel.has_room {
        ""
    } else {
        "<p class=\"warn\">Full attention leaves no room here: what is kept of so low a score says little.</p>\n"
    };
    format!(
        "<figure>\n<h4>{}</h4>\n{room}{svg}<figcaption>{}, {}; n = {}; whiskers and bars: 95 % intervals over items.{}</figcaption>\n{}</figure>\n",
        escape(&title),
        panel.title,
        panel.scoring.name(),
        panel.num_items,
        savers(panel),
        data.folded()
    )
}

/// What the hollow marks are, where there are any.
fn savers(panel: &Panel) -> String {
    let titles: Vec<&str> = panel.savers.iter().map(|of| of.title.as_str()).collect();
    if titles.is_empty() {
        return String::new();
    }
    let titles = escape(&titles.join(", "));
    format!(" Hollow diamonds keep every entry and attend to a part of them: {titles}.")
}

/// Full attention's score, the line to be kept, and what lies below it.
fn references(drawing: &mut Drawing, axes: &Axes, panel: &Panel, keep: f64) {
    let (left, right) = (LEFT, LEFT + axes.inside().0);
    let (full, line) = (axes.y(panel.full.mean), axes.y(panel.threshold));
    drawing.rect(
        (left, line),
        (axes.inside().0, axes.y(0.0) - line),
        "failed",
    );
    drawing.line((left, full), (right, full), "baseline");
    drawing.line((left, line), (right, line), "threshold");
    let kept = format!("{} % of full", percent(keep));
    drawing.text((right - 4.0, line + 13.0), "line-name end", &kept);
    let full_name = format!("full attention {}", percent(panel.full.mean));
    let above = if full < TOP + 14.0 { 12.0 } else { -5.0 };
    drawing.text((right - 4.0, full + above), "quiet end", &full_name);
}

fn draw_curve(drawing: &mut Drawing, axes: &Axes, curve: &Curve, look: Look) {
    let mut points: Vec<&Point> = curve.points.iter().collect();
    points.sort_by(|a, b| b.kv_footprint.total_cmp(&a.kv_footprint));
    let place = |point: &&Point| (axes.x(point.kv_footprint), axes.y(point.score.mean));
    let places: Vec<(f64, f64)> = points.iter().map(place).collect();
    drawing.path(&places, &format!("curve {}", look.class));
    for (point, (x, y)) in points.iter().zip(places) {
        let whisker = [(x, axes.y(point.score.low)), (x, axes.y(point.score.high))];
        drawing.path(&whisker, &format!("whisker {}", look.class));
        drawing.mark((x, y), look.mark, look.class, &note(point));
    }
}

/// A stroke across the line where the curve crosses it.
fn crossing(
    drawing: &mut Drawing,
    axes: &Axes,
    critical: &Critical,
    (threshold, look): (f64, Look),
) {
    if let Crossing::At(value) = critical.found.last_crossing {
        let (x, y) = (axes.x(value), axes.y(threshold));
        let stroke = [(x, y - STROKE), (x, y + STROKE)];
        drawing.path(&stroke, &format!("crossing {}", look.class));
    }
}

/// The row of one family: its name, its critical footprint and the interval, on the axis of the plot.
fn strip(drawing: &mut Drawing, axes: &Axes, curve: &Curve, (top, look): (f64, Look)) {
    let (left, width) = (LEFT, axes.inside().0);
    let bar = top + 17.0;
    drawing.line((left, bar), (left + width, bar), "grid");
    drawing.mark((left - 12.0, bar - 7.0), look.mark, look.class, "");
    drawing.text((left, top + 10.0), "row-name", &curve.family);
    let Some(critical) = &curve.critical else {
        drawing.text(
            (left + width, top + 10.0),
            "row-name end",
            "nothing to keep",
        );
        return;
    };
    let found = critical.found.last_crossing;
    let text = cell(Some(critical));
    drawing.text((left + width, top + 10.0), "row-name end", &text);
    // On a reversed axis the high end of the interval is the left one.
    let ends = [critical.interval.high, critical.interval.low].map(Crossing::value);
    let [from, to] = ends.map(|value| axes.x(value));
    drawing.line((from, bar), (to, bar), &format!("interval {}", look.class));
    let x = axes.x(found.value());
    match found {
        Crossing::At(_) => drawing.mark((x, bar), look.mark, look.class, ""),
        Crossing::Below(_) => arrow(drawing, (x, bar), 1.0, look),
        Crossing::Above(_) => arrow(drawing, (x, bar), -1.0, look),
    }
}

/// An arrow that says on which side of `x` the critical footprint is.
fn arrow(drawing: &mut Drawing, (x, y): (f64, f64), side: f64, look: Look) {
    let (tip, wing) = (x + 14.0 * side, x + 8.0 * side);
    let shaft = [(x, y - 4.0), (x, y + 4.0), (x, y), (tip, y)];
    let head = [(wing, y - 4.0), (tip, y), (wing, y + 4.0)];
    let class = format!("arrow {}", look.class);
    drawing.path(&shaft, &class);
    drawing.path(&head, &class);
}

fn note(point: &Point) -> String {
    format!(
        "{}: score {} ({} to {}), KV footprint {}",
        point.title,
        percent(point.score.mean),
        percent(point.score.low),
        percent(point.score.high),
        percent(point.kv_footprint)
    )
}

fn description(panel: &Panel, keep: f64) -> String {
    let of = |curve: &Curve| format!("{} {}", curve.family, cell(curve.critical.as_ref()));
    let all: Vec<String> = panel.curves.iter().map(of).collect();
    format!(
        "Score over KV footprint, which falls to the right. Full attention has {}; the line is at {} % of it. Critical KV footprints in %: {}.",
        percent(panel.full.mean),
        percent(keep),
        all.join("; ")
    )
}

fn numbers(panel: &Panel) -> Data {
    let mut data = Data::new(&[
        "method",
        "KV footprint, %",
        "KV peak, %",
        "score, %",
        "low",
        "high",
        "% of full",
    ]);
    let points = panel.curves.iter().flat_map(|curve| &curve.points);
    for point in points.chain(&panel.savers) {
        let shares = [
            point.kv_footprint,
            point.kv_peak,
            point.score.mean,
            point.score.low,
            point.score.high,
        ];
        let relative = point.relative.map_or(String::new(), percent);
        let cells = std::iter::once(point.title.clone()).chain(shares.map(percent));
        data.row(cells.chain([relative]).collect());
    }
    data
}
