//! A model as mask files see it.

use super::config::ModelConfig;
use super::rope_config::RopeScaling;
use crate::mask::arch::{ArchFacts, RopeFacts};

/// The facts a mask depends on, for its fingerprint.
pub fn arch_facts(config: &ModelConfig) -> ArchFacts {
    ArchFacts {
        model_type: "llama".to_owned(),
        num_hidden_layers: config.shape.num_layers,
        num_attention_heads: config.shape.num_heads,
        num_key_value_heads: config.shape.num_kv_heads,
        head_dim: config.shape.head_dim,
        hidden_size: config.hidden_size,
        vocab_size: config.vocab_size,
        max_position_embeddings: config.max_position_embeddings,
        rope_parameters: rope_facts(config),
    }
}

fn rope_facts(config: &ModelConfig) -> RopeFacts {
    let unscaled = RopeFacts {
        rope_type: "default".to_owned(),
        rope_theta: config.rope.theta,
        factor: None,
        low_freq_factor: None,
        high_freq_factor: None,
        original_max_position_embeddings: None,
    };
    match config.rope.scaling {
        RopeScaling::Default => unscaled,
        RopeScaling::Linear { factor } => RopeFacts {
            rope_type: "linear".to_owned(),
            factor: Some(factor),
            ..unscaled
        },
        RopeScaling::Llama3 {
            factor,
            low_freq_factor,
            high_freq_factor,
            original_max_len,
        } => RopeFacts {
            rope_type: "llama3".to_owned(),
            factor: Some(factor),
            low_freq_factor: Some(low_freq_factor),
            high_freq_factor: Some(high_freq_factor),
            original_max_position_embeddings: usize::try_from(original_max_len).ok(),
            ..unscaled
        },
    }
}
