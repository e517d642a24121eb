//! One figure of the page as a file of its own.

use super::footprint_panel::plot;
use super::looks::Looks;
use crate::eval::critical::study::{Panel, Study};

/// How shapes of figures look, here and on the page, and their colours.
pub(super) const STYLE: &str = include_str!("figure.css");

/// Score over KV footprint of `panel`, one of `study`: an SVG as on the page, with its style inside. The same results give the
/// same bytes.
pub fn picture(study: &Study, panel: &Panel) -> String {
    let plot = plot(panel, study.keep, &Looks::of(study));
    plot.drawing
        .finish_alone(&plot.title, &plot.description, &plot.data, STYLE)
}
