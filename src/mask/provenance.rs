//! Where a mask comes from: everything its file says about model, span, data and run, known before the first step.
//!
//! A run writes this as `export.json` when it starts, so that exporting needs neither the model nor the data again.

use crate::fault::{Coded, Kind};
use crate::mask::arch::ArchFacts;
use crate::mask::gate_method::GateMethod;
use crate::schedule::course::Plateau;
use crate::span::Span;
use serde::{Deserialize, Deserializer};
use std::path::Path;

/// Largest file accepted; real ones are below 4 KiB.
const MAX_BYTES: usize = 1 << 20;

/// Facts of a run that its mask files repeat.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// Architecture of the base model.
    pub arch: ArchFacts,
    /// Hub name (`owner/name`), or [`folder_name`] of a local folder: never a path.
    pub base_model: String,
    /// Commit of the hub repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_model_revision: Option<String>,
    /// Digest over dtype name and stored bytes of every layer's `k_proj.weight`, in layer order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_weights_sha256: Option<String>,
    /// Whether weights trained together with the gates; then the mask belongs to those weights only.
    pub weights_modified: bool,
    /// Span to serve the mask with.
    #[serde(deserialize_with = "read_span")]
    pub deploy_span: Span,
    /// Span the gates saw.
    #[serde(deserialize_with = "read_span")]
    pub train_span: Span,
    /// Tokens per row of training data.
    pub seq_len: usize,
    /// Optimizer steps of the whole run.
    pub num_steps: u64,
    /// Seed of the run.
    pub seed: u64,
    /// How the gates were trained; runs that do not say so are PruLong's.
    #[serde(default)]
    pub method: GateMethod,
    /// Sparsity the run ends at; absent if its method has no target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_sparsity: Option<f64>,
    /// Targets before that, with the step that ends each; the run's checkpoints keep the gates of those they have passed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plateaus: Vec<Plateau>,
    /// Fingerprint of the packed data.
    pub data_id: String,
    /// SHA-256 of the resolved configuration, paths left out.
    pub config_sha256: String,
}

/// Why an `export.json` was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProvenanceError {
    /// Far larger than any real one.
    #[error("{num_bytes} bytes are more than the {MAX_BYTES} of any `export.json`")]
    TooLarge {
        /// Size found.
        num_bytes: usize,
    },
    /// Not the expected JSON object.
    #[error("not a run's `export.json`")]
    Json {
        /// What the parser says, with line and column.
        source: serde_json::Error,
    },
    /// The facts contradict each other.
    #[error("the architecture is impossible")]
    Shape {
        /// Which counts.
        source: crate::shape::ShapeError,
    },
    /// Targets one after the other that no run has.
    #[error(
        "the targets in `plateaus`, with `target_sparsity` after them, do not rise from step to step"
    )]
    Plateaus,
    /// A target that is no share.
    #[error("a target sparsity of {value} is not between 0 and 1")]
    Target {
        /// The value found.
        value: f64,
    },
}

impl Coded for ProvenanceError {
    fn code(&self) -> &'static str {
        "mask.provenance"
    }
    fn kind(&self) -> Kind {
        Kind::Input
    }
    fn hint(&self) -> Option<String> {
        Some("the run wrote this file when it started; restore it, or train again".to_owned())
    }
}

impl Provenance {
    /// Reads what [`Provenance::to_json`] wrote.
    ///
    /// # Errors
    /// [`ProvenanceError`] for anything else.
    pub fn parse(bytes: &[u8]) -> Result<Self, ProvenanceError> {
        if bytes.len() > MAX_BYTES {
            return Err(ProvenanceError::TooLarge {
                num_bytes: bytes.len(),
            });
        }
        let provenance: Self =
            serde_json::from_slice(bytes).map_err(|source| ProvenanceError::Json { source })?;
        let shape = provenance.arch.shape().checked();
        shape.map_err(|source| ProvenanceError::Shape { source })?;
        let passed = provenance.plateaus.iter().map(|plateau| plateau.sparsity);
        let mut targets = passed.chain(provenance.target_sparsity);
        if let Some(value) = targets.find(|value| !(0.0..=1.0).contains(value)) {
            return Err(ProvenanceError::Target { value });
        }
        provenance.check_plateaus()?;
        Ok(provenance)
    }

