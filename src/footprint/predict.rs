//! KV footprint and KV peak of a model from the accounts of its kv heads.

use super::eviction::{LayerAt, TokenEviction, TokenSparsity};
use super::tally::{self, Eviction, HeadTally};
use super::workload::Workload;
use crate::span::{Span, StreamingRule};

/// Entries above the nominal share that the reference's script adds for every evicted chunk, whatever the window.
const REFERENCE_EXTRA: u64 = 64;

/// How many of a model's kv heads stream.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum StreamingShare {
    /// Integer counts of a real mask.
    Heads {
        /// Streaming kv heads of the whole model.
        num_streaming: usize,
        /// All kv heads of the model; at least `num_streaming`.
        num_heads: usize,
    },
    /// A nominal share in [0, 1], as published plots use it.
    Nominal(f64),
}

/// A head mask at work: everything its footprint depends on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HeadMaskCase {
    /// What is generated.
    pub workload: Workload,
    /// Sink and window of streaming heads.
    pub span: Span,
    /// What a streaming head sees of a chunk.
    pub rule: StreamingRule,
    /// How many heads stream.
    pub share: StreamingShare,
}

/// Both memory figures, dimensionless, in (0, 1] for head masks.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Prediction {
    /// Held (query, key) pairs as a share of all causal ones.
    pub kv_footprint: f64,
    /// Most entries held at once as a share of the total length.
    pub kv_peak: f64,
}

/// KV footprint and peak of a head mask.
///
/// # Example
/// ```
/// use prulong::footprint::predict::{HeadMaskCase, StreamingShare, predict};
/// use prulong::footprint::workload::{Convention, Workload};
/// use prulong::span::{Span, StreamingRule};
///
/// let case = HeadMaskCase {
///     workload: Workload::new(8, 2, 4, Convention::Reference)?,
///     span: Span::new(1, 2, 1)?,
///     rule: StreamingRule::DuoChunk,
///     share: StreamingShare::Heads { num_streaming: 4, num_heads: 4 },
/// };
/// assert_eq!(predict(&case).kv_footprint, 40.0 / 55.0);
/// # Ok::<(), prulong::fault::AnyFault>(())
/// ```
pub fn predict(case: &HeadMaskCase) -> Prediction {
    let streaming = tally::streaming(&case.workload, &case.span, case.rule);
    let retrieval = tally::retrieval(&case.workload);
    let (streaming_weight, retrieval_weight) = case.share.weights();
    average(
        &case.workload,
        &[
            (streaming_weight, &streaming),
            (retrieval_weight, &retrieval),
        ],
    )
}

/// KV footprint and peak of a token-eviction method whose kv heads select as one.
///
/// Where heads select for themselves, what is held depends on the text; then this is the least it can be.
pub fn predict_eviction(
    workload: &Workload,
    eviction: &TokenEviction,
    num_layers: usize,
) -> Prediction {
    let prefill_len = workload.prefill_len();
    let layer_tally = |layer| {
        let at = LayerAt { layer, num_layers };
        tally::evicting(&workload.chunks(), workload.output_len(), |chunk, past| {
            let patch_len = eviction.patch_len(chunk.end == prefill_len);
            let size = usize::try_from(chunk.end - chunk.start).unwrap_or(usize::MAX);
            let budget = eviction.budget(size, patch_len, at);
            Eviction {
                call_len: (size + patch_len) as u64,
                num_kept: past + budget.num_kept() as u64,
            }
        })
    };
    let tallies: Vec<HeadTally> = (0..num_layers).map(layer_tally).collect();
    let heads: Vec<(f64, &HeadTally)> = tallies.iter().map(|tally| (1.0, tally)).collect();
    average(workload, &heads)
}

/// The same as the reference's script counts it: no layers, no patch, and a constant above the nominal share.
pub fn predict_eviction_reference(workload: &Workload, sparsity: TokenSparsity) -> Prediction {
    let tally = tally::evicting(&workload.chunks(), workload.output_len(), |chunk, past| {
        let call_len = chunk.end - chunk.start;
        let nominal = nearest((1.0 - sparsity.value()) * real(call_len));
        Eviction {
            call_len,
            num_kept: past + (nominal + REFERENCE_EXTRA).min(call_len),
        }
    });
    average(workload, &[(1.0, &tally)])
}

/// Averages kv heads (or classes of equal ones, with their number or share as weight); all must run the same calls.
///
/// Entries held are averaged before the maximum over calls is taken, because heads peak in different calls.
pub fn average(workload: &Workload, heads: &[(f64, &HeadTally)]) -> Prediction {
    let weight: f64 = heads.iter().map(|(weight, _)| weight).sum();
    let num_calls = heads.iter().map(|(_, tally)| tally.held.len()).max();
    let mean = |value: &dyn Fn(&HeadTally) -> u64| -> f64 {
        let sum: f64 = heads.iter().map(|(w, tally)| w * real(value(tally))).sum();
        sum / weight
    };
    let peak = (0..num_calls.unwrap_or(0))
        .map(|call| mean(&|tally| tally.held.get(call).copied().unwrap_or(0)))
        .fold(0.0, f64::max);
    Prediction {
        kv_footprint: mean(&|tally| tally.num_pairs) / real(workload.num_full_pairs()),
        kv_peak: peak / real(workload.total_len()),
    }
}

impl StreamingShare {
    /// Weights of the streaming and of the retrieval heads.
    fn weights(self) -> (f64, f64) {
        match self {
            Self::Heads {
                num_streaming,
                num_heads,
            } => (
                real(num_streaming as u64),
                real(num_heads.saturating_sub(num_streaming) as u64),
            ),
            Self::Nominal(share) => (share, 1.0 - share),
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "pair counts stay below 2^53 up to 134 million tokens"
)]
fn real(count: u64) -> f64 {
    count as f64
}

/// Half to even, as Python rounds.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of a length is between 0 and the length"
)]
fn nearest(entries: f64) -> u64 {
    entries.round_ties_even() as u64
}

#[cfg(test)]
mod tests;
