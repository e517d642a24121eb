//! Means over items: of a method, of each length, and of each length and depth. Items without an answer are counted, and part
//! of no mean.

use super::item_result::{ItemResult, KvCounts};
use super::metric::registry::{Metric, Scores};
use super::scoring::{Pair, ScorePair, Scoring};
use crate::footprint::predict::Prediction;
use crate::random;
use std::collections::BTreeMap;

/// Resamples of an interval.
const NUM_RESAMPLES: usize = 1000;

/// Means of one method.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Summary {
    /// Items with an answer.
    pub num_items: usize,
    /// Items that the settings name.
    pub num_expected: usize,
    /// Items that failed.
    pub num_failed: usize,
    /// Means of both scores by each metric of the task, with their intervals.
    pub scores: Scores<Pair<Score>>,
    /// Mean true tokens of a prompt.
    pub mean_prompt_len: f64,
    /// Mean tokens of an output.
    pub mean_output_len: f64,
    /// Means of each length.
    pub lengths: Vec<LengthMean>,
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
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct MeanTiming {
    /// Prompt pass of one item.
    pub prefill_ms: f64,
    /// Decoding, per token.
    pub decode_ms_per_token: f64,
}

/// A mean and its 95 % bootstrap interval.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Score {
    /// The mean.
    pub mean: f64,
    /// 2.5th percentile of resampled means.
    pub low: f64,
    /// 97.5th percentile of resampled means.
    pub high: f64,
}

/// Means of one length.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct LengthMean {
    /// Length asked for, in tokens.
    pub length: usize,
    /// Items with an answer.
    pub num_items: usize,
    /// Mean true tokens of a prompt.
    pub mean_prompt_len: f64,
    /// Means of both scores by each metric of the task, with their intervals.
    pub scores: Scores<Pair<Score>>,
    /// Mean footprint and peak counted from the caches.
    pub kv_counted: Prediction,
}

/// Means of one length and depth.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Cell {
    /// Length asked for, in tokens.
    pub length: usize,
    /// Place in the depth grid.
    pub depth_index: usize,
    /// Items.
    pub num_items: usize,
    /// Nearest needle: tokens from its last one to the prompt's last one; nothing where that is not known.
    pub min_needle_distance: Option<usize>,
    /// Means of both scores by each metric of the task.
    pub scores: Scores<ScorePair>,
}

impl Summary {
    /// Mean of all items by `metric`.
    pub fn overall(&self, metric: Metric, scoring: Scoring) -> Option<Score> {
        self.scores.get(&metric).map(|score| *score.of(scoring))
    }

    /// Whether every item that the settings name has an answer.
    pub fn is_complete(&self) -> bool {
        self.num_items == self.num_expected
    }

    /// Mean score by `metric` of the items of `length`; nothing if there are none.
    pub fn at_length(&self, metric: Metric, scoring: Scoring, length: usize) -> Option<f64> {
        let found = self.lengths.iter().find(|of| of.length == length)?;
        Some(found.scores.get(&metric)?.of(scoring).mean)
    }
}

/// Averages `items`, all of one method and `num_expected` when it is through.
pub fn summarise(items: &[ItemResult], num_expected: usize) -> Summary {
    let all: Vec<&ItemResult> = items.iter().filter(|item| item.error.is_none()).collect();
    let kv: Vec<KvCounts> = all.iter().filter_map(|item| item.kv).collect();
    let largest = |pick: fn(&KvCounts) -> u64| kv.iter().map(pick).max().unwrap_or(0);
    Summary {
        num_items: all.len(),
        num_expected,
        num_failed: items.len() - all.len(),
        scores: by_metric(&all, score),
        mean_prompt_len: mean_of(&all, |item| count(item.tokens.prompt)),
        mean_output_len: mean_of(&all, |item| count(item.tokens.output)),
        lengths: lengths(&all),
        cells: cells(&all),
        kv_counted: mean_kv(&kv, |kv| kv.counted),
        kv_formula: mean_kv(&kv, |kv| kv.formula),
        compute_share: mean(kv.iter().map(|kv| kv.compute_share)),
        kv_peak_bytes: largest(|kv| kv.peak_bytes),
        kv_allocated_bytes: largest(|kv| kv.allocated_bytes),
        timing: MeanTiming {
            prefill_ms: mean_of(&all, |item| item.timing.prefill_ms),
            decode_ms_per_token: mean_of(&all, |item| {
                item.timing.decode_ms / count(item.tokens.output.max(1))
            }),
        },
    }
}

fn mean_kv(kv: &[KvCounts], pick: fn(&KvCounts) -> Prediction) -> Prediction {
    Prediction {
        kv_footprint: mean(kv.iter().map(|kv| pick(kv).kv_footprint)),
        kv_peak: mean(kv.iter().map(|kv| pick(kv).kv_peak)),
    }
}

fn lengths(items: &[&ItemResult]) -> Vec<LengthMean> {
    let groups = groups(items, |item| item.length_target);
    let of_length = |(length, items): (usize, Vec<&ItemResult>)| {
        let kv: Vec<KvCounts> = items.iter().filter_map(|item| item.kv).collect();
        LengthMean {
            length,
            num_items: items.len(),
            mean_prompt_len: mean_of(&items, |item| count(item.tokens.prompt)),
            scores: by_metric(&items, score),
            kv_counted: mean_kv(&kv, |kv| kv.counted),
        }
    };
    groups.into_iter().map(of_length).collect()
}

/// Items with the same key, by key.
fn groups<'a, K: Ord>(
    items: &[&'a ItemResult],
    key: impl Fn(&ItemResult) -> K,
) -> BTreeMap<K, Vec<&'a ItemResult>> {
    let mut groups: BTreeMap<K, Vec<&ItemResult>> = BTreeMap::new();
    for item in items {
        groups.entry(key(item)).or_default().push(item);
    }
    groups
}

fn cells(items: &[&ItemResult]) -> Vec<Cell> {
    let groups = groups(items, |item| (item.length_target, item.depth_index));
    let cell = |((length, depth_index), items): ((usize, usize), Vec<&ItemResult>)| Cell {
        length,
        depth_index,
        num_items: items.len(),
        min_needle_distance: items.iter().filter_map(|item| item.needle_distance).min(),
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

/// Mean of `values`, at least one, with its interval.
pub(super) fn score(values: &[f64]) -> Score {
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
