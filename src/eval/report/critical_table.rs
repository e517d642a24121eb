//! The answer in one table: critical footprints of families on tasks.

use super::data::Data;
use crate::eval::critical::lines::{cell as cell_of, notes, percent};
use crate::eval::critical::study::{Panel, Study};
use crate::mask::heatmap_svg::escape;

/// The table with what its cells do not say.
pub(super) fn table(study: &Study) -> String {
    let panels = &study.panels;
    let places: Vec<String> = panels.iter().map(|panel| place(study, panel)).collect();
    let head = std::iter::once("method").chain(places.iter().map(String::as_str));
    let mut data = Data::new(&head.collect::<Vec<_>>());
    let mut row = |name: &str, cell: &dyn Fn(&Panel) -> String| {
        let cells = panels.iter().map(cell);
        data.row(std::iter::once(name.to_owned()).chain(cells).collect());
    };
    row("items", &|panel| panel.num_items.to_string());
    row("full attention's score", &|panel| {
        let mark = if panel.has_room { "" } else { "!" };
        format!("{}{mark}", percent(panel.full.mean))
    });
    let mut families: Vec<&str> = Vec::new();
    for curve in panels.iter().flat_map(|panel| &panel.curves) {
        if !families.contains(&curve.family.as_str()) {
            families.push(&curve.family);
            row(&curve.family, &|panel| cell(panel, &curve.family));
        }
    }
    let all: Vec<String> = panels.iter().flat_map(remarks).collect();
    let item = |note: &String| format!("<li>{}</li>\n", escape(note));
    let remarks: String = all.iter().map(item).collect();
    let remarks = if remarks.is_empty() {
        remarks
    } else {
        format!(
            "<details><summary>Notes</summary>\n<ul class=\"remarks\">\n{remarks}</ul>\n</details>\n"
        )
    };
    format!(
        "<p>The least KV footprint, in % of full attention's, that keeps {} % of its score, interpolated between the points tried; in brackets 95 % \
         intervals over items, drawn again {} times, the same ones for every method. Smaller is better. &lt;, &gt;: every, or no, footprint tried keeps the \
         score. ~: the score falls below the line and recovers; the figure is that of the last fall. !: full attention scores too little.</p>\n{}{remarks}",
        percent(study.keep),
        study.num_resamples,
        data.table()
    )
}

/// The task and length of a panel; its model and chunk length where there are several.
fn place(study: &Study, panel: &Panel) -> String {
    let mut place = format!("{} {}", panel.task, panel.length);
    let differs =
        |other: &Panel| (&other.model, other.chunk_len) != (&panel.model, panel.chunk_len);
    if study.panels.iter().any(differs) {
        place = format!("{place}, {} chunk {}", panel.model, panel.chunk_len);
    }
    place
}

/// The figure of one family, as on a terminal.
fn cell(panel: &Panel, family: &str) -> String {
    let curve = panel.curves.iter().find(|curve| curve.family == family);
    curve.map_or(String::new(), |curve| cell_of(curve.critical.as_ref()))
}

/// The notes of one panel, each with its place.
fn remarks(panel: &Panel) -> Vec<String> {
    let place = format!(
        "{} at {} tokens, chunk {}",
        panel.model, panel.length, panel.chunk_len
    );
    let notes = notes(panel).into_iter();
    notes
        .map(|note| format!("{place}: {}", note.text))
        .collect()
}
