//! A head mask as an SVG picture: layers x kv heads, the span of streaming heads, and every gate as a shade.
//!
//! # Decisions
//! - The kind of a head is a shape *and* a hue (square and blue, dot and orange): it survives grey printing and every kind of
//!   colour vision. `log_alpha` is ink, from faint to full, on one scale for both kinds.
//! - The longer of the two axes runs to the right, so that 32 layers x 8 kv heads fit a page as well as 4 x 8 do.
//! - The picture brings its own ground and follows a dark page only where the viewer says so; it asks for no font.
//! - It embeds its numbers as CSV.
//!
//! **Invariant:** a pure function; the same mask gives the same bytes.

mod layout;

use crate::mask::head_mask::HeadMask;
use crate::real::real;
use crate::span::Span;
use layout::{Layout, PAD};
use std::fmt::Write;

/// Colours by class, for a light and for a dark page.
const STYLE: &str = "\
.head-mask .card{fill:#ffffff;stroke:#d1d9e0}.head-mask .ground{fill:#f2f4f7}\
.head-mask text{fill:#1f2328;font:12px sans-serif}.head-mask .title{font-size:16px;font-weight:bold}\
.head-mask .quiet{fill:#59636e;font-size:11px}.head-mask .end{text-anchor:end}.head-mask .middle{text-anchor:middle}\
.head-mask .retrieval{fill:#0a5fb4}.head-mask .streaming{fill:#d9730d}\n\
@media (prefers-color-scheme:dark){.head-mask .card{fill:#0d1117;stroke:#3d444d}.head-mask .ground{fill:#1a212b}\
.head-mask text{fill:#f0f6fc}.head-mask .quiet{fill:#9198a1}\
.head-mask .retrieval{fill:#5cb8ff}.head-mask .streaming{fill:#f0983a}}";

/// Ink of the lowest gate; the highest has 1.
const FAINT: f64 = 0.3;
/// Longest model name shown whole; the picture's `<title>` has all of it.
const NAME_LEN: usize = 36;
/// Marks of each kind in the legend's shade.
const SHADES: usize = 4;

/// What a picture shows.
#[derive(Debug, Clone, Copy)]
pub struct Picture<'a> {
    /// The mask.
    pub mask: &'a HeadMask,
    /// Learned gates, row-major like the mask; without them every mark has full ink.
    pub log_alpha: Option<&'a [f32]>,
    /// The model's name, any text.
    pub model: &'a str,
    /// What a streaming head sees.
    pub span: Span,
}

/// Draws the picture.
pub fn draw(picture: &Picture<'_>) -> String {
    let layout = Layout::of(picture.mask);
    let mut svg = Svg::default();
    head(&mut svg, picture, &layout);
    grid(&mut svg, picture, &layout);
    axes(&mut svg, picture.mask, &layout);
    legend(&mut svg, picture, &layout);
    svg.line("</svg>");
    svg.0
}

/// Lines of a drawing; writing to a string cannot fail.
#[derive(Default)]
struct Svg(String);

impl Svg {
    fn line(&mut self, text: impl std::fmt::Display) {
        let _ = writeln!(self.0, "{text}");
    }

    /// `class` holds class names separated by blanks, or nothing.
    fn text(&mut self, (x, y): (usize, usize), class: &str, text: &str) {
        let text = escape(text);
        let class = if class.is_empty() {
            String::new()
        } else {
            format!(" class=\"{class}\"")
        };
        self.line(format_args!(
            "<text x=\"{x}\" y=\"{y}\"{class}>{text}</text>"
        ));
    }

    /// Marks of one kind, all of its colour.
    fn group(&mut self, kind: Kind, marks: impl Iterator<Item = String>) {
        self.line(format_args!("<g class=\"{}\">", kind.name()));
        marks.for_each(|mark| self.line(mark));
        self.line("</g>");
    }
}

