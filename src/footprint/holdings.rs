//! What a method holds: everything its KV footprint depends on beside the workload.
//!
//! **Invariant:** the only place where a method becomes figures; what is evaluated and what is only planned go through it.

use super::eviction::{LayerAt, TokenEviction};
use super::locret::Locret;
use super::predict::{Account, Prediction, average};
use super::rent::{self, Corner};
use super::tally::{self, Eviction, HeadTally};
use super::workload::{Convention, Workload};
use crate::real::real;
use crate::span::{Span, StreamingRule};

/// Entries above the nominal share that the reference's script adds for every evicted chunk, whatever the window.
pub const REFERENCE_EXTRA: u64 = 64;

/// What a method holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Holdings {
    /// Everything.
    All,
    /// Some heads stream, the others keep everything.
    Heads {
        /// Which stream.
        streaming: StreamingHeads,
        /// Their sink and window.
        span: Span,
        /// What they see of a chunk.
        rule: StreamingRule,
    },
    /// The best-ranked entries of every chunk.
    Ranked {
        /// How many.
        eviction: TokenEviction,
        /// Layers of the model.
        num_layers: usize,
        /// Heads that rank for themselves and share one cache: 1 where a group chooses as one.
        num_choosers: usize,
    },
    /// The best-ranked entries of all so far.
    Locret(Locret),
}

/// Which kv heads stream.
#[derive(Debug, Clone, PartialEq)]
pub enum StreamingHeads {
    /// A nominal share in [0, 1], as published plots use it: the same in every layer.
    Nominal(f64),
    /// A real mask.
    Counted {
        /// Streaming kv heads of each layer, at most `num_kv_heads`.
        per_layer: Vec<usize>,
        /// Kv heads of a layer.
        num_kv_heads: usize,
    },
}

/// What a method costs.
#[derive(Debug, Clone, PartialEq)]
pub struct Bill {
    /// On average over all layers.
    pub model: Account,
    /// Of each layer; a single one if all layers are alike.
    pub layers: Vec<Account>,
}

/// The different accounts of a model's kv heads, and each layer's mixture of them as weights and places.
struct Mixture {
    tallies: Vec<HeadTally>,
    layers: Vec<Vec<(f64, usize)>>,
}

impl Holdings {
    /// Every head streaming.
    pub fn all_streaming(span: Span, rule: StreamingRule) -> Self {
        Self::Heads {
            streaming: StreamingHeads::Nominal(1.0),
            span,
            rule,
        }
    }

    /// KV footprint and peak, by the rules of the workload's convention.
    ///
    /// Where heads choose for themselves, what is held depends on the text; then this is the least it can be, and
    /// [`Self::at_most`] the most.
    ///
    /// # Example
    /// ```
    /// use prulong::footprint::holdings::Holdings;
    /// use prulong::footprint::workload::{Convention, Workload};
    /// use prulong::span::{Span, StreamingRule};
    ///
    /// let workload = Workload::new(8, 2, 4, Convention::Reference)?;
    /// let holdings = Holdings::all_streaming(Span::new(1, 2, 1)?, StreamingRule::DuoChunk);
    /// assert_eq!(holdings.predict(&workload).kv_footprint, 40.0 / 55.0);
    /// # Ok::<(), prulong::fault::AnyFault>(())
    /// ```
    pub fn predict(&self, workload: &Workload) -> Prediction {
        self.bill(workload).model.figures
    }

    /// The most that can be held: more than [`Self::predict`] says where heads choose for themselves.
    pub fn at_most(&self, workload: &Workload) -> Prediction {
        match self {
            Self::Ranked {
                eviction,
                num_layers,
                num_choosers,
            } if *num_choosers > 1 && workload.convention() == Convention::Counted => {
                let mixture = ranked(workload, eviction, *num_layers, *num_choosers);
                mixture.bill(workload).model.figures
            }
            _ => self.predict(workload),
        }
    }

    /// Everything it costs, by the rules of the workload's convention.
    pub fn bill(&self, workload: &Workload) -> Bill {
        self.mixture(workload).bill(workload)
    }

