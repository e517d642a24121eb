//! The heatmap as SVG for reports: labelled axes, a scale, a caption, and its numbers as CSV.

use super::heatmap::Heatmap;
use super::palette;
use std::fmt::Write;

const CELL: usize = 12;
const LEFT: usize = 46;
const TOP: usize = 30;
const SCALE_STEPS: u8 = 50;

/// Draws `heatmap` under `title` with `caption` below it; the same input gives the same bytes.
///
/// Text uses the colour of the page around it, so the picture reads on light and dark ground.
pub fn draw(heatmap: &Heatmap<'_>, title: &str, caption: &str) -> String {
    let grid_width = CELL * heatmap.num_kv_heads();
    let grid_height = CELL * heatmap.num_layers();
    let width =
        (LEFT + grid_width + 90).max(LEFT + 8 * caption.chars().count().max(title.chars().count()));
    let height = TOP + grid_height.max(4 * CELL) + 54;
    let mut svg = String::new();
    let (title, caption) = (escape(title), escape(caption));
    push(
        &mut svg,
        format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
         role=\"img\" font-family=\"sans-serif\" font-size=\"11\" fill=\"currentColor\">\n\
         <title>{title}</title>\n<desc>{caption}</desc>\n<metadata>\n{}</metadata>\n\
         <text x=\"{LEFT}\" y=\"14\" font-size=\"13\">{title}</text>",
            csv(heatmap)
        ),
    );
    cells(&mut svg, heatmap);
    axes(&mut svg, heatmap);
    scale(&mut svg, LEFT + grid_width + 16);
    push(
        &mut svg,
        format_args!(
            "<text x=\"{LEFT}\" y=\"{}\">{caption}</text>\n</svg>",
            height - 10
        ),
    );
    svg
}

fn cells(svg: &mut String, heatmap: &Heatmap<'_>) {
    for (layer, row) in heatmap.rows().enumerate() {
        for (kv_head, value) in row.iter().enumerate() {
            push(
                svg,
                format_args!(
                    "<rect x=\"{}\" y=\"{}\" width=\"{CELL}\" height=\"{CELL}\" fill=\"{}\">\
                 <title>layer {layer}, kv head {kv_head}: {value:.3}</title></rect>",
                    LEFT + CELL * kv_head,
                    TOP + CELL * layer,
                    palette::hex(*value),
                ),
            );
        }
    }
}

fn axes(svg: &mut String, heatmap: &Heatmap<'_>) {
    let bottom = TOP + CELL * heatmap.num_layers();
    for layer in ticks(heatmap.num_layers()) {
        let y = TOP + CELL * layer + 10;
        push(
            svg,
            format_args!(
                "<text x=\"{}\" y=\"{y}\" text-anchor=\"end\">{layer}</text>",
                LEFT - 4
            ),
        );
    }
    for kv_head in ticks(heatmap.num_kv_heads()) {
        let x = LEFT + CELL * kv_head + CELL / 2;
        push(
            svg,
            format_args!(
                "<text x=\"{x}\" y=\"{}\" text-anchor=\"middle\">{kv_head}</text>",
                bottom + 12
            ),
        );
    }
    let middle = TOP + CELL * heatmap.num_layers() / 2;
    push(
        svg,
        format_args!(
            "<text x=\"12\" y=\"{middle}\" text-anchor=\"middle\" transform=\"rotate(-90 12 {middle})\">layer</text>\n\
         <text x=\"{LEFT}\" y=\"{}\">kv head</text>",
            bottom + 26
        ),
    );
}

fn scale(svg: &mut String, x: usize) {
    for at in 0..SCALE_STEPS {
        let y = TOP + usize::from(SCALE_STEPS - 1 - at);
        let color = palette::hex((f32::from(at) + 0.5) / f32::from(SCALE_STEPS));
        push(
            svg,
            format_args!("<rect x=\"{x}\" y=\"{y}\" width=\"12\" height=\"1\" fill=\"{color}\"/>"),
        );
    }
    let (labels, bottom) = (x + 16, TOP + usize::from(SCALE_STEPS));
    push(
        svg,
        format_args!(
            "<text x=\"{labels}\" y=\"{}\">1 retrieval</text>\n<text x=\"{labels}\" y=\"{bottom}\">0 streaming</text>",
            TOP + 9
        ),
    );
}

/// At most about ten labels, at round numbers.
fn ticks(count: usize) -> impl Iterator<Item = usize> {
    let step = [1, 2, 5, 10, 20, 50]
        .into_iter()
        .find(|step| count <= 10 * step)
        .unwrap_or(100);
    (0..count).step_by(step)
}

fn csv(heatmap: &Heatmap<'_>) -> String {
    let mut csv = String::from("layer,kv_head,value");
    csv.push('\n');
    for (layer, row) in heatmap.rows().enumerate() {
        for (kv_head, value) in row.iter().enumerate() {
            push(&mut csv, format_args!("{layer},{kv_head},{value}"));
        }
    }
    csv
}

/// Appends one line; writing to a string cannot fail.
fn push(text: &mut String, line: std::fmt::Arguments<'_>) {
    let _ = writeln!(text, "{line}");
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drawing_is_stable_escaped_and_carries_its_numbers() {
        let values = [0.0, 0.5, 1.0, f32::NAN];
        let heatmap = Heatmap::new(2, 2, &values).unwrap();
        let svg = draw(&heatmap, "Gates <now>", "retrieval, 1 of 4");
        assert_eq!(svg, draw(&heatmap, "Gates <now>", "retrieval, 1 of 4"));
        assert!(svg.contains("<title>Gates &lt;now&gt;</title>"));
        assert!(svg.contains("layer,kv_head,value\n0,0,0\n0,1,0.5\n1,0,1\n1,1,NaN\n"));
        assert!(svg.contains("<title>layer 0, kv head 1: 0.500</title>"));
        assert_eq!(svg.matches("<rect").count(), 4 + usize::from(SCALE_STEPS));
        assert_eq!(svg.matches("<text").count(), svg.matches("</text>").count());
    }

    #[test]
    fn ticks_stay_few() {
        for count in [1, 8, 32, 80, 126, 1000] {
            assert!((1..=10).contains(&ticks(count).count()), "{count}");
        }
    }
}
