//! The plot of a figure: two axes, both from 0, and the places of values on them.

use super::drawing::Drawing;

/// Room left of the plot, for the numbers of its axis.
pub(super) const LEFT: f64 = 40.0;
/// Room right of it.
const RIGHT: f64 = 14.0;
/// Room above it, for the name of the upright axis.
pub(super) const TOP: f64 = 24.0;
/// Room below it, for the numbers and the name of the level axis.
const BOTTOM: f64 = 34.0;

/// An axis: its name, where it ends, and the values that are named along it.
pub(super) struct Axis {
    /// What it measures, with the unit.
    pub(super) name: String,
    /// The value at its far end; its near one is 0.
    pub(super) end: f64,
    /// Values with their texts.
    pub(super) ticks: Vec<(f64, String)>,
    /// Whether 0 is on the right.
    pub(super) reversed: bool,
}

/// Where values stand in a drawing.
pub(super) struct Axes {
    level: Axis,
    upright: Axis,
    width: f64,
    height: f64,
}

impl Axis {
    /// Shares in percent.
    pub(super) fn percent(name: &str, reversed: bool) -> Self {
        let ticks = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0];
        Self {
            name: name.to_owned(),
            end: 1.0,
            ticks: ticks.map(|at| (at, format!("{:.0}", 100.0 * at))).to_vec(),
            reversed,
        }
    }

    /// Counts up to `end`.
    pub(super) fn count(name: &str, end: f64) -> Self {
        let step = step(end);
        let mut ticks = Vec::new();
        let mut at = 0.0;
        while at <= end * 1.000_001 {
            ticks.push((at, count_text(at)));
            at += step;
        }
        Self {
            name: name.to_owned(),
            end,
            ticks,
            reversed: false,
        }
    }
}

impl Axes {
    /// Axes of a plot with so much room inside, in pixels.
    pub(super) fn new(level: Axis, upright: Axis, (width, height): (f64, f64)) -> Self {
        Self {
            level,
            upright,
            width,
            height,
        }
    }

    /// Width and height of everything.
    pub(super) fn size(&self) -> (f64, f64) {
        (LEFT + self.width + RIGHT, TOP + self.height + BOTTOM)
    }

    /// Width and height of the plot.
    pub(super) fn inside(&self) -> (f64, f64) {
        (self.width, self.height)
    }

    /// The place of a value along the level axis.
    pub(super) fn x(&self, value: f64) -> f64 {
        let share = value / self.level.end;
        let share = if self.level.reversed {
            1.0 - share
        } else {
            share
        };
        LEFT + share * self.width
    }

    /// The place of a value along the upright axis.
    pub(super) fn y(&self, value: f64) -> f64 {
        TOP + (1.0 - value / self.upright.end) * self.height
    }

    /// Draws ground, lines, numbers and names.
    pub(super) fn draw(&self, drawing: &mut Drawing) {
        let (right, bottom) = (LEFT + self.width, TOP + self.height);
        drawing.rect((LEFT, TOP), (self.width, self.height), "ground");
        for (value, text) in &self.upright.ticks {
            let y = self.y(*value);
            drawing.line((LEFT, y), (right, y), "grid");
            drawing.text((LEFT - 6.0, y + 4.0), "quiet end", text);
        }
        for (value, text) in &self.level.ticks {
            let x = self.x(*value);
            drawing.line((x, bottom), (x, bottom + 4.0), "tick");
            drawing.text((x, bottom + 16.0), "quiet middle", text);
        }
        drawing.text((LEFT - 34.0, TOP - 9.0), "quiet", &self.upright.name);
        drawing.text((right, bottom + 30.0), "quiet end", &self.level.name);
    }
}

/// A round step of which an axis up to `end` has three to seven.
fn step(end: f64) -> f64 {
    let power = 10f64.powf((end / 4.0).max(1.0).log10().floor());
    let fits = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power);
    fits.into_iter()
        .find(|step| end / step <= 5.5)
        .unwrap_or(end)
}

/// `512`, `4k`, `1.5k`: thousands, not 1,024s.
pub(super) fn count_text(count: f64) -> String {
    if count < 1000.0 {
        return format!("{count:.0}");
    }
    let thousands = format!("{:.1}", count / 1000.0);
    format!("{}k", thousands.trim_end_matches(".0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_have_few_round_numbers() {
        let texts = |end| -> Vec<String> {
            let axis = Axis::count("tokens", end);
            axis.ticks.into_iter().map(|(_, text)| text).collect()
        };
        assert_eq!(texts(512.0), ["0", "100", "200", "300", "400", "500"]);
        assert_eq!(texts(4096.0), ["0", "1k", "2k", "3k", "4k"]);
        assert_eq!(texts(131_072.0), ["0", "50k", "100k"]);
        for end in 1..3000 {
            let count = texts(f64::from(end)).len();
            assert!((2..=7).contains(&count), "{end}: {count}");
        }
    }

    #[test]
    fn values_stand_between_the_ends() {
        let axes = Axes::new(
            Axis::percent("x", true),
            Axis::percent("y", false),
            (100.0, 50.0),
        );
        assert_eq!((axes.x(1.0), axes.x(0.0)), (LEFT, LEFT + 100.0));
        assert_eq!((axes.y(1.0), axes.y(0.0)), (TOP, TOP + 50.0));
    }
}
