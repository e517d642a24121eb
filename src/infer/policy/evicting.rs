//! Methods that keep the best-ranked tokens of each prefill chunk: the registry of rankings, and what all of them share.
//!
//! Each chunk is judged once, by its own queries and keys, after it was attended in full; cached entries are never judged
//! again, and decoding evicts nothing. Entries keep their positions.

use super::knorm::KeyNorm;
use super::pyramidkv::PyramidKv;
use super::random_tokens::RandomTokens;
use super::snapkv::{Smoothing, SnapKv};
use super::{HeadGroup, Policy};
use crate::fault::AnyFault;
use crate::footprint::eviction::{
    EvictionError, LayerAt, LayerBudget, TokenEviction, TokenSparsity,
};
use crate::footprint::holdings::Holdings;
use crate::infer::cache::evicting::EvictingCache;
use crate::infer::cache::keeper::Keeper;
use crate::infer::cache::ranking::Ranking;
use crate::infer::cache::union::UnionCache;
use crate::infer::cache::{HeadCache, RowSpec};
use crate::infer::error::InferError;

/// A way to rank the tokens of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EvictionMethod {
    /// By the attention they get from the last tokens.
    SnapKv(Smoothing),
    /// The same, with more entries in early layers.
    PyramidKv(Smoothing),
    /// By the norm of their keys, low ones first.
    KeyNorm,
    /// At random: what any ranking must beat.
    RandomTokens {
        /// Names the draw.
        seed: u64,
    },
}

/// Who chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Selection {
    /// The heads of a group choose together, by their mean score.
    #[default]
    KvHead,
    /// Every head for itself; what any of them chose is stored once.
    Head,
}

/// What the user decides about eviction, whatever the method.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EvictionSettings {
    /// Share of a chunk's entries that is evicted.
    pub sparsity: TokenSparsity,
    /// Trailing tokens of each call that are always kept.
    pub observation_len: usize,
    /// Whether the prompt's end is appended to every chunk but the last to observe it.
    pub patch: bool,
    /// Who chooses.
    pub selection: Selection,
}

/// One method under one setting, for a model of a number of layers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EvictionPolicy {
    method: EvictionMethod,
    settings: EvictionSettings,
    num_layers: usize,
}

impl EvictionMethod {
    /// The method's name in settings and results.
    pub fn name(&self) -> &'static str {
        match self {
            Self::SnapKv(_) => "snapkv",
            Self::PyramidKv(_) => "pyramidkv",
            Self::KeyNorm => "knorm",
            Self::RandomTokens { .. } => "random-tokens",
        }
    }

    fn ranking(&self, layer: usize) -> Box<dyn Ranking> {
        match *self {
            Self::SnapKv(smoothing) => Box::new(SnapKv::new(smoothing)),
            Self::PyramidKv(smoothing) => Box::new(PyramidKv::new(smoothing)),
            Self::KeyNorm => Box::new(KeyNorm),
            Self::RandomTokens { seed } => Box::new(RandomTokens::new(seed, layer)),
        }
    }

    fn layers(&self) -> LayerBudget {
        match self {
            Self::SnapKv(_) | Self::RandomTokens { .. } => LayerBudget::Uniform,
            Self::PyramidKv(_) => PyramidKv::LAYERS,
            Self::KeyNorm => KeyNorm::LAYERS,
        }
    }

    /// Whether the ranking is made by the queries of the observation window.
    fn observes(&self) -> bool {
        matches!(self, Self::SnapKv(_) | Self::PyramidKv(_))
    }
}

impl EvictionPolicy {
    /// Puts a method and its setting together.
    ///
    /// # Errors
    /// [`EvictionError::NoWindow`] for a method that ranks by an observation window without one.
    pub fn new(
        method: EvictionMethod,
        settings: EvictionSettings,
        num_layers: usize,
    ) -> Result<Self, EvictionError> {
        if method.observes() && settings.observation_len == 0 {
            let needs = method.name();
            return Err(EvictionError::NoWindow { needs });
        }
        Ok(Self {
            method,
            settings,
            num_layers,
        })
    }

    /// What ranks.
    pub fn method(&self) -> EvictionMethod {
        self.method
    }

    /// Layers of the model.
    pub fn num_layers(&self) -> usize {
        self.num_layers
    }

    /// What was decided about it.
    pub fn settings(&self) -> EvictionSettings {
        self.settings
    }

    /// What it holds in a model of `group_size` heads per kv head.
    pub fn holdings(&self, group_size: usize) -> Holdings {
        Holdings::Ranked {
            eviction: self.eviction(),
            num_layers: self.num_layers,
            num_choosers: match self.settings.selection {
                Selection::KvHead => 1,
                Selection::Head => group_size,
            },
        }
    }

    /// What decides how much is kept.
    pub fn eviction(&self) -> TokenEviction {
        TokenEviction {
            observation_len: self.settings.observation_len,
            sparsity: self.settings.sparsity,
            patch: self.settings.patch,
            layers: self.method.layers(),
        }
    }
}

impl Policy for EvictionPolicy {
    fn open(&self, layer: usize, spec: &RowSpec) -> Result<Vec<HeadGroup>, InferError> {
        let at = LayerAt {
            layer,
            num_layers: self.num_layers,
        };
        let keeper = Keeper::new(self.method.ranking(layer), self.eviction(), at);
        let cache: Box<dyn HeadCache> = match self.settings.selection {
            Selection::KvHead => Box::new(EvictingCache::new(spec.clone(), keeper)?),
            Selection::Head => Box::new(UnionCache::new(spec, keeper)?),
        };
        Ok(vec![HeadGroup {
            num_kv_heads: spec.num_kv_heads,
            cache,
        }])
    }

    fn patch_len(&self) -> usize {
        self.eviction().patch_len(false)
    }

    fn check(&self, chunk_len: usize) -> Result<(), AnyFault> {
        Ok(self.eviction().check(chunk_len)?)
    }
}
