//! Training steps on random weights: loss, gate gradients, frozen weights, gates of the middle of training.

use super::{Amount, Measured};
use prulong::attention::choose::choose;
use prulong::attention::gated::GatedAttention;
use prulong::cli::run_setup::pass_settings;
use prulong::config::loss::{LossSettings, MemorySettings, Saving};
use prulong::model::config::ModelConfig;
use prulong::model::init::{Init, Outputs, fresh_tensors};
use prulong::model::llama::Llama;
use prulong::model::train_pass::{Row, TrainPass};
use prulong::random;
use prulong::span::Span;
use prulong::torch::dtype::Dtype;
use std::path::Path;
use tch::Device;

/// Sink, window and block of the published runs.
const SPAN: (usize, usize, usize) = (128, 1024, 128);

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
    fn name(self) -> &'static str {
        match self {
            Self::Micro => "micro",
            Self::Tiny => "tiny",
            Self::M124 => "124m",
            Self::M124L3 => "124m:3",
        }
    }

    /// # Panics
    /// If `checkpoints/tiny` cannot be read.
    fn config(self) -> ModelConfig {
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
}

/// One step's case.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StepCase {
    shape: Shape,
    num_tokens: usize,
    dtype: Dtype,
    saving: Saving,
}

impl StepCase {
    /// A case for every saving policy; the large shape only with the default one.
    pub(crate) fn policies(
        shape: Shape,
        num_tokens: usize,
        dtype: Dtype,
    ) -> impl Iterator<Item = Self> {
        let all = [Saving::Inputs, Saving::InputsAndAttention, Saving::All];
        let wanted = move |saving: &Saving| {
            *saving == Saving::InputsAndAttention || !matches!(shape, Shape::M124)
        };
        all.into_iter().filter(wanted).map(move |saving| Self {
            shape,
            num_tokens,
            dtype,
            saving,
        })
    }

    pub(crate) fn name(&self) -> String {
        let saving = match self.saving {
            Saving::Inputs => "x",
            Saving::InputsAndAttention => "x+attention",
            Saving::All => "all",
        };
        let (shape, dtype) = (self.shape.name(), self.dtype);
        format!("step/{shape}/{}/{dtype}/{saving}", self.num_tokens)
    }

    /// # Panics
    /// If the model cannot be made: this is a benchmark.
    pub(crate) fn measure(&self, repeat: usize) -> Measured {
        let config = self.shape.config();
        let init = Init {
            embedding_std: 1.0,
            outputs: Outputs::Drawn,
            seed: 1,
        };
        let tensors = fresh_tensors(&config, init, Device::Cpu)
            .into_iter()
            .map(|(name, tensor)| (name, tensor.to_kind(self.dtype.kind())));
        let ids = random_ids(config.vocab_size, self.num_tokens);
        let z = gates(config.shape.num_layers, config.shape.num_kv_heads);
        let model = Llama::from_tensors(config, tensors.collect());
        let model = model.unwrap_or_else(|error| panic!("{error}"));
        let backend = choose("auto", Device::Cpu).unwrap_or_else(|error| panic!("{error}"));
        let span = Span::new(SPAN.0, SPAN.1, SPAN.2).unwrap_or_else(|error| panic!("{error}"));
        let memory = MemorySettings {
            saving: self.saving,
            ..MemorySettings::default()
        };
        let pass = TrainPass {
            model: &model,
            attention: GatedAttention {
                backend: &*backend,
                span: Some(&span),
            },
            settings: pass_settings(&memory, &LossSettings::default()),
        };
        let mut labels = ids.clone();
        labels[0] = -100;
        let row = Row::new(&model, &ids, &labels, &[ids.len()]);
        Measured::new(self.name(), repeat, Some(backend.name()), || {
            pass.run(&row, &z, 1.0, None);
            Amount {
                tokens: ids.len(),
                bytes: None,
            }
        })
    }
}

fn random_ids(vocab_size: usize, count: usize) -> Vec<i64> {
    let mut rng = random::stream("bench tokens", &[]);
    let ids = (0..count).map(|_| random::below(&mut rng, vocab_size as u64));
    ids.filter_map(|id| i64::try_from(id).ok()).collect()
}

/// A third of the gates closed, a third open, the rest between: what sampling gives in the middle of training.
fn gates(num_layers: usize, num_kv_heads: usize) -> Vec<Vec<f64>> {
    let order = random::permutation("bench gates", &[], num_layers * num_kv_heads);
    let gate = |rank: &usize| match rank % 3 {
        0 => 0.0,
        1 => 1.0,
        _ => 0.5,
    };
    let layers = order.chunks(num_kv_heads);
    layers
        .map(|layer| layer.iter().map(gate).collect())
        .collect()
}
