//! The answer in one table: critical footprints of families on tasks.

use super::data::Data;
use crate::eval::critical::lines::{figure, notes, percent};
use crate::eval::critical::study::{Panel, Study};
use crate::mask::heatmap_svg::escape;

/// The table with what its cells do not say.
pub(super) fn table(study: &Study) -> String {
    let mut families: Vec<&str> = Vec::new();
    for curve in study.panels.iter().flat_map(|panel| &panel.curves) {
        if !families.contains(&curve.family.as_str()) {
            families.push(&curve.family);
        }
    }
    let head = ["task", "model", "chunk", "length", "n", "full, %"];
    let head: Vec<&str> = head.into_iter().chain(families.iter().copied()).collect();
    let mut data = Data::new(&head);
    for panel in &study.panels {
        data.row(row(panel, &families));
    }
    let all: Vec<String> = study.panels.iter().flat_map(remarks).collect();
    let item = |note: &String| format!("<li>{}</li>\n", escape(note));
    let remarks: String = all.iter().map(item).collect();
    let remarks = if remarks.is_empty() {
        remarks
    } else {
        format!("<ul class=\"remarks\">\n{remarks}</ul>\n")
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

fn row(panel: &Panel, families: &[&str]) -> Vec<String> {
    let mark = if panel.has_room { "" } else { "!" };
    let mut cells = vec![
        panel.task.clone(),
        panel.model.clone(),
        panel.chunk_len.to_string(),
        panel.length.to_string(),
        panel.num_items.to_string(),
        format!("{}{mark}", percent(panel.full.mean)),
    ];
    for family in families {
        let curve = panel.curves.iter().find(|curve| curve.family == *family);
        let critical = curve.and_then(|curve| curve.critical.as_ref());
        cells.push(critical.map_or_else(
            || "-".to_owned(),
            |critical| {
                let dips = if critical.found.num_dips > 0 { "~" } else { "" };
                format!(
                    "{dips}{}",
                    figure(critical.found.last_crossing, &critical.interval)
                )
            },
        ));
    }
    cells
}

/// The notes of one panel, each with its place.
fn remarks(panel: &Panel) -> Vec<String> {
    let place = format!("{} tokens, chunk {}", panel.length, panel.chunk_len);
    let notes = notes(panel);
    notes
        .iter()
        .map(|note| format!("{place}: {}", note.trim_start_matches([' ', '~'])))
        .collect()
}
