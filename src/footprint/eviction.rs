//! How many entries a token-eviction method keeps of each prefill chunk (inference.md sections 6 to 9 and 11).
//!
//! A method ranks the entries of one chunk; how many of the best stay, and how many trailing ones stay unranked, depends only
//! on lengths and is decided here, for the caches and for the formula alike.
//!
//! **Invariant:** this module is the only home of capacities and per-layer budgets.
//!
//! # Decisions
//! A model of one layer has no pyramid: the published step divides by the number of layers less one, so that layer gets the
//! uniform budget.
//! A patched layer of a steep pyramid may keep nothing of a chunk; the published code then keeps one row of the patch, at a
//! position that the prompt fills again, and we keep none.

use crate::fault::{Coded, Kind};

/// The published spread of `PyramidKV`: the last layer keeps a twentieth of the average ranked budget.
const PYRAMID_BETA: usize = 20;

/// Share of a chunk's entries that is evicted, in [0, 1).
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct TokenSparsity(f64);

/// How the budget differs between layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LayerBudget {
    /// Every layer keeps its capacity.
    Uniform,
    /// Falls linearly from the first layer to the last around the same mean.
    Pyramid,
    /// The first layers, this many, keep everything; the others their capacity.
    FullBelow(usize),
}

/// What decides how much a token-eviction method keeps.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct TokenEviction {
    /// Trailing tokens of each call that are always kept; the queries of methods that score by attention.
    pub observation_len: usize,
    /// Share of a chunk's entries that is evicted.
    pub sparsity: TokenSparsity,
    /// Whether the prompt's last `observation_len` prefilled tokens are appended to every chunk but the last, observe it, and
    /// are forgotten after it.
    pub patch: bool,
    /// How the budget differs between layers.
    pub layers: LayerBudget,
}

/// One layer of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerAt {
    /// The layer, from 0.
    pub layer: usize,
    /// Layers of the model.
    pub num_layers: usize,
}

/// What stays of one prefill call, in entries per kv head (or per head, where heads select for themselves).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallBudget {
    /// Trailing entries that are not ranked.
    pub window_len: usize,
    /// Best-ranked entries kept of those before the window.
    pub num_top: usize,
    /// Trailing entries that are forgotten after the call: the window, if it is a patch.
    pub patch_len: usize,
}

/// Why a method cannot evict as asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvictionError {
    /// A share that is none, or that leaves nothing.
    #[error("a token sparsity of {found} is not in [0, 1)")]
    Sparsity {
        /// The value as given.
        found: f64,
    },
    /// The capacity of a full chunk is used up by the observation window.
    #[error(
        "a full chunk keeps C = {capacity} entries, not more than the observation window w = {observation_len} \
         (chunk c = {chunk_len}, token sparsity k = {sparsity})"
    )]
    Capacity {
        /// Entries kept of a full chunk.
        capacity: usize,
        /// The observation window.
        observation_len: usize,
        /// Tokens per chunk.
        chunk_len: usize,
        /// The token sparsity.
        sparsity: f64,
    },
    /// The patch would repeat tokens of the chunk it is appended to.
    #[error(
        "a patch of w = {observation_len} tokens is longer than the chunk of c = {chunk_len} it is appended to"
    )]
    LongPatch {
        /// Tokens per chunk.
        chunk_len: usize,
        /// The observation window.
        observation_len: usize,
    },
    /// No token observes.
    #[error("{needs} needs an observation window of at least 1 token")]
    NoWindow {
        /// What was asked for.
        needs: &'static str,
    },
}

impl Coded for EvictionError {
    fn code(&self) -> &'static str {
        match self {
            Self::Sparsity { .. } => "eviction.sparsity",
            Self::Capacity { .. } => "eviction.capacity",
            Self::LongPatch { .. } => "eviction.patch",
            Self::NoWindow { .. } => "eviction.window",
        }
    }

    fn kind(&self) -> Kind {
        Kind::Input
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Sparsity { .. } => "0 keeps every token, 0.7 evicts seven of ten",
            Self::Capacity { .. } => {
                "use longer chunks, a lower token sparsity or a shorter observation window"
            }
            Self::LongPatch { .. } => {
                "use chunks of at least the observation window, a shorter window, or no patch"
            }
            Self::NoWindow { .. } => "give the observation window a length of 1 or more",
        };
        Some(hint.to_owned())
    }
}

impl TokenSparsity {
    /// Nothing is evicted.
    pub const ZERO: Self = Self(0.0);

