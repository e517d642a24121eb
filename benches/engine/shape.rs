//! Models of random weights, and tokens for them.

use prulong::config::dtype::Dtype;
use prulong::model::config::ModelConfig;
use prulong::model::init::{Init, Outputs, fresh_tensors};
use prulong::model::llama::Llama;
use prulong::random;
use std::path::Path;
use tch::Device;

/// A model's sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Barely a model.
    Micro,
    /// The model in `checkpoints/tiny`.
    Tiny,
    /// 124 million weights: 12 layers of 12 heads of 64, 3 kv heads.
    M124,
    /// Three layers of the former, for long rows.
    M124L3,
}

impl Shape {
    /// The word in the names of cases.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Micro => "micro",
            Self::Tiny => "tiny",
            Self::M124 => "124m",
            Self::M124L3 => "124m:3",
        }
    }

    /// Sink, window and block: what the tiny model's masks are trained with, else those of the published runs.
    pub(crate) fn span(self) -> [usize; 3] {
        match self {
            Self::Micro | Self::Tiny => [16, 128, 1],
            Self::M124 | Self::M124L3 => [128, 1024, 128],
        }
    }

    /// # Panics
    /// If `checkpoints/tiny` cannot be read.
    pub(crate) fn config(self) -> ModelConfig {
        let sizes = |layers, heads, kv_heads, head_dim, inner, vocab| {
            let hidden = heads * head_dim;
            ModelConfig::parse(&format!(
                r#"{{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": {vocab},
                "hidden_size": {hidden}, "intermediate_size": {inner}, "num_hidden_layers": {layers},
                "num_attention_heads": {heads}, "num_key_value_heads": {kv_heads}, "head_dim": {head_dim},
                "rms_norm_eps": 1e-5, "rope_theta": 500000.0, "max_position_embeddings": 131072,
                "hidden_act": "silu", "tie_word_embeddings": false}}"#
            ))
        };
        let config = match self {
            Self::Micro => sizes(2, 4, 2, 8, 48, 64),
            Self::M124 => sizes(12, 12, 3, 64, 2048, 32000),
            Self::M124L3 => sizes(3, 12, 3, 64, 2048, 32000),
            Self::Tiny => {
                let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("checkpoints/tiny");
                return ModelConfig::load(&folder).unwrap_or_else(|error| panic!("{error}"));
            }
        };
        config.unwrap_or_else(|error| panic!("{error}"))
    }

    /// A model of random weights.
    ///
    /// # Panics
    /// If it cannot be made: this is a benchmark.
    pub(crate) fn model(self, dtype: Dtype) -> Llama {
        let config = self.config();
        let init = Init {
            embedding_std: 1.0,
            outputs: Outputs::Drawn,
            seed: 1,
        };
        let tensors = fresh_tensors(&config, init, Device::Cpu)
            .into_iter()
            .map(|(name, tensor)| (name, tensor.to_kind(dtype.kind())));
        let model = Llama::from_tensors(config, tensors.collect());
        model.unwrap_or_else(|error| panic!("{error}"))
    }
}

/// Tokens of a model's vocabulary.
pub(crate) fn random_ids(vocab_size: usize, count: usize) -> Vec<i64> {
    let mut rng = random::stream("bench tokens", &[]);
    let ids = (0..count).map(|_| random::below(&mut rng, vocab_size as u64));
    ids.filter_map(|id| i64::try_from(id).ok()).collect()
}
