//! The base model's architecture: what a mask's fingerprint is made of.
//!
//! Field names are those of a Hugging Face `config.json`, because canonical JSON of these structs is what gets hashed and stored.
//! Unknown fields are ignored when reading: files of later versions may say more about a model.

use crate::mask::canonical;
use crate::shape::AttentionShape;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// The facts of a model that a mask depends on, defaults filled in.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ArchFacts {
    /// Family, e.g. `llama`.
    pub model_type: String,
    /// Decoder blocks.
    pub num_hidden_layers: usize,
    /// Query heads per layer.
    pub num_attention_heads: usize,
    /// Key/value heads per layer; equal to the query heads where the config leaves them out.
    pub num_key_value_heads: usize,
    /// Width of one head; hidden / heads where the config leaves it out.
    pub head_dim: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Rows of the embedding.
    pub vocab_size: usize,
    /// Longest position the model was made for.
    pub max_position_embeddings: usize,
    /// Rotary embedding.
    pub rope_parameters: RopeFacts,
}

/// Rotary embedding, normalised: a factor that does not apply to the type is absent.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct RopeFacts {
    /// `default`, `linear` or `llama3`.
    pub rope_type: String,
    /// Base of the frequencies.
    pub rope_theta: f64,
    /// Stretch of `linear` and `llama3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub factor: Option<f64>,
    /// `llama3` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub low_freq_factor: Option<f64>,
    /// `llama3` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub high_freq_factor: Option<f64>,
    /// `llama3` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original_max_position_embeddings: Option<usize>,
}

impl ArchFacts {
    /// The attention layout.
    pub fn shape(&self) -> AttentionShape {
        AttentionShape {
            num_layers: self.num_hidden_layers,
            num_heads: self.num_attention_heads,
            num_kv_heads: self.num_key_value_heads,
            head_dim: self.head_dim,
        }
    }

    /// Lower-case hex SHA-256 of the seven facts that make tensors fit: independent of paths, names and rope.
    pub fn fingerprint(&self) -> String {
        let hashed = Value::Object(
            self.hashed_facts()
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value))
                .collect(),
        );
        hex(&Sha256::digest(canonical::to_string(&hashed)))
    }

    /// Canonical JSON of every fact, as the sidecar stores it.
    pub fn config_json(&self) -> String {
        canonical::to_string(&serde_json::json!(self))
    }

    /// Names of the hashed facts in which `self` and `other` differ, with both values.
    pub fn hashed_differences(&self, other: &Self) -> Vec<String> {
        differences(&self.hashed_facts(), &other.hashed_facts())
    }

    /// Names of the rotary and length facts in which `self` and `other` differ, with both values.
    pub fn position_differences(&self, other: &Self) -> Vec<String> {
        let facts = |arch: &Self| {
            [
                (
                    "max_position_embeddings",
                    Value::from(arch.max_position_embeddings),
                ),
                ("rope_parameters", serde_json::json!(arch.rope_parameters)),
            ]
        };
        differences(&facts(self), &facts(other))
    }

    fn hashed_facts(&self) -> [(&'static str, Value); 7] {
        [
            ("model_type", self.model_type.as_str().into()),
            ("num_hidden_layers", self.num_hidden_layers.into()),
            ("num_attention_heads", self.num_attention_heads.into()),
            ("num_key_value_heads", self.num_key_value_heads.into()),
            ("head_dim", self.head_dim.into()),
            ("hidden_size", self.hidden_size.into()),
            ("vocab_size", self.vocab_size.into()),
        ]
    }
}

fn differences(ours: &[(&str, Value)], theirs: &[(&str, Value)]) -> Vec<String> {
    ours.iter()
        .zip(theirs)
        .filter(|((_, ours), (_, theirs))| ours != theirs)
        .map(|((key, ours), (_, theirs))| format!("{key} {ours} against {theirs}"))
        .collect()
}

/// Lower-case hex digits of `bytes`.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        use std::fmt::Write as _;
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Llama-3.1-8B.
    pub(crate) fn llama() -> ArchFacts {
        ArchFacts {
            model_type: "llama".to_owned(),
            num_hidden_layers: 32,
            num_attention_heads: 32,
            num_key_value_heads: 8,
            head_dim: 128,
            hidden_size: 4096,
            vocab_size: 128_256,
            max_position_embeddings: 131_072,
            rope_parameters: RopeFacts {
                rope_type: "llama3".to_owned(),
                rope_theta: 500_000.0,
                factor: Some(8.0),
                low_freq_factor: Some(1.0),
                high_freq_factor: Some(4.0),
                original_max_position_embeddings: Some(8192),
            },
        }
    }

    #[test]
    fn the_fingerprint_matches_the_golden_hash_and_ignores_rope() {
        let golden = "79d52bbf991018e332361c8e28caa7a3b5b1d581c6501804f2251f5803f89e19";
        assert_eq!(llama().fingerprint(), golden);
        let mut other = llama();
        other.rope_parameters.rope_theta = 10_000.0;
        other.max_position_embeddings = 8192;
        assert_eq!(other.fingerprint(), golden);
        other.vocab_size += 1;
        assert_ne!(other.fingerprint(), golden);
        assert_eq!(
            llama().hashed_differences(&other),
            ["vocab_size 128256 against 128257"]
        );
    }

    #[test]
    fn the_stored_config_is_canonical_and_reads_back() {
        let text = llama().config_json();
        assert!(text.starts_with("{\"head_dim\":128,\"hidden_size\":4096,"));
        assert!(text.contains("\"rope_theta\":500000.0"));
        let again: ArchFacts = serde_json::from_str(&text).unwrap();
        assert_eq!(again, llama());
    }
}
