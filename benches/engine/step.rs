//! Training steps on random weights: loss, gate gradients, frozen weights, gates of the middle of training.

use super::shape::{Shape, random_ids};
use super::{Amount, Measured};
use prulong::attention::choose::choose;
use prulong::attention::gated::GatedAttention;
use prulong::cli::run_setup::pass_settings;
use prulong::config::loss::{LossSettings, MemorySettings, Saving};
use prulong::model::train_pass::{Row, TrainPass};
use prulong::random;
use prulong::span::Span;
use prulong::torch::dtype::Dtype;
use tch::Device;

/// Sink, window and block of the published runs.
const SPAN: (usize, usize, usize) = (128, 1024, 128);

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
        let model = self.shape.model(self.dtype);
        let ids = random_ids(model.config().vocab_size, self.num_tokens);
        let shape = model.config().shape;
        let z = gates(shape.num_layers, shape.num_kv_heads);
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