/// The two shapes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Retrieval,
    Streaming,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Retrieval => "retrieval",
            Self::Streaming => "streaming",
        }
    }

    /// The mark in the square of side `pitch` at (`x`, `y`); `note` is shown under a pointer.
    fn mark(self, (x, y): (usize, usize), pitch: usize, ink: f64, note: &str) -> String {
        let (name, shape) = match self {
            Self::Retrieval => {
                let gap = if pitch < 10 { 1 } else { 2 };
                let (side, inset) = (pitch - gap, real(gap) / 2.0);
                let (x, y) = (tenths(real(x) + inset), tenths(real(y) + inset));
                let round = tenths(real(side) * 0.15);
                let square = format!(
                    "x=\"{x}\" y=\"{y}\" width=\"{side}\" height=\"{side}\" rx=\"{round}\""
                );
                ("rect", square)
            }
            Self::Streaming => {
                let half = real(pitch) / 2.0;
                let (x, y) = (tenths(real(x) + half), tenths(real(y) + half));
                let radius = tenths(real(pitch) * 0.21);
                ("circle", format!("cx=\"{x}\" cy=\"{y}\" r=\"{radius}\""))
            }
        };
        let ink = hundredths(ink);
        let opacity = if ink < 1.0 {
            format!(" opacity=\"{ink}\"")
        } else {
            String::new()
        };
        if note.is_empty() {
            format!("<{name} {shape}{opacity}/>")
        } else {
            format!("<{name} {shape}{opacity}><title>{note}</title></{name}>")
        }
    }
}

fn head(svg: &mut Svg, picture: &Picture<'_>, layout: &Layout) {
    let Layout { width, height, .. } = layout;
    let mask = picture.mask;
    let (kept, all) = (mask.num_retrieval(), mask.flags().len());
    let counts = format!(
        "{kept} of {all} kv heads keep the whole cache: sparsity {}",
        mask.sparsity()
    );
    svg.line(format_args!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"head-mask\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\" role=\"img\">"
    ));
    svg.line(format_args!(
        "<title>Head mask of {}</title>",
        escape(picture.model)
    ));
    svg.line(format_args!(
        "<desc>{} layers x {} kv heads; {counts}; the others keep {}, block {}</desc>",
        mask.num_layers(),
        mask.num_kv_heads(),
        lengths(picture.span),
        picture.span.block_len()
    ));
    svg.line(format_args!("<metadata>\n{}</metadata>", csv(picture)));
    svg.line(format_args!("<style>\n{STYLE}\n</style>"));
    svg.line(format_args!(
        "<rect class=\"card\" x=\"0.5\" y=\"0.5\" width=\"{}\" height=\"{}\" rx=\"8\"/>",
        width - 1,
        height - 1
    ));
    svg.text(
        (PAD, 32),
        "title",
        &format!("Head mask of {}", shortened(picture.model)),
    );
    svg.text((PAD, 52), "", &counts);
}

fn grid(svg: &mut Svg, picture: &Picture<'_>, layout: &Layout) {
    let ((x, y), (width, height)) = (layout.grid, layout.grid_size());
    svg.line(format_args!(
        "<rect class=\"ground\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"3\"/>"
    ));
    for kind in [Kind::Retrieval, Kind::Streaming] {
        svg.group(kind, marks(picture, layout, kind));
    }
}

fn marks<'a>(
    picture: &'a Picture<'_>,
    layout: &'a Layout,
    kind: Kind,
) -> impl Iterator<Item = String> + 'a {
    let range = picture.log_alpha.map(range);
    let width = picture.mask.num_kv_heads();
    let flags = picture.mask.flags().iter().enumerate();
    let wanted = flags.filter(move |(_, flag)| **flag == (kind == Kind::Retrieval));
    wanted.map(move |(index, _)| {
        let (layer, kv_head) = (index / width, index % width);
        let mut note = format!("layer {layer}, kv head {kv_head}");
        let mut ink = 1.0;
        if let (Some(gate), Some(range)) = (picture.gate(index), range) {
            let _ = write!(note, ", log_alpha {gate:.2}");
            ink = ink_of(gate, range);
        }
        kind.mark(layout.corner(layer, kv_head), layout.pitch, ink, &note)
    })
}

impl Picture<'_> {
    /// The gate of one head, counted row by row.
    fn gate(&self, index: usize) -> Option<f32> {
        self.log_alpha?.get(index).copied()
    }
}

