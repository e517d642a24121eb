//! The rent: how many entries every query pays for, one query after the other. All of it together, as a share of what full
//! attention pays, is the KV footprint.

use super::predict::real;
use super::tally::HeadTally;
use std::collections::BTreeSet;

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

/// Every corner of the mean over `heads` (weight and account) in `total_len` queries; where there are more than `most`, that
/// many evenly spaced points of it.
pub(super) fn corners(heads: &[(f64, &HeadTally)], total_len: u64, most: u64) -> Vec<Corner> {
    let Some(last) = total_len.checked_sub(1) else {
        return Vec::new();
    };
    let starts = heads.iter().flat_map(|(_, tally)| &tally.steps);
    let around = starts.flat_map(|step| [step.start.saturating_sub(1), step.start]);
    let mut queries: BTreeSet<u64> = around.filter(|query| *query <= last).collect();
    queries.extend([0, last]);
    let spaces = most.saturating_sub(1).max(1);
    if queries.len() as u64 > most {
        queries = (0..=spaces).map(|place| place * last / spaces).collect();
    }
    let weight: f64 = heads.iter().map(|(weight, _)| weight).sum();
    let held = |query| {
        let sums = heads
            .iter()
            .map(|(w, tally)| w * real(at(&tally.steps, query)));
        sums.sum::<f64>() / weight
    };
    let corner = |query| Corner {
        query,
        held: held(query),
    };
    queries.into_iter().map(corner).collect()
}
