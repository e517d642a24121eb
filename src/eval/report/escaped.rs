//! Any text as HTML and SVG take it.

use crate::mask::heatmap_svg::escape;

/// Text of several lines: markup escaped, what XML does not allow replaced, line feeds kept.
pub(super) fn escape_lines(text: &str) -> String {
    text.split('\n').map(escape).collect::<Vec<_>>().join("\n")
}
