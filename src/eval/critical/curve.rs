//! One family on the items of one task and length: its points, and where they cross.

use super::family::Family;
use crate::eval::item_result::ItemResult;
use crate::eval::method::MethodKind;
use crate::eval::results::{MethodResult, TaskInfo};
use crate::eval::summary::{Score, mean};
use crate::eval::table::Column;
use crate::footprint::critical::{CriticalFootprint, Crossing};
use crate::footprint::paired::{Draws, Estimate, Interval, Range, Series};
use std::collections::BTreeMap;

/// A family's points, and its critical footprint.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Curve {
    /// Name of the family.
    pub family: String,
    /// Its kind.
    pub kind: MethodKind,
    /// One for every amount it keeps, in the order of the tables.
    pub points: Vec<Point>,
    /// Where it crosses; nothing where full attention scores nothing, so that there is nothing to keep.
    pub critical: Option<Critical>,
}

/// One amount kept.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Point {
    /// Title of its methods in the tables.
    pub title: String,
    /// Retrieval heads of its masks; nothing for methods without one.
    pub num_retrieval: Option<usize>,
    /// Mean KV footprint, counted from the caches.
    pub kv_footprint: f64,
    /// Mean KV peak, counted from the caches.
    pub kv_peak: f64,
    /// Mean score with its interval, in [0, 1].
    pub score: Score,
    /// The score as a share of full attention's; nothing where that is 0.
    pub relative: Option<f64>,
}

/// A critical footprint and how sure it is.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Critical {
    /// Both figures, dips and margin.
    pub found: CriticalFootprint,
    /// 95 % interval of the default figure.
    pub interval: Interval<Crossing>,
    /// 95 % interval of the strict figure.
    pub first_interval: Interval<Crossing>,
    /// By how much it differs from the best other method's; for masks under test only.
    pub baseline: Option<Difference>,
}

/// One critical footprint less another.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Difference {
    /// The family compared with.
    pub family: String,
    /// By how much ours is larger: below 0 is better.
    pub by: Range,
    /// 95 % interval, both families on the same resampled items.
    pub interval: Range,
}

/// The answers of one length that every method gave, as pairs across methods.
pub(super) struct Items<'a> {
    task: &'a TaskInfo,
    length: usize,
    /// Ids in the order of full attention.
    ids: Vec<&'a str>,
    /// How items are drawn again.
    pub(super) draws: Draws,
}

impl<'a> Items<'a> {
    /// The items of `length` that each of `methods` answered, and how many others there are.
    pub(super) fn shared(
        task: &'a TaskInfo,
        methods: &[&'a MethodResult],
        length: usize,
    ) -> (Self, usize) {
        let asked = |method: &&'a MethodResult| {
            let items = method.items.iter();
            items.filter(move |item| item.length_target == length)
        };
        let mut answers: BTreeMap<&str, usize> = BTreeMap::new();
        for item in methods.iter().flat_map(asked) {
            *answers.entry(&item.id).or_default() += usize::from(item.error.is_none());
        }
        let first = methods.first().map(asked).into_iter().flatten();
        let ids: Vec<&str> = first
            .map(|item| item.id.as_str())
            .filter(|id| answers.get(id) == Some(&methods.len()))
            .collect();
        let num_left_out = answers.len() - ids.len();
        let items = Self {
            draws: Draws::new(&task.name, ids.len()),
            task,
            length,
            ids,
        };
        (items, num_left_out)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    /// The score of each item with `method`; no number where an answer has none, so that nothing is estimated from it.
    pub(super) fn scores(&self, method: &MethodResult) -> Vec<f64> {
        self.of(method, |item| {
            let scores = item.scores.get(&self.task.metric);
            scores.map_or(f64::NAN, |scores| *scores.of(self.task.headline))
        })
    }

    /// The mean of `scores`, with the interval of the draws.
    pub(super) fn mean(&self, scores: &[f64]) -> Score {
        let Interval { low, high } = self.draws.mean_interval(scores);
        let mean = mean(scores.iter().copied());
        Score { mean, low, high }
    }

    /// What every item kept and scored, on average over the methods of `setting`.
    fn series(&self, setting: &Column<'_>) -> Series {
        let methods = setting.methods();
        Series {
            kv_footprints: average(methods, |method| self.of(method, ItemResult::kv_footprint)),
            scores: average(methods, |method| self.scores(method)),
        }
    }

    /// The point of `setting`, whose answers are `series`, beside full attention's mean score.
    pub(super) fn point(&self, setting: &Column<'_>, full: f64) -> Point {
        let series = self.series(setting);
        let score = self.mean(&series.scores);
        let peaks = average(setting.methods(), |method| {
            self.of(method, ItemResult::kv_peak)
        });
        Point {
            title: setting.title(),
            num_retrieval: setting.num_retrieval(),
            kv_footprint: mean(series.kv_footprints.into_iter()),
            kv_peak: mean(peaks.into_iter()),
            relative: (full > 0.0).then(|| score.mean / full),
            score,
        }
    }

    /// Every setting of `family` as a series.
    pub(super) fn all_series(&self, family: &Family<'_>) -> Vec<Series> {
        let settings = family.settings.iter();
        settings.map(|setting| self.series(setting)).collect()
    }

    fn of(&self, method: &MethodResult, pick: impl Fn(&ItemResult) -> f64) -> Vec<f64> {
        let here = |item: &&ItemResult| item.length_target == self.length;
        let items = method.items.iter().filter(here);
        let by_id: BTreeMap<&str, &ItemResult> =
            items.map(|item| (item.id.as_str(), item)).collect();
        let found = self.ids.iter().filter_map(|id| by_id.get(id));
        found.map(|item| pick(item)).collect()
    }
}

impl Critical {
    /// What an estimate says, without a comparison.
    pub(super) fn of(estimate: &Estimate) -> Self {
        Self {
            found: estimate.found,
            interval: estimate.last_interval(),
            first_interval: estimate.first_interval(),
            baseline: None,
        }
    }
}

/// The mean over `methods` of what `values` says of each item.
fn average(methods: &[&MethodResult], values: impl Fn(&MethodResult) -> Vec<f64>) -> Vec<f64> {
    let all: Vec<Vec<f64>> = methods.iter().map(|method| values(method)).collect();
    let len = all.first().map_or(0, Vec::len);
    let of_item = |item: usize| mean(all.iter().map(|values| values[item]));
    (0..len).map(of_item).collect()
}