/// Numbers along both axes, their names, and how many retrieval heads each layer has.
fn axes(svg: &mut Svg, mask: &HeadMask, layout: &Layout) {
    let (left, top) = layout.grid;
    let (width, height) = layout.grid_size();
    let half = layout.pitch / 2;
    let (below, beside) = (top + height + 14, left - 6);
    for at in layout::ticks(layout.cols, layout.pitch, 20) {
        let x = left + layout.pitch * at + half;
        svg.text((x, below), "quiet middle", &at.to_string());
    }
    for at in layout::ticks(layout.rows, layout.pitch, 12) {
        let y = top + layout.pitch * at + half + 4;
        svg.text((beside, y), "quiet end", &at.to_string());
    }
    let [right_name, down_name] = if layout.layers_down {
        ["kv head", "layer"]
    } else {
        ["layer", "kv head"]
    };
    svg.text((left + width / 2, below + 15), "quiet middle", right_name);
    let (x, y) = (PAD + 8, top + height / 2);
    svg.line(format_args!(
        "<text x=\"{x}\" y=\"{y}\" class=\"quiet middle\" transform=\"rotate(-90 {x} {y})\">{down_name}</text>"
    ));
    if layout.pitch < layout::PITCH_OF_COUNTS {
        return;
    }
    let kept = |layer: usize| {
        mask.layer(layer)
            .iter()
            .filter(|flag| **flag)
            .count()
            .to_string()
    };
    for layer in 0..mask.num_layers() {
        let (x, y) = layout.corner(layer, 0);
        let at = if layout.layers_down {
            (left + width + 14, y + half + 4)
        } else {
            (x + half, top - 7)
        };
        svg.text(at, "quiet middle", &kept(layer));
    }
    if layout.layers_down {
        svg.text((left + width + 14, top - 7), "quiet middle", "kept");
    } else {
        svg.text((beside, top - 7), "quiet end", "kept");
    }
}

fn legend(svg: &mut Svg, picture: &Picture<'_>, layout: &Layout) {
    const SIDE: usize = 14;
    let mask = picture.mask;
    let [retrieval, streaming, shade] = layout.legend;
    let (kept, streaming_count) = (mask.num_retrieval(), mask.num_streaming());
    let kinds = [
        (
            retrieval,
            Kind::Retrieval,
            kept,
            "keep the whole cache".to_owned(),
        ),
        (
            streaming,
            Kind::Streaming,
            streaming_count,
            lengths(picture.span),
        ),
    ];
    for ((x, y), kind, count, keeps) in kinds {
        svg.group(kind, std::iter::once(kind.mark((x, y), SIDE, 1.0, "")));
        svg.text((x + 20, y + 11), "", &format!("{count} {}", kind.name()));
        svg.text((x + 20, y + 27), "quiet", &keeps);
    }
    let Some(range) = picture.log_alpha.map(range) else {
        return;
    };
    let (x, y) = shade;
    for (kind, steps) in [
        (Kind::Streaming, 0..SHADES),
        (Kind::Retrieval, SHADES..2 * SHADES),
    ] {
        let ink = |step| FAINT + (1.0 - FAINT) * real(step) / real(2 * SHADES - 1);
        svg.group(
            kind,
            steps.map(|step| kind.mark((x + SIDE * step, y), SIDE, ink(step), "")),
        );
    }
    let ends = format!("log_alpha {} to {}", signed(range.0), signed(range.1));
    svg.text((x, y + 27), "quiet", &ends);
}

/// What a streaming head keeps.
fn lengths(span: Span) -> String {
    format!("sink {}, window {}", span.sink_len(), span.window_len())
}

/// Lowest and highest gate.
fn range(gates: &[f32]) -> (f32, f32) {
    let ends = (f32::INFINITY, f32::NEG_INFINITY);
    gates
        .iter()
        .fold(ends, |(low, high), gate| (low.min(*gate), high.max(*gate)))
}

/// Ink of a gate between [`FAINT`] and 1; equal gates all have 1.
fn ink_of(gate: f32, (low, high): (f32, f32)) -> f64 {
    let width = f64::from(high) - f64::from(low);
    if width > 0.0 {
        FAINT + (1.0 - FAINT) * (f64::from(gate) - f64::from(low)) / width
    } else {
        1.0
    }
}

fn csv(picture: &Picture<'_>) -> String {
    let mut csv = String::from("layer,kv_head,retrieval,log_alpha\n");
    let width = picture.mask.num_kv_heads();
    for (index, retrieval) in picture.mask.flags().iter().enumerate() {
        let gate = picture.gate(index);
        let gate = gate.map_or_else(String::new, |gate| gate.to_string());
        let (layer, kv_head) = (index / width, index % width);
        let _ = writeln!(csv, "{layer},{kv_head},{},{gate}", u8::from(*retrieval));
    }
    csv
}