    /// What every query pays for, on average over the model's kv heads; at most `most` points, between which lines with the same
    /// sum over all queries run, and through every corner where that many suffice.
    ///
    /// Where heads choose for themselves, it is the least it can be. The queries of a patch are not among them.
    pub fn rent(&self, workload: &Workload, most: usize) -> Vec<Corner> {
        let mixture = self.mixture(workload);
        let heads = mixture.layers.iter().flatten();
        let heads: Vec<(f64, &HeadTally)> = heads
            .map(|(weight, place)| (*weight, &mixture.tallies[*place]))
            .collect();
        rent::corners(&heads, workload.total_len(), most)
    }

    fn mixture(&self, workload: &Workload) -> Mixture {
        match self {
            Self::All => Mixture::alike(tally::retrieval(workload)),
            Self::Heads {
                streaming,
                span,
                rule,
            } => Mixture {
                tallies: vec![
                    tally::streaming(workload, span, *rule),
                    tally::retrieval(workload),
                ],
                layers: streaming.layers(),
            },
            Self::Ranked {
                eviction,
                num_layers,
                ..
            } => match workload.convention() {
                Convention::Counted => ranked(workload, eviction, *num_layers, 1),
                Convention::Reference => Mixture::alike(ranked_by_script(workload, eviction)),
            },
            Self::Locret(locret) => Mixture::alike(locret.tally(workload)),
        }
    }
}

/// Every layer's account, where each of `num_choosers` heads ranks for itself and no two agree.
fn ranked(
    workload: &Workload,
    eviction: &TokenEviction,
    num_layers: usize,
    num_choosers: usize,
) -> Mixture {
    let prefill_len = workload.prefill_len();
    let chunks = workload.chunks();
    let account = |layer| {
        let at = LayerAt { layer, num_layers };
        tally::evicting(&chunks, workload.output_len(), |chunk, past| {
            let patch_len = eviction.patch_len(chunk.end == prefill_len);
            let size = usize::try_from(chunk.end - chunk.start).unwrap_or(usize::MAX);
            let call_len = size + patch_len;
            let budget = eviction.budget(size, patch_len, at);
            Eviction {
                call_len: call_len as u64,
                num_kept: past + budget.disjoint(num_choosers, call_len).num_kept() as u64,
            }
        })
    };
    if eviction.layers_are_alike() {
        return Mixture::alike(account(0));
    }
    Mixture {
        tallies: (0..num_layers).map(account).collect(),
        layers: (0..num_layers).map(|layer| vec![(1.0, layer)]).collect(),
    }
}

/// As the reference's script counts eviction: no layers, no patch, and a constant above the nominal share.
fn ranked_by_script(workload: &Workload, eviction: &TokenEviction) -> HeadTally {
    tally::evicting(&workload.chunks(), workload.output_len(), |chunk, past| {
        let call_len = chunk.end - chunk.start;
        let nominal = eviction.sparsity.nearest_kept(call_len);
        Eviction {
            call_len,
            num_kept: past + (nominal + REFERENCE_EXTRA).min(call_len),
        }
    })
}

impl StreamingHeads {
    /// Each layer's weights of streaming and of retrieval heads.
    fn layers(&self) -> Vec<Vec<(f64, usize)>> {
        match self {
            Self::Nominal(share) => vec![vec![(*share, 0), (1.0 - share, 1)]],
            Self::Counted {
                per_layer,
                num_kv_heads,
            } => {
                let weights = |streaming: &usize| {
                    let retrieval = num_kv_heads.saturating_sub(*streaming);
                    vec![(real(*streaming as u64), 0), (real(retrieval as u64), 1)]
                };
                let layers: Vec<_> = per_layer.iter().map(weights).collect();
                match layers.split_first() {
                    Some((first, others)) if others.iter().all(|other| other == first) => {
                        vec![first.clone()]
                    }
                    _ => layers,
                }
            }
        }
    }
}

impl Mixture {
    /// All kv heads have the same account.
    fn alike(tally: HeadTally) -> Self {
        Self {
            tallies: vec![tally],
            layers: vec![vec![(1.0, 0)]],
        }
    }

    fn bill(&self, workload: &Workload) -> Bill {
        let account = |heads: &mut dyn Iterator<Item = &(f64, usize)>| {
            let heads: Vec<(f64, &HeadTally)> = heads
                .map(|(weight, place)| (*weight, &self.tallies[*place]))
                .collect();
            average(workload, &heads)
        };
        Bill {
            model: account(&mut self.layers.iter().flatten()),
            layers: self
                .layers
                .iter()
                .map(|layer| account(&mut layer.iter()))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests;