    /// Targets and steps must rise, and the run's own target stand above them.
    fn check_plateaus(&self) -> Result<(), ProvenanceError> {
        let all = self
            .plateaus
            .iter()
            .map(|plateau| (plateau.sparsity, plateau.step));
        let end = self
            .target_sparsity
            .map(|sparsity| (sparsity, self.num_steps));
        let all: Vec<(f64, u64)> = all.chain(end).collect();
        let has_end = self.plateaus.is_empty() || end.is_some();
        let rises = |pair: &[(f64, u64)]| pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1;
        if has_end && all.windows(2).all(rises) {
            return Ok(());
        }
        Err(ProvenanceError::Plateaus)
    }

    /// Indented JSON with a final line feed.
    ///
    /// # Panics
    /// Never: every field has a JSON form.
    pub fn to_json(&self) -> String {
        format!("{:#}\n", serde_json::json!(self))
    }
}

/// The name by which a mask remembers a local model folder: the path's last component.
pub fn folder_name(path: &Path) -> String {
    path.file_name().map_or_else(
        || "model".to_owned(),
        |name| name.to_string_lossy().into_owned(),
    )
}

fn read_span<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Span, D::Error> {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Lengths {
        sink_len: usize,
        window_len: usize,
        block_len: usize,
    }
    let lengths = Lengths::deserialize(deserializer)?;
    Span::new(lengths.sink_len, lengths.window_len, lengths.block_len)
        .map_err(serde::de::Error::custom)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::mask::arch;

    /// A complete example.
    pub(crate) fn published() -> Provenance {
        Provenance {
            arch: arch::tests::llama(),
            base_model: "meta-llama/Llama-3.1-8B-Instruct".to_owned(),
            base_model_revision: None,
            base_weights_sha256: None,
            weights_modified: false,
            deploy_span: Span::new(128, 1024, 1).unwrap(),
            train_span: Span::new(128, 1024, 128).unwrap(),
            seq_len: 131_072,
            num_steps: 1000,
            seed: 42,
            method: GateMethod::PruLong,
            target_sparsity: Some(0.7),
            plateaus: Vec::new(),
            data_id: "9f2c".to_owned(),
            config_sha256: "51ab".to_owned(),
        }
    }

    #[test]
    fn export_json_reads_back_equal() {
        let plateaus = vec![Plateau {
            sparsity: 0.35,
            step: 500,
        }];
        for provenance in [
            published(),
            Provenance {
                plateaus,
                ..published()
            },
        ] {
            let text = provenance.to_json();
            assert_eq!(Provenance::parse(text.as_bytes()).unwrap(), provenance);
        }
        assert!(!published().to_json().contains("plateaus"));
    }

    #[test]
    fn wrong_files_are_refused() {
        let good = published().to_json();
        for (from, to) in [
            ("\"seed\"", "\"seeds\""),
            ("\"window_len\": 1024", "\"window_len\": 0"),
            ("\"window_len\": 1024", "\"window_len\": -1"),
            ("\"num_key_value_heads\": 8", "\"num_key_value_heads\": 7"),
            ("\"target_sparsity\": 0.7", "\"target_sparsity\": 1.7"),
            ("\"seed\": 42", "\"seed\": \"42\""),
            (
                "\"seed\": 42",
                "\"seed\": 42, \"plateaus\": [{\"sparsity\": 1.5, \"step\": 5}]",
            ),
            (
                "\"seed\": 42",
                "\"seed\": 42, \"plateaus\": [{\"sparsity\": 0.5}]",
            ),
            (
                "\"seed\": 42",
                "\"seed\": 42, \"plateaus\": [{\"sparsity\": 0.8, \"step\": 5}]",
            ),
            (
                "\"seed\": 42",
                "\"seed\": 42, \"plateaus\": [{\"sparsity\": 0.5, \"step\": 1000}]",
            ),
        ] {
            assert!(good.contains(from), "{from} in {good}");
            let bad = good.replace(from, to);
            let error = Provenance::parse(bad.as_bytes()).unwrap_err();
            assert_eq!(error.code(), "mask.provenance", "{to}");
        }
        assert!(Provenance::parse(&vec![b' '; MAX_BYTES + 1]).is_err());
    }

    #[test]
    fn a_local_folder_keeps_only_its_last_name() {
        assert_eq!(folder_name(Path::new("/home/me/models/tiny/")), "tiny");
        assert_eq!(folder_name(Path::new("..")), "model");
    }
}
