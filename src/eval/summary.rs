//! Means over items: of a method, and of each length and depth.

use super::metric::registry::{Metric, Scores};
use super::results::ItemResult;
use super::scoring::{Pair, ScorePair, Scoring};
use crate::footprint::predict::Prediction;
use crate::random;
use std::collections::BTreeMap;

/// Resamples of an interval.
const NUM_RESAMPLES: usize = 1000;

/// Means of one method.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Summary {
    /// Items.
    pub num_items: usize,
    /// Means of both scores by each metric of the task, with their intervals.
    pub scores: Scores<Pair<Score>>,
    /// Means of each length and depth, in that order.
    pub cells: Vec<Cell>,
    /// Mean footprint and peak counted from the caches.
    pub kv_counted: Prediction,
    /// Mean footprint and peak of the formula.
    pub kv_formula: Prediction,
    /// Mean share of the (query, key) pairs attended.
    pub compute_share: f64,
    /// Largest peak of any item, in bytes.
    pub kv_peak_bytes: u64,
    /// Most cache memory of any item, in bytes.
    pub kv_allocated_bytes: u64,
    /// Mean wall times.
    pub timing: MeanTiming,
}

/// Mean wall times.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct MeanTiming {
    /// Prompt pass of one item.
    pub prefill_ms: f64,
    /// Decoding, per token.
    pub decode_ms_per_token: f64,
}

/// A mean and its 95 % bootstrap interval.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Score {
    /// The mean.
    pub mean: f64,
    /// 2.5th percentile of resampled means.
    pub low: f64,
    /// 97.5th percentile of resampled means.
    pub high: f64,
}

/// Means of one length and depth.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Cell {
    /// Length asked for, in tokens.
    pub length: usize,
    /// Place in the depth grid.
    pub depth_index: usize,
    /// Items.
    pub num_items: usize,
    /// Nearest needle: tokens from its last one to the prompt's last one.
    pub min_needle_distance: usize,
    /// Means of both scores by each metric of the task.
    pub scores: Scores<ScorePair>,
}

impl Summary {
    /// Mean of all items by `metric`.
    pub fn overall(&self, metric: Metric, scoring: Scoring) -> Option<Score> {
        self.scores.get(&metric).map(|score| *score.of(scoring))
    }

    /// Mean score by `metric` of the items of `length`, whose cells hold equally many; nothing if there are none.
    pub fn at_length(&self, metric: Metric, scoring: Scoring, length: usize) -> Option<f64> {
        let cells = self.cells.iter().filter(|cell| cell.length == length);
        let scores: Vec<f64> = cells
            .filter_map(|cell| Some(*cell.scores.get(&metric)?.of(scoring)))
            .collect();
        (!scores.is_empty()).then(|| mean(scores.into_iter()))
    }
}

/// Averages `items`, all of one method.
pub fn summarise(items: &[ItemResult]) -> Summary {
    let all: Vec<&ItemResult> = items.iter().collect();
    let kv = |pick: fn(&ItemResult) -> Prediction| Prediction {
        kv_footprint: mean_of(&all, |item| pick(item).kv_footprint),
        kv_peak: mean_of(&all, |item| pick(item).kv_peak),
    };
    let largest = |pick: fn(&ItemResult) -> u64| items.iter().map(pick).max().unwrap_or(0);
    Summary {
        num_items: items.len(),
        scores: by_metric(&all, score),
        cells: cells(items),
        kv_counted: kv(|item| item.kv.counted),
        kv_formula: kv(|item| item.kv.formula),
        compute_share: mean_of(&all, |item| item.kv.compute_share),
        kv_peak_bytes: largest(|item| item.kv.peak_bytes),
        kv_allocated_bytes: largest(|item| item.kv.allocated_bytes),
        timing: MeanTiming {
            prefill_ms: mean_of(&all, |item| item.timing.prefill_ms),
            decode_ms_per_token: mean_of(&all, |item| {
                item.timing.decode_ms / count(item.output.len().max(1))
            }),
        },
    }
}

fn cells(items: &[ItemResult]) -> Vec<Cell> {
    let mut groups: BTreeMap<(usize, usize), Vec<&ItemResult>> = BTreeMap::new();
    for item in items {
        let cell = (item.length, item.depth_index);
        groups.entry(cell).or_default().push(item);
    }
    let cell = |((length, depth_index), items): ((usize, usize), Vec<&ItemResult>)| Cell {
        length,
        depth_index,
        num_items: items.len(),
        min_needle_distance: items
            .iter()
            .map(|item| item.needle_distance)
            .min()
            .unwrap_or(0),
        scores: by_metric(&items, |values| mean(values.iter().copied())),
    };
    groups.into_iter().map(cell).collect()
}

fn mean_of(items: &[&ItemResult], pick: impl Fn(&ItemResult) -> f64) -> f64 {
    mean(items.iter().map(|item| pick(item)))
}

#[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 items")]
fn count(len: usize) -> f64 {
    len as f64
}

/// Mean of `values`; 0 for none.
pub fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let len = values.len();
    if len == 0 {
        return 0.0;
    }
    values.sum::<f64>() / count(len)
}

/// What `summarise` makes of the scores of all items, for each metric and scoring.
fn by_metric<T>(items: &[&ItemResult], summarise: impl Fn(&[f64]) -> T) -> Scores<Pair<T>> {
    let mut values: Scores<Pair<Vec<f64>>> = Scores::new();
    for item in items {
        for (metric, score) in &item.scores {
            let values = values.entry(*metric).or_default();
            values.compat.push(score.compat);
            values.strict.push(score.strict);
        }
    }
    values
        .into_iter()
        .map(|(metric, values)| (metric, values.map(|values| summarise(values))))
        .collect()
}

fn score(values: &[f64]) -> Score {
    let mut rng = random::stream("eval bootstrap", &[values.len() as u64]);
    let resample = |_| {
        let draws = 0..values.len();
        mean(draws.map(|_| values[random::index_below(&mut rng, values.len())]))
    };
    let mut means: Vec<f64> = (0..NUM_RESAMPLES).map(resample).collect();
    means.sort_by(f64::total_cmp);
    Score {
        mean: mean(values.iter().copied()),
        low: means[NUM_RESAMPLES / 40],
        high: means[NUM_RESAMPLES - 1 - NUM_RESAMPLES / 40],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_hold_the_mean_and_narrow_with_more_items() {
        let of = |n: usize| {
            let value = |i| if i % 4 == 0 { 1.0 } else { 0.0 };
            score(&(0..n).map(value).collect::<Vec<f64>>())
        };
        let (few, many) = (of(20), of(2000));
        for score in [few, many] {
            assert!(score.low <= score.mean && score.mean <= score.high);
            assert!((score.mean - 0.25).abs() < 1e-12);
        }
        assert!(many.high - many.low < 0.3 * (few.high - few.low));
        let certain = score(&[1.0; 10]);
        assert!((certain.high - certain.low).abs() < 1e-12);
        assert_eq!(few, of(20));
        assert!(mean([].into_iter()).abs() < 1e-12);
    }
}
