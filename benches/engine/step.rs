//! Training steps on random weights: loss, gate gradients, frozen weights, gates of the middle of training.

use super::shape::{Shape, random_ids};
use super::{Amount, Measured, roofline};
use prulong::attention::choose::{Case, choose};
use prulong::attention::gated::GatedAttention;
use prulong::cli::run_setup::{self, pass_settings};
use prulong::config::dtype::Dtype;
use prulong::config::loss::{LossSettings, MemorySettings, Saving};
use prulong::estimate::flops::Flops;
use prulong::estimate::plan::{Gates, Plan, WeightUpdates};
use prulong::model::config::ModelConfig;
use prulong::model::train_pass::{Row, TrainPass};
use prulong::random;
use prulong::real::real;
use prulong::span::Span;

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
        run_setup::keep_freed_memory(tch::Device::Cpu);
        let model = self.shape.model(self.dtype);
        let ids = random_ids(model.config().vocab_size, self.num_tokens);
        let shape = model.config().shape;
        let z = gates(shape.num_layers, shape.num_kv_heads);
        let case = Case::on_cpu(self.dtype.kind());
        let choice = choose("auto", case).unwrap_or_else(|error| panic!("{error}"));
        let backend = choice.backend;
        let [sink, window, block] = self.shape.span();
        let span = Span::new(sink, window, block).unwrap_or_else(|error| panic!("{error}"));
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
            settings: pass_settings(&memory, &LossSettings::default(), model.device())
                .unwrap_or_else(|error| panic!("{error}")),
        };
        let mut labels = ids.clone();
        labels[0] = -100;
        let row = Row::new(&model, &ids, &labels, &[ids.len()]);
        let measured = Measured::new(self.name(), repeat, Some(backend.name()), || {
            pass.run(&row, &z, 1.0, None);
            Amount {
                tokens: ids.len(),
                bytes: None,
            }
        });
        let plan = self.plan(model.config(), span, &z);
        let rows_per_s = measured.tokens_per_s / real(ids.len());
        let useful_per_s = Flops::new(&plan).useful() * rows_per_s;
        Measured {
            span: Some(self.shape.span()),
            roofline_share: Some(useful_per_s / roofline::flops_per_s(self.dtype)),
            ..measured
        }
    }

    fn plan(&self, config: &ModelConfig, span: Span, z: &[Vec<f64>]) -> Plan {
        let share = |runs: fn(f64) -> bool| {
            let z = z.concat();
            let count = z.iter().filter(|z| runs(**z)).count();
            real(count) / real(z.len())
        };
        Plan {
            model: config.sizes(),
            num_tokens: self.num_tokens,
            span,
            dtype: self.dtype,
            memory: MemorySettings::default(),
            loss: LossSettings::default(),
            gates: Gates::Shares {
                full: share(|z| z > 0.0),
                streaming: share(|z| z < 1.0),
            },
            weights: WeightUpdates::Frozen,
        }
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