fn shortened(name: &str) -> String {
    if name.chars().count() <= NAME_LEN {
        return name.to_owned();
    }
    name.chars().take(NAME_LEN - 1).chain(['…']).collect()
}

/// One decimal, with a real minus sign.
fn signed(value: f32) -> String {
    format!("{value:.1}").replace('-', "−")
}

fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

fn hundredths(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// Text of an element: markup escaped, and what XML does not allow replaced.
pub fn escape(text: &str) -> String {
    let text = text
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;");
    let allowed = |c: char| !(c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}'));
    text.chars()
        .map(|c| {
            if allowed(c) {
                c
            } else {
                char::REPLACEMENT_CHARACTER
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GATES: [f32; 8] = [-4.0, 0.5, 6.25, -1.0, 2.0, -3.5, 0.0, 4.0];

    fn mask(num_layers: usize, num_kv_heads: usize) -> HeadMask {
        let flags = (0..num_layers * num_kv_heads).map(|index| GATES[index % 8] > 0.25);
        HeadMask::new(num_layers, num_kv_heads, flags.collect()).unwrap()
    }

    fn picture<'a>(mask: &'a HeadMask, log_alpha: Option<&'a [f32]>) -> Picture<'a> {
        Picture {
            mask,
            log_alpha,
            model: "tiny",
            span: Span::new(16, 64, 1).unwrap(),
        }
    }

    #[test]
    fn a_small_picture_is_what_it_was() {
        let mask = mask(2, 4);
        let svg = draw(&picture(&mask, Some(&GATES)));
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path("../../tests/snapshots");
        settings.set_prepend_module_to_snapshot(false);
        settings.bind(|| insta::assert_snapshot!("heatmap", svg));
    }

    #[test]
    fn every_head_is_drawn_once_in_the_shape_of_its_kind() {
        for (num_layers, num_kv_heads) in [(1, 1), (4, 8), (32, 8), (32, 32), (80, 8), (3, 100)] {
            let mask = mask(num_layers, num_kv_heads);
            let svg = draw(&picture(&mask, None));
            let notes = |name: &str| svg.matches(&format!("</title></{name}>")).count();
            assert_eq!(notes("rect"), mask.num_retrieval());
            assert_eq!(notes("circle"), mask.num_streaming());
            assert!(!svg.contains("opacity="), "nothing to shade");
            let kept = format!(">{} retrieval<", mask.num_retrieval());
            assert!(svg.contains(&kept), "{kept}");
        }
    }

    #[test]
    fn ink_follows_the_gates_and_equal_gates_are_not_faint() {
        let ends = range(&GATES);
        assert_eq!(ends, (-4.0, 6.25));
        assert!((ink_of(-4.0, ends) - FAINT).abs() < 1e-12);
        assert!((ink_of(6.25, ends) - 1.0).abs() < 1e-12);
        assert!((ink_of(1.125, ends) - 0.65).abs() < 1e-12);
        assert!((ink_of(2.0, (2.0, 2.0)) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn any_name_gives_sound_markup() {
        let mask = mask(2, 4);
        let name = "a<b>&\"c\u{1}".repeat(9);
        let svg = draw(&Picture {
            model: &name,
            ..picture(&mask, None)
        });
        assert!(svg.contains("<title>Head mask of a&lt;b&gt;&amp;\"c\u{fffd}a&lt;b"));
        assert!(svg.contains("…</text>") && !svg.contains('\u{1}'));
        assert_eq!(svg.matches("<text").count(), svg.matches("</text>").count());
    }

    #[test]
    fn the_numbers_travel_with_the_picture() {
        let mask = mask(2, 4);
        let svg = draw(&picture(&mask, Some(&GATES)));
        assert!(svg.contains("layer,kv_head,retrieval,log_alpha\n0,0,0,-4\n0,1,1,0.5\n"));
        assert!(svg.contains("\n1,3,1,4\n</metadata>"));
        assert!(csv(&picture(&mask, None)).contains("\n1,3,1,\n"));
    }
}
