//! Score by length and depth: a small map for every method, full attention first.

use super::data::Data;
use super::drawing::Drawing;
use crate::eval::critical::lines::percent;
use crate::eval::results::{Results, TaskInfo, TaskResult};
use crate::eval::table::{Column, columns};
use crate::mask::heatmap_svg::escape;
use crate::real::real;

/// Width and height of a cell.
const CELL: (f64, f64) = (38.0, 22.0);
/// Room left of the cells and above them.
const EDGE: (f64, f64) = (36.0, 20.0);
/// Width of a letter in names, about.
const LETTER: f64 = 6.6;
/// Steps of the colour scale.
const STEPS: u8 = 20;

/// The maps of one task with their numbers; nothing where there is a single cell.
pub(super) fn figure(results: &Results, task: &TaskResult) -> Option<String> {
    let grid = &results.provenance.grid;
    let depths = task.task.depths(grid);
    if grid.lengths.len() * depths.len() < 2 {
        return None;
    }
    let columns = columns(&task.methods);
    let mut data = Data::new(&["method", "length", "depth", "score, %"]);
    let mut maps = String::new();
    for column in &columns {
        let map = Map {
            lengths: &grid.lengths,
            depths,
            task: &task.task,
            column,
        };
        maps.push_str(&map.draw());
        map.tell(&mut data);
    }
    let name = escape(&task.task.name);
    Some(format!(
        "<figure>\n<h4>{name} by length and depth</h4>\n<div class=\"maps\">\n{maps}</div>\n<figcaption>{}, {}, %: length in tokens to the right, depth of the \
         answer in the text downwards (0 = its beginning). Of several masks of one size, the mean.</figcaption>\n{}</figure>\n",
        task.task.title(),
        task.task.headline.name(),
        data.folded()
    ))
}

/// One method's map.
struct Map<'a> {
    lengths: &'a [usize],
    depths: &'a [f64],
    task: &'a TaskInfo,
    column: &'a Column<'a>,
}

impl Map<'_> {
    fn draw(&self) -> String {
        let (cell_width, cell_height) = CELL;
        let (left, top) = EDGE;
        let title = self.column.title();
        let cells_width = left + cell_width * real(self.lengths.len()) + 2.0;
        let width = cells_width.max(LETTER * real(title.len()));
        let height = top + cell_height * real(self.depths.len()) + 18.0;
        let mut drawing = Drawing::new(width, height);
        drawing.text((0.0, 13.0), "map-name", &title);
        for (row, depth) in self.depths.iter().enumerate() {
            let y = top + cell_height * real(row);
            drawing.text((left - 5.0, y + 15.0), "quiet end", &format!("{depth:.2}"));
            for (place, length) in self.lengths.iter().enumerate() {
                let corner = (left + cell_width * real(place), y);
                self.cell(&mut drawing, corner, (*length, row));
            }
        }
        for (place, length) in self.lengths.iter().enumerate() {
            let x = left + cell_width * (real(place) + 0.5);
            drawing.text((x, height - 5.0), "quiet middle", &length.to_string());
        }
        let mut data = Data::new(&["method", "length", "depth", "score, %"]);
        self.tell(&mut data);
        let description = format!("{} with {title}, by length and depth", self.task.name);
        drawing.finish(&title, &description, &data)
    }

    fn cell(&self, drawing: &mut Drawing, (x, y): (f64, f64), at: (usize, usize)) {
        let (width, height) = (CELL.0 - 1.0, CELL.1 - 1.0);
        let Some(score) = self.score(at) else {
            drawing.rect((x, y), (width, height), "ground");
            return;
        };
        let step = (score * f64::from(STEPS)).round();
        drawing.rect((x, y), (width, height), &format!("h{step}"));
        let ink = if step < 12.0 { "on-dark" } else { "on-light" };
        let text = format!("{:.0}", 100.0 * score);
        drawing.text((x + width / 2.0, y + 15.0), &format!("{ink} middle"), &text);
    }

    fn score(&self, (length, depth_index): (usize, usize)) -> Option<f64> {
        let at = (length, depth_index);
        self.column
            .at_cell(self.task.metric, self.task.headline, at)
    }

    fn tell(&self, data: &mut Data) {
        for (row, depth) in self.depths.iter().enumerate() {
            for length in self.lengths {
                let score = self.score((*length, row));
                data.row(vec![
                    self.column.title(),
                    length.to_string(),
                    format!("{depth:.2}"),
                    score.map_or(String::new(), percent),
                ]);
            }
        }
    }
}

/// Colours of the scale's steps, as rules of a style sheet.
pub(super) fn style() -> String {
    let rule = |step: u8| {
        let [red, green, blue] = crate::metrics::palette::color(f32::from(step) / f32::from(STEPS));
        format!(".h{step}{{fill:#{red:02x}{green:02x}{blue:02x}}}")
    };
    (0..=STEPS).map(rule).collect()
}
