//! An inline SVG while it is drawn: shapes by class, whose colours are the page's.

use super::data::Data;
use super::escaped::escape_lines;
use crate::mask::heatmap_svg::escape;
use std::fmt::{Display, Write};

/// A drawing of a fixed size that scales with its place on the page.
pub(super) struct Drawing {
    width: f64,
    height: f64,
    body: String,
}

impl Drawing {
    /// An empty drawing.
    pub(super) fn new(width: f64, height: f64) -> Self {
        Self {
            width,
            height,
            body: String::new(),
        }
    }

    fn line_of(&mut self, text: impl Display) {
        let _ = writeln!(self.body, "{text}");
    }

    /// A rectangle by its corner and size.
    pub(super) fn rect(&mut self, (x, y): (f64, f64), (width, height): (f64, f64), class: &str) {
        let [x, y, width, height] = [x, y, width, height].map(px);
        self.line_of(format_args!(
            "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" class=\"{class}\"/>"
        ));
    }

    /// A straight line.
    pub(super) fn line(&mut self, from: (f64, f64), to: (f64, f64), class: &str) {
        self.path(&[from, to], class);
    }

    /// Straight lines through `points`.
    pub(super) fn path(&mut self, points: &[(f64, f64)], class: &str) {
        let mut path = String::new();
        for (place, (x, y)) in points.iter().enumerate() {
            let command = if place == 0 { 'M' } else { 'L' };
            let _ = write!(path, "{command}{} {}", px(*x), px(*y));
        }
        self.line_of(format_args!("<path d=\"{path}\" class=\"{class}\"/>"));
    }

    /// A mark at `at`, with a note under the pointer.
    pub(super) fn mark(&mut self, at: (f64, f64), mark: Mark, class: &str, note: &str) {
        let path = mark.path(at, 4.0);
        let note = if note.is_empty() {
            String::new()
        } else {
            format!("<title>{}</title>", escape(note))
        };
        self.line_of(format_args!(
            "<path d=\"{path}\" class=\"mark {class}\">{note}</path>"
        ));
    }

    /// Text whose class says where `at` is in it.
    pub(super) fn text(&mut self, (x, y): (f64, f64), class: &str, text: &str) {
        let (x, y, text) = (px(x), px(y), escape(text));
        self.line_of(format_args!(
            "<text x=\"{x}\" y=\"{y}\" class=\"{class}\">{text}</text>"
        ));
    }

    /// The element: what it shows for those who do not see it, its numbers as CSV, the drawing.
    pub(super) fn finish(self, title: &str, description: &str, data: &Data) -> String {
        self.element(title, description, data, "")
    }

    /// The same as a file of its own, which needs no page: with `style` inside, on a ground.
    pub(super) fn finish_alone(
        self,
        title: &str,
        description: &str,
        data: &Data,
        style: &str,
    ) -> String {
        let start = format!(
            "<style>\n{style}</style>\n<rect width=\"100%\" height=\"100%\" class=\"page\"/>\n"
        );
        self.element(title, description, data, &start)
    }

    fn element(self, title: &str, description: &str, data: &Data, start: &str) -> String {
        let (width, height) = (px(self.width), px(self.height));
        let [title, description, csv] = [title, description, &data.csv()].map(escape_lines);
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
             role=\"img\">\n<title>{title}</title>\n<desc>{description}</desc>\n<metadata>\n{csv}</metadata>\n{start}{}</svg>\n",
            self.body
        )
    }
}

/// Shapes that tell families apart without colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    Circle,
    Square,
    Triangle,
    Diamond,
    Wedge,
    Cross,
}

impl Mark {
    /// Its outline around `at`, about `size` to each side.
    pub(super) fn path(self, (x, y): (f64, f64), size: f64) -> String {
        let at = |dx: f64, dy: f64| format!("{} {}", px(x + dx * size), px(y + dy * size));
        match self {
            Self::Circle => {
                let r = px(size);
                format!(
                    "M{}a{r} {r} 0 1 0 {} 0a{r} {r} 0 1 0 -{} 0z",
                    at(-1.0, 0.0),
                    px(2.0 * size),
                    px(2.0 * size)
                )
            }
            Self::Square => format!(
                "M{}L{}L{}L{}z",
                at(-0.9, -0.9),
                at(0.9, -0.9),
                at(0.9, 0.9),
                at(-0.9, 0.9)
            ),
            Self::Triangle => format!("M{}L{}L{}z", at(0.0, -1.1), at(1.1, 0.9), at(-1.1, 0.9)),
            Self::Diamond => format!(
                "M{}L{}L{}L{}z",
                at(0.0, -1.3),
                at(1.1, 0.0),
                at(0.0, 1.3),
                at(-1.1, 0.0)
            ),
            Self::Wedge => format!("M{}L{}L{}z", at(-1.1, -0.9), at(1.1, -0.9), at(0.0, 1.1)),
            Self::Cross => format!(
                "M{}L{}M{}L{}",
                at(-0.9, -0.9),
                at(0.9, 0.9),
                at(-0.9, 0.9),
                at(0.9, -0.9)
            ),
        }
    }
}

/// A coordinate in tenths of a pixel.
pub(super) fn px(value: f64) -> f64 {
    (value * 10.0).round() / 10.0 + 0.0
}