    /// Checks the share.
    ///
    /// # Errors
    /// [`EvictionError::Sparsity`] outside [0, 1).
    pub fn new(share: f64) -> Result<Self, EvictionError> {
        if (0.0..1.0).contains(&share) {
            Ok(Self(share))
        } else {
            Err(EvictionError::Sparsity { found: share })
        }
    }

    /// The share.
    pub fn value(self) -> f64 {
        self.0
    }

    /// Half to even, as the reference's script rounds: entries kept of `size`.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "lengths stay below 2^32, and the product between 0 and the length"
    )]
    pub fn nearest_kept(self, size: u64) -> u64 {
        ((1.0 - self.0) * size as f64).round_ties_even() as u64
    }

    /// `int((1 - k) * size)` in f64, truncated: entries kept of `size`.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "lengths stay below 2^31, and the product between 0 and the length"
    )]
    pub fn num_kept(self, size: usize) -> usize {
        ((1.0 - self.0) * size as f64) as usize
    }
}

impl TokenEviction {
    /// Checks that full chunks of `chunk_len` tokens can be evicted from as asked.
    ///
    /// # Errors
    /// [`EvictionError`] if the window uses up the capacity of a full chunk, or the patch does not fit one.
    pub fn check(&self, chunk_len: usize) -> Result<(), EvictionError> {
        let observation_len = self.observation_len;
        if self.patch && observation_len == 0 {
            return Err(EvictionError::NoWindow { needs: "a patch" });
        }
        if self.patch && chunk_len < observation_len {
            return Err(EvictionError::LongPatch {
                chunk_len,
                observation_len,
            });
        }
        let patch_len = if self.patch { observation_len } else { 0 };
        let capacity = self.sparsity.num_kept(chunk_len) + patch_len;
        if capacity <= observation_len && capacity < chunk_len + patch_len {
            return Err(EvictionError::Capacity {
                capacity,
                observation_len,
                chunk_len,
                sparsity: self.sparsity.value(),
            });
        }
        Ok(())
    }

    /// Whether every layer keeps as much as any other.
    pub fn layers_are_alike(&self) -> bool {
        matches!(
            self.layers,
            LayerBudget::Uniform | LayerBudget::FullBelow(0)
        )
    }

    /// Tokens appended to a chunk, the last one of a prompt or another.
    pub fn patch_len(&self, is_last: bool) -> usize {
        if self.patch && !is_last {
            self.observation_len
        } else {
            0
        }
    }

    /// What `at` keeps of a call of `size` prompt tokens and `patch_len` appended ones.
    pub fn budget(&self, size: usize, patch_len: usize, at: LayerAt) -> CallBudget {
        let call_len = size + patch_len;
        let window_len = self.observation_len.min(call_len);
        let ranked_len = call_len - window_len;
        let capacity = self.sparsity.num_kept(size) + patch_len;
        let average = capacity.saturating_sub(window_len);
        let num_top = match self.layers {
            LayerBudget::FullBelow(layers) if at.layer < layers => ranked_len,
            LayerBudget::Uniform | LayerBudget::FullBelow(_) => average,
            LayerBudget::Pyramid => pyramid(average, call_len, window_len, at),
        };
        CallBudget {
            window_len,
            num_top: num_top.min(ranked_len),
            patch_len,
        }
    }
}

/// Ranked entries that layer `at` keeps where the average layer keeps `average`.
fn pyramid(average: usize, call_len: usize, window_len: usize, at: LayerAt) -> usize {
    if average == 0 || call_len < 2 * average || at.num_layers < 2 {
        return average;
    }
    let lowest = average / PYRAMID_BETA;
    let highest = (2 * average - lowest).min(call_len - window_len);
    let lowest = 2 * average - highest;
    let step = (highest - lowest) / (at.num_layers - 1);
    highest - at.layer * step
}

impl CallBudget {
    /// The most that a call of `call_len` tokens leaves if each of `num_choosers` heads ranks for itself and what any of them
    /// chose is stored once: no two choose the same.
    #[must_use]
    pub fn disjoint(self, num_choosers: usize, call_len: usize) -> Self {
        let ranked_len = call_len.saturating_sub(self.window_len);
        Self {
            num_top: self.num_top.saturating_mul(num_choosers).min(ranked_len),
            ..self
        }
    }

    /// Entries of the call that are in the cache after it.
    pub fn num_kept(&self) -> usize {
        self.num_top + self.window_len - self.patch_len
    }

    /// Whether the ranking decides nothing because every prompt token of the call stays.
    pub fn keeps_all(&self, call_len: usize) -> bool {
        self.num_top + self.window_len == call_len
    }
}

#[cfg(test)]
mod tests;
