//! The rent: how many entries every query pays for, one query after the other. All of it together, as a share of what full
//! attention pays, is the KV footprint.

use super::tally::HeadTally;
use crate::real::real;
use std::collections::BTreeSet;
use std::ops::Range;

/// Queries of one kv head that pay for one more entry each, or all for the same, up to the next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Position of the first query.
    pub start: u64,
    /// Entries it pays for.
    pub held: u64,
    /// Entries that each further query pays for in addition: 0 or 1.
    pub growth: u64,
}

/// A place where the rent turns; it is straight between two of them.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Corner {
    /// Position of the query.
    pub query: u64,
    /// Entries it pays for, on average over kv heads.
    pub held: f64,
}

/// Adds queries from `start` on; those before it keep what they have.
pub(super) fn push(steps: &mut Vec<Step>, step: Step) {
    if steps.last().is_some_and(|last| last.start == step.start) {
        steps.pop();
    }
    steps.push(step);
}

/// Entries that the query at `query` pays for; 0 before the first step.
pub fn at(steps: &[Step], query: u64) -> u64 {
    let after = steps.partition_point(|step| step.start <= query);
    let step = after.checked_sub(1).and_then(|index| steps.get(index));
    step.map_or(0, |step| step.held + step.growth * (query - step.start))
}

/// Every corner of the mean over `heads` (weight and account) in `total_len` queries; where there are more than `most`, the ends
/// of fewer straight stretches, each over several whole steps and with the same sum over its queries.
pub(super) fn corners(heads: &[(f64, &HeadTally)], total_len: u64, most: usize) -> Vec<Corner> {
    let weight: f64 = heads.iter().map(|(weight, _)| weight).sum();
    let held = |query| {
        let sums = heads
            .iter()
            .map(|(w, tally)| w * real(at(&tally.steps, query)));
        sums.sum::<f64>() / weight
    };
    let steps = ranges(heads, total_len);
    let each = if 2 * steps.len() <= most {
        1
    } else {
        steps.len().div_ceil((most / 2).max(1))
    };
    let stretches = steps.chunks(each);
    stretches.flat_map(|steps| stretch(steps, held)).collect()
}

/// Queries between which no account of `heads` takes a step.
fn ranges(heads: &[(f64, &HeadTally)], total_len: u64) -> Vec<Range<u64>> {
    let starts = heads.iter().flat_map(|(_, tally)| &tally.steps);
    let starts = starts.map(|step| step.start);
    let mut starts: BTreeSet<u64> = starts.filter(|start| *start < total_len).collect();
    starts.extend((total_len > 0).then_some(0));
    let ends = starts.iter().skip(1).chain([&total_len]);
    starts.iter().zip(ends).map(|(a, b)| *a..*b).collect()
}

/// The ends of one straight line over `steps`, which rises as far as `held` does and has its mean; a single end for one query.
fn stretch(steps: &[Range<u64>], held: impl Fn(u64) -> f64) -> Vec<Corner> {
    let (Some(first), Some(last)) = (steps.first(), steps.last()) else {
        return Vec::new();
    };
    let sum = |step: &Range<u64>| {
        let ends = held(step.start) + held(step.end - 1);
        0.5 * ends * real(step.end - step.start)
    };
    let (start, end) = (first.start, last.end - 1);
    let mean = steps.iter().map(sum).sum::<f64>() / real(end + 1 - start);
    // Nothing is held less than not at all.
    let half_rise = (0.5 * (held(end) - held(start))).max(-mean).min(mean);
    let corner = |query, held| Corner { query, held };
    let mut ends = vec![
        corner(start, mean - half_rise),
        corner(end, mean + half_rise),
    ];
    ends.dedup_by_key(|corner| corner.query);
    ends
}
