//! What `--method` says: one method and its settings as a word, `NAME[:SPARSITY[:OPTION]...]` or `NAME[:SETTING=N]...`.
//!
//! A word names itself: printed again it holds the sparsity and every option that differs from the default, so that results
//! tell methods apart.

use super::error::EvalError;
use super::{nsa_words, skip_words};
use crate::config::error::nearest;
use crate::footprint::eviction::TokenSparsity;
use crate::infer::cache::branches::Branches;
use crate::infer::policy::evicting::{EvictionMethod, EvictionSettings, Selection};
use crate::infer::policy::skipping::SkippingMethod;
use crate::infer::policy::snapkv::{Pooling, Smoothing};
use std::fmt;
use std::str::FromStr;

/// The published observation window, in tokens.
const OBSERVATION_LEN: usize = 64;

/// Every method, as its word begins.
pub(super) const NAMES: [&str; 13] = [
    "full",
    "mask",
    "all-streaming",
    "streaming-llm",
    "snapkv",
    "pyramidkv",
    "knorm",
    "random-tokens",
    "a-shape",
    "vertical-slash",
    "block-sparse",
    "moba",
    nsa_words::NAME,
];

/// A method that was asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MethodSpec {
    /// Full attention, which is always run.
    Full,
    /// The mask under test, which is always run where there is one.
    Mask,
    /// Every head streaming.
    AllStreaming,
    /// Every head streaming, at positions inside the cache.
    StreamingLlm,
    /// A ranked share of each chunk.
    Evicting(EvictionMethod, EvictionSettings),
    /// Everything, of which queries of the prompt attend to a part.
    Skipping(SkippingMethod),
    /// Everything, read by branches that the model was trained with.
    Nsa(Branches),
}

impl MethodSpec {
    /// Whether every head streams, so that sink and window must be known.
    pub fn streams(&self) -> bool {
        matches!(self, Self::AllStreaming | Self::StreamingLlm)
    }
}

impl FromStr for MethodSpec {
    type Err = EvalError;

    fn from_str(text: &str) -> Result<Self, EvalError> {
        let refused = |reason: String| EvalError::Method {
            text: text.to_owned(),
            reason,
        };
        let mut words = text.split(':');
        let name = words.next().unwrap_or_default();
        let plain = match name {
            "full" => Some(Self::Full),
            "mask" => Some(Self::Mask),
            "all-streaming" => Some(Self::AllStreaming),
            "streaming-llm" => Some(Self::StreamingLlm),
            _ => None,
        };
        if let Some(plain) = plain {
            return match words.next() {
                None => Ok(plain),
                Some(word) => Err(refused(format!("`{name}` takes no `{word}`"))),
            };
        }
        if let Some(method) = skip_words::read(name, &mut words).map_err(refused)? {
            return Ok(Self::Skipping(method));
        }
        if name == nsa_words::NAME {
            return Ok(Self::Nsa(nsa_words::read(words).map_err(refused)?));
        }
        let mut ranked = Ranked::named(name).map_err(refused)?;
        let share = words.next().unwrap_or_default();
        let sparsity = share.parse().ok().map(TokenSparsity::new);
        ranked.settings.sparsity = match sparsity {
            Some(sparsity) => sparsity.map_err(|error| refused(error.to_string()))?,
            None => {
                return Err(refused(format!(
                    "it needs a token sparsity, as in `{name}:0.5`"
                )));
            }
        };
        for word in words {
            ranked.set(word).map_err(refused)?;
        }
        Ok(Self::Evicting(ranked.method, ranked.settings))
    }
}

/// A method while its options are read.
struct Ranked {
    method: EvictionMethod,
    settings: EvictionSettings,
}

impl Ranked {
    fn named(name: &str) -> Result<Self, String> {
        let method = match name {
            "snapkv" => EvictionMethod::SnapKv(Smoothing::default()),
            "pyramidkv" => EvictionMethod::PyramidKv(Smoothing::default()),
            "knorm" => EvictionMethod::KeyNorm,
            "random-tokens" => EvictionMethod::RandomTokens { seed: 0 },
            _ => {
                let known = nearest(name, &NAMES);
                return Err(format!("there is no method `{name}`: {known}"));
            }
        };
        Ok(Self {
            method,
            settings: EvictionSettings {
                sparsity: TokenSparsity::ZERO,
                observation_len: OBSERVATION_LEN,
                patch: false,
                selection: Selection::KvHead,
            },
        })
    }

