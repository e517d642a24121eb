//! Memory over time: how many entries a kv head holds for every token that is read and written, by method. The area below a
//! line, as a share of that below full attention's, is the KV footprint.

use super::axes::{Axes, Axis, LEFT, TOP};
use super::data::Data;
use super::drawing::Drawing;
use super::looks::{Look, Looks};
use crate::eval::critical::family::{Family, families};
use crate::eval::held::holdings;
use crate::eval::item_result::ItemResult;
use crate::eval::method::MethodKind;
use crate::eval::results::{Part, TaskResult};
use crate::eval::table::Column;
use crate::footprint::holdings::Holdings;
use crate::footprint::rent::Corner;
use crate::footprint::workload::{Convention, Workload};
use crate::mask::heatmap_svg::escape;

/// Width and height of a plot.
const PLOT: (f64, f64) = (266.0, 150.0);
/// Most corners of a line: with more, teeth are no longer seen, and neighbouring ones are drawn as one of the same area.
const MOST_CORNERS: usize = 240;
/// Room between the names of two lines.
const NAME_GAP: f64 = 11.0;

/// A plot for every family on the longest item of the first task; nothing where no item was answered.
pub(super) fn figure(part: &Part, looks: &Looks) -> Option<String> {
    let task = part.tasks.first()?;
    let item = longest(task)?;
    let workload = workload(item)?;
    let mut plots = String::new();
    // Random masks hold as much as the masks whose sizes they have.
    for family in families(&task.methods) {
        if family.kind != MethodKind::Random {
            plots.push_str(&plot(part, &family, &workload, looks.get(&family.name)));
        }
    }
    let bytes = 2 * part.model.shape.head_dim;
    (!plots.is_empty()).then(|| {
        format!(
            "<figure>\n<h4>What is held, token by token</h4>\n<div class=\"plots\">\n{plots}</div>\n<figcaption>Entries of one kv head (a key and a \
             value: {bytes} numbers) that each token of an item of {} tokens could attend to, on average over all {} kv heads, by the formula that the \
             caches are checked against; chunks of {} tokens. Dashed: full attention. The area below a line, over that below the dashed one, is its \
             KV footprint.</figcaption>\n</figure>\n",
            workload.total_len(),
            part.model.shape.num_gates(),
            part.chunk_len
        )
    })
}

/// An answer of full attention to one of the longest items.
fn longest(task: &TaskResult) -> Option<&ItemResult> {
    let mut methods = task.methods.iter();
    let full = methods.find(|method| method.kind == MethodKind::Full)?;
    let answered = full.items.iter().filter(|item| item.error.is_none());
    // Of equal ones the first, as `max_by_key` returns the last.
    answered
        .rev()
        .max_by_key(|item| item.tokens.prompt + item.tokens.output)
}

fn workload(item: &ItemResult) -> Option<Workload> {
    let tokens = item.tokens;
    let workload = if item.query_agnostic {
        let asked_len = tokens.question + tokens.cue;
        let context_len = tokens.prompt.checked_sub(asked_len)?;
        Workload::query_agnostic(context_len, asked_len, tokens.output, item.chunk_len)
    } else {
        Workload::new(
            tokens.prompt,
            tokens.output,
            item.chunk_len,
            Convention::Counted,
        )
    };
    workload.ok()
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52 tokens")]
fn plot(part: &Part, family: &Family<'_>, workload: &Workload, look: Look) -> String {
    let end = workload.total_len() as f64;
    let axes = Axes::new(
        Axis::count("tokens read and written", end),
        Axis::count("entries held", end),
        PLOT,
    );
    let (width, height) = axes.size();
    let mut drawing = Drawing::new(width, height);
    axes.draw(&mut drawing);
    let line = |corners: &[Corner]| -> Vec<(f64, f64)> {
        let point = |corner: &Corner| (axes.x(corner.query as f64 + 1.0), axes.y(corner.held));
        corners.iter().map(point).collect()
    };
    let full = line(&Holdings::All.rent(workload, MOST_CORNERS));
    drawing.path(&full, "baseline");
    let mut data = Data::new(&["method", "tokens", "entries held"]);
    let mut names: Vec<(f64, String)> = Vec::new();
    let settings = family.settings.iter();
    for (title, held) in settings.filter_map(|setting| {
        let method = setting.methods().first()?;
        Some((setting.title(), holdings(part, method)?))
    }) {
        let corners = held.rent(workload, MOST_CORNERS);
        let points = line(&corners);
        drawing.path(&points, &format!("curve {}", look.class));
        let share = held.predict(workload).kv_footprint;
        let height = points.last().map_or(0.0, |(_, y)| *y);
        names.push((height, format!("{title}: {:.0} %", 100.0 * share)));
        for corner in corners {
            data.row(vec![
                title.clone(),
                (corner.query + 1).to_string(),
                format!("{:.1}", corner.held),
            ]);
        }
    }
    label(&mut drawing, names);
    let title = format!("What {} holds, token by token", family.name);
    let titles: Vec<String> = family.settings.iter().map(Column::title).collect();
    let svg = drawing.finish(&title, &format!("Lines of {}.", titles.join(", ")), &data);
    let name = escape(&family.name);
    format!("<figure>\n<h5>{name}</h5>\n{svg}</figure>\n")
}

/// Writes the names in the empty corner above the lines, in the order of their ends.
fn label(drawing: &mut Drawing, mut names: Vec<(f64, String)>) {
    names.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    let mut y = TOP + 13.0;
    for (_, name) in names {
        drawing.text((LEFT + 6.0, y), "small", &name);
        y += NAME_GAP;
    }
}
