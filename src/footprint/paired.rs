//! How sure a critical KV footprint is: the paired bootstrap.
//!
//! Items are drawn with replacement, the same ones for full attention, for every point of a curve and for every method, and
//! the curve's crossing is found again. What is easy for all is then easy in all, and differences between methods are not
//! blurred by which items there were.
//!
//! **Invariant:** the same task, items and scores give the same interval.

use super::critical::{CriticalError, CriticalFootprint, Crossing, ScoredFootprint, critical};
use crate::random;
use std::cmp::Ordering;

/// Times items are drawn again.
pub const NUM_RESAMPLES: usize = 1000;

/// Share of resamples on each side of an interval.
const TAIL: usize = NUM_RESAMPLES / 40;

/// One setting of a method on every item, in the order of all others.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Series {
    /// KV footprint of each item.
    pub kv_footprints: Vec<f64>,
    /// Score of each item.
    pub scores: Vec<f64>,
}

/// Draws of items, the same for whatever is compared on one task.
#[derive(Debug, Clone)]
pub struct Draws {
    num_items: usize,
    draws: Vec<Vec<usize>>,
}

/// A range that holds 95 % of the resamples.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Interval<T> {
    /// 2.5th percentile.
    pub low: T,
    /// 97.5th percentile.
    pub high: T,
}

/// A critical footprint, and what the resamples make of it.
#[derive(Debug, Clone)]
pub struct Estimate {
    /// Of all items.
    pub found: CriticalFootprint,
    last_crossings: Vec<Crossing>,
    first_crossings: Vec<Crossing>,
}

/// By how much one critical footprint differs from another: a number, or all that the bounds leave of it. JSON says `null` for
/// an end that nothing bounds.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Range {
    /// The least it can be; minus infinity if nothing bounds it.
    pub low: f64,
    /// The most it can be; infinity if nothing bounds it.
    pub high: f64,
}

impl Draws {
    /// Draws the items of `task`, named by it and by their number.
    pub fn new(task: &str, num_items: usize) -> Self {
        let purpose = format!("critical footprint of {task}");
        let mut rng = random::stream(&purpose, &[num_items as u64]);
        let mut draw = || {
            let items = 0..num_items;
            items
                .map(|_| random::index_below(&mut rng, num_items))
                .collect()
        };
        Self {
            num_items,
            draws: (0..NUM_RESAMPLES).map(|_| draw()).collect(),
        }
    }

    /// The critical footprint of `points` at the share `keep` of what full attention scores, `full` item by item.
    ///
    /// # Errors
    /// [`CriticalError`] without points, with a number that is not finite, or with other items than `full` and these draws have.
    pub fn estimate(
        &self,
        full: &[f64],
        points: &[Series],
        keep: f64,
    ) -> Result<Estimate, CriticalError> {
        let lens = points
            .iter()
            .flat_map(|of| [of.scores.len(), of.kv_footprints.len()]);
        let mut lens = std::iter::once(full.len()).chain(lens);
        if let Some(found) = lens.find(|len| *len != self.num_items) {
            let expected = self.num_items;
            return Err(CriticalError::Unpaired { expected, found });
        }
        let of = |draw: Option<&[usize]>| {
            let point = |series: &Series| ScoredFootprint {
                kv_footprint: mean(&series.kv_footprints, draw),
                score: mean(&series.scores, draw),
            };
            let curve: Vec<ScoredFootprint> = points.iter().map(point).collect();
            critical(&curve, keep * mean(full, draw))
        };
        let found = of(None)?;
        let mut last_crossings = Vec::with_capacity(NUM_RESAMPLES);
        let mut first_crossings = Vec::with_capacity(NUM_RESAMPLES);
        for draw in &self.draws {
            let found = of(Some(draw))?;
            last_crossings.push(found.last_crossing);
            first_crossings.push(found.first_crossing);
        }
        Ok(Estimate {
            found,
            last_crossings,
            first_crossings,
        })
    }

    /// The interval of a mean over items.
    pub fn mean_interval(&self, values: &[f64]) -> Interval<f64> {
        let means = self.draws.iter().map(|draw| mean(values, Some(draw)));
        percentiles(means.collect(), f64::total_cmp)
    }
}

impl Estimate {
    /// The interval of the default figure.
    pub fn last_interval(&self) -> Interval<Crossing> {
        percentiles(self.last_crossings.clone(), Crossing::order)
    }

    /// The interval of the strict figure.
    pub fn first_interval(&self) -> Interval<Crossing> {
        percentiles(self.first_crossings.clone(), Crossing::order)
    }

    /// How much larger the default figure is than `other`'s, which must come of the same draws.
    pub fn difference(&self, other: &Self) -> Range {
        difference(self.found.last_crossing, other.found.last_crossing)
    }

    /// The interval of [`Self::difference`]: item draws are the same on both sides.
    pub fn difference_interval(&self, other: &Self) -> Range {
        let pairs = self.last_crossings.iter().zip(&other.last_crossings);
        let ranges: Vec<Range> = pairs
            .map(|(ours, theirs)| difference(*ours, *theirs))
            .collect();
        let ends = |pick: fn(&Range) -> f64| {
            percentiles(ranges.iter().map(pick).collect(), f64::total_cmp)
        };
        Range {
            low: ends(|range| range.low).low,
            high: ends(|range| range.high).high,
        }
    }
}

/// What is known of `ours - theirs`.
fn difference(ours: Crossing, theirs: Crossing) -> Range {
    let step = ours.value() - theirs.value();
    let is_open_below = matches!(ours, Crossing::Below(_)) || matches!(theirs, Crossing::Above(_));
    let is_open_above = matches!(ours, Crossing::Above(_)) || matches!(theirs, Crossing::Below(_));
    Range {
        low: if is_open_below {
            f64::NEG_INFINITY
        } else {
            step
        },
        high: if is_open_above { f64::INFINITY } else { step },
    }
}

/// The mean of all `values`, or of those drawn; 0 of none.
fn mean(values: &[f64], draw: Option<&[usize]>) -> f64 {
    let sum: f64 = match draw {
        None => values.iter().sum(),
        Some(draw) => draw.iter().map(|item| values[*item]).sum(),
    };
    match values.len() {
        0 => 0.0,
        len => sum / crate::real::real(len),
    }
}

fn percentiles<T: Copy>(mut values: Vec<T>, order: impl Fn(&T, &T) -> Ordering) -> Interval<T> {
    values.sort_by(order);
    Interval {
        low: values[TAIL],
        high: values[values.len() - 1 - TAIL],
    }
}

#[cfg(test)]
mod tests;