    /// Applies one option.
    fn set(&mut self, word: &str) -> Result<(), String> {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        let count = || {
            value
                .parse::<u32>()
                .map_err(|_| format!("`{word}` needs a whole number"))
        };
        match (key, value, &mut self.method) {
            ("patch", "", _) => self.settings.patch = true,
            ("head", "", _) => self.settings.selection = Selection::Head,
            ("window", ..) => self.settings.observation_len = count()? as usize,
            ("seed", _, EvictionMethod::RandomTokens { seed }) => *seed = u64::from(count()?),
            (
                "max-pool",
                "",
                EvictionMethod::SnapKv(smoothing) | EvictionMethod::PyramidKv(smoothing),
            ) => smoothing.pooling = Pooling::Max,
            _ => return Err(format!("`{}` has no option `{word}`", self.method.name())),
        }
        Ok(())
    }
}

impl fmt::Display for MethodSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (method, settings) = match self {
            Self::Full => return f.write_str("full"),
            Self::Mask => return f.write_str("mask"),
            Self::AllStreaming => return f.write_str("all-streaming"),
            Self::StreamingLlm => return f.write_str("streaming-llm"),
            Self::Skipping(method) => return skip_words::write(*method, f),
            Self::Nsa(branches) => return nsa_words::write(*branches, f),
            Self::Evicting(method, settings) => (method, settings),
        };
        write!(f, "{}:{}", method.name(), settings.sparsity.value())?;
        if settings.patch {
            f.write_str(":patch")?;
        }
        if settings.selection == Selection::Head {
            f.write_str(":head")?;
        }
        if settings.observation_len != OBSERVATION_LEN {
            write!(f, ":window={}", settings.observation_len)?;
        }
        match method {
            EvictionMethod::SnapKv(smoothing) | EvictionMethod::PyramidKv(smoothing)
                if smoothing.pooling == Pooling::Max =>
            {
                f.write_str(":max-pool")
            }
            EvictionMethod::RandomTokens { seed } if *seed != 0 => write!(f, ":seed={seed}"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_reading_and_printing() {
        for word in [
            "full",
            "mask",
            "all-streaming",
            "streaming-llm",
            "snapkv:0.5",
            "snapkv:0.7:patch:head:window=16:max-pool",
            "pyramidkv:0.7:patch",
            "knorm:0.25",
            "random-tokens:0:window=0:seed=3",
        ] {
            assert_eq!(word.parse::<MethodSpec>().unwrap().to_string(), word);
        }
        let long: MethodSpec = "snapkv:0.50:window=64:head:patch".parse().unwrap();
        assert_eq!(long.to_string(), "snapkv:0.5:patch:head");
    }

    #[test]
    fn every_name_is_one() {
        for name in NAMES {
            let least = [name.to_owned(), format!("{name}:0.5")];
            assert!(
                least.iter().any(|word| word.parse::<MethodSpec>().is_ok()),
                "{name}"
            );
        }
    }

    #[test]
    fn words_that_mean_nothing_are_refused_with_the_reason() {
        for (word, reason) in [
            ("snap", "there is no method `snap`: did you mean `snapkv`?"),
            ("", "there is no method ``: known here: `full`, `mask`, "),
            ("snapkv", "it needs a token sparsity, as in `snapkv:0.5`"),
            ("snapkv:half", "it needs a token sparsity"),
            ("snapkv:1", "a token sparsity of 1 is not in [0, 1)"),
            ("knorm:0.5:max-pool", "`knorm` has no option `max-pool`"),
            ("snapkv:0.5:seed=1", "`snapkv` has no option `seed=1`"),
            (
                "snapkv:0.5:window=some",
                "`window=some` needs a whole number",
            ),
            ("full:0.5", "`full` takes no `0.5`"),
        ] {
            let error = word.parse::<MethodSpec>().unwrap_err().to_string();
            assert!(error.contains(reason), "{word}: {error}");
        }
    }
}
