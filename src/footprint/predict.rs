//! KV footprint and KV peak of a model from the accounts of its kv heads.

use super::tally::HeadTally;
use super::workload::Workload;
use crate::real::real;

/// Both memory figures, dimensionless, in (0, 1] for head masks.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Prediction {
    /// Held (query, key) pairs as a share of all causal ones.
    pub kv_footprint: f64,
    /// Most entries held at once as a share of the total length.
    pub kv_peak: f64,
}

/// What kv heads hold on average.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Account {
    /// The memory figures.
    pub figures: Prediction,
    /// Entries of one kv head in the call that holds the most.
    pub peak_entries: f64,
    /// Entries of one kv head left after the last call.
    pub end_entries: f64,
}

/// Averages kv heads (or classes of equal ones, with their number or share as weight); all must run the same calls.
///
/// Entries held are averaged before the maximum over calls is taken, because heads peak in different calls.
pub fn average(workload: &Workload, heads: &[(f64, &HeadTally)]) -> Account {
    let weight: f64 = heads.iter().map(|(weight, _)| weight).sum();
    let num_calls = heads.iter().map(|(_, tally)| tally.held.len()).max();
    let mean = |value: &dyn Fn(&HeadTally) -> u64| -> f64 {
        let sum: f64 = heads.iter().map(|(w, tally)| w * real(value(tally))).sum();
        sum / weight
    };
    let peak_entries = (0..num_calls.unwrap_or(0))
        .map(|call| mean(&|tally| tally.held.get(call).copied().unwrap_or(0)))
        .fold(0.0, f64::max);
    Account {
        figures: Prediction {
            kv_footprint: mean(&|tally| tally.num_pairs) / real(workload.num_full_pairs()),
            kv_peak: peak_entries / real(workload.total_len()),
        },
        peak_entries,
        end_entries: mean(&|tally| tally.stored),
    }
}
