//! One optimizer step of pretraining: all weights, full attention, no gates.

use super::error::TrainError;
use super::gate_trainer::clip_factor;
use super::optimizer::host_adamw::Rate;
use super::weight_trainer::{WeightRates, WeightTrainer, grad_square_sum};
use crate::attention::Backend;
use crate::attention::gated::GatedAttention;
use crate::attention::packed::Documents;
use crate::config::stage::Stage;
use crate::model::block::Saving;
use crate::model::llama::Llama;
use crate::model::loss::Targets;
use crate::model::train_pass::{ModelGrads, PassSettings, Row, TrainPass};
use crate::real::real;
use crate::torch::offload::Offload;
use tch::Tensor;

/// Tokens of one micro-batch: bounds the memory of a step, whatever the batch, so that nothing need be recomputed.
const MICRO_BATCH_TOKENS: usize = 8192;
/// Positions per chunk of the loss.
const LOSS_CHUNK: i64 = 1024;

/// One training sequence with a weight per token; 0 where no loss is wanted.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Token ids.
    pub ids: Vec<i64>,
    /// Weight of predicting each token from those before it; the first is never predicted.
    pub weights: Vec<f32>,
}

impl Sample {
    fn labels(&self) -> impl Iterator<Item = i64> + '_ {
        let first_ignored = std::iter::once(false).chain(std::iter::repeat(true));
        let tokens = self.ids.iter().zip(&self.weights).zip(first_ignored);
        tokens.map(|((id, weight), is_target)| {
            if is_target && *weight > 0.0 {
                *id
            } else {
                -100
            }
        })
    }

    /// Sum of the weights of all targets.
    fn total_weight(&self) -> f64 {
        self.weights
            .iter()
            .skip(1)
            .map(|weight| f64::from(*weight))
            .sum()
    }
}

/// What one step found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepLoss {
    /// Weighted mean cross-entropy per target, nats.
    pub loss: f64,
    /// Global gradient norm before clipping.
    pub grad_norm: f64,
    /// Tokens read.
    pub num_tokens: usize,
}

/// Weights under pretraining.
pub struct Pretrainer {
    model: Llama,
    trainer: WeightTrainer,
    backend: Box<dyn Backend>,
    weight_decay: f64,
    clip_norm: Option<f64>,
}

impl Pretrainer {
    /// Assembles a pretrainer from its parts.
    pub fn new(
        model: Llama,
        trainer: WeightTrainer,
        backend: Box<dyn Backend>,
        weight_decay: f64,
        clip_norm: Option<f64>,
    ) -> Self {
        Self {
            model,
            trainer,
            backend,
            weight_decay,
            clip_norm,
        }
    }

    /// The model as it stands.
    pub fn model(&self) -> &Llama {
        &self.model
    }

    /// Optimizer state and masters.
    pub fn trainer(&self) -> &WeightTrainer {
        &self.trainer
    }

    /// Optimizer state and masters, to restore them.
    pub fn trainer_mut(&mut self) -> &mut WeightTrainer {
        &mut self.trainer
    }

    /// One update from `samples`; `step` counts finished steps over all stages, `stage_step` those of `stage`.
    ///
    /// # Errors
    /// [`TrainError::NotFinite`] before anything is updated.
    pub fn step(
        &mut self,
        samples: &[Sample],
        stage: &Stage,
        (step, stage_step): (u64, u64),
    ) -> Result<StepLoss, TrainError> {
        let weight = 1.0
            / samples
                .iter()
                .map(Sample::total_weight)
                .sum::<f64>()
                .max(1.0);
        let mut grads = ModelGrads::zeros(&self.model);
        let mut loss_sum = 0.0;
        for micro_batch in micro_batches(samples) {
            let row = self.row(micro_batch);
            loss_sum += self
                .pass()
                .run(&row, &self.open_gates(), weight, Some(&mut grads))
                .loss_sum;
        }
        let grad_norm = grad_square_sum(&grads).sqrt();
        for (what, value) in [("the loss", loss_sum), ("the weight gradient", grad_norm)] {
            if !value.is_finite() {
                return Err(TrainError::NotFinite { what, step });
            }
        }
        let clip = self
            .clip_norm
            .map_or(1.0, |limit| clip_factor(grad_norm, limit));
        let multiplier = stage.rate_multiplier(stage_step);
        let rate = |lr: f64| Rate {
            lr: lr * multiplier,
            weight_decay: self.weight_decay,
        };
        let rates = WeightRates {
            adam: rate(stage.adam_lr),
            muon: rate(stage.muon_lr),
        };
        self.trainer.update(&grads, clip, step + 1, rates);
        let num_tokens = samples.iter().map(|sample| sample.ids.len()).sum();
        Ok(StepLoss {
            loss: loss_sum * weight,
            grad_norm,
            num_tokens,
        })
    }

    /// Mean cross-entropy per target of `samples`, without training on them.
    pub fn evaluate(&self, samples: &[Sample]) -> f64 {
        let (mut loss, mut targets) = (0.0, 0);
        for micro_batch in micro_batches(samples) {
            let row = self.row(micro_batch);
            targets += row.targets.num_valid();
            loss += self.pass().evaluate(&row, &self.open_gates());
        }
        loss / real(usize::try_from(targets).unwrap_or(0).max(1))
    }

    fn pass(&self) -> TrainPass<'_> {
        TrainPass {
            model: &self.model,
            attention: GatedAttention {
                backend: &*self.backend,
                span: None,
            },
            settings: PassSettings {
                saving: Saving::All,
                offload: Offload::None,
                mlp_chunk_len: 2048,
                loss_chunk_len: LOSS_CHUNK,
            },
        }
    }

    /// Every head keeps everything.
    fn open_gates(&self) -> Vec<Vec<f64>> {
        let shape = self.model.config().shape;
        vec![vec![1.0; shape.num_kv_heads]; shape.num_layers]
    }

    /// Sequences side by side, each a document with positions of its own.
    fn row(&self, samples: &[Sample]) -> Row {
        let device = self.model.device();
        let ids: Vec<i64> = samples
            .iter()
            .flat_map(|sample| sample.ids.iter().copied())
            .collect();
        let labels: Vec<i64> = samples.iter().flat_map(Sample::labels).collect();
        let weights: Vec<f32> = samples
            .iter()
            .flat_map(|sample| sample.weights.clone())
            .collect();
        let positions: Vec<i64> = samples
            .iter()
            .flat_map(|sample| (0..).take(sample.ids.len()))
            .collect();
        let lens: Vec<usize> = samples.iter().map(|sample| sample.ids.len()).collect();
        Row {
            ids: Tensor::from_slice(&ids).to_device(device),
            targets: Targets::weighted(&labels, &weights, device),
            documents: Documents::new(&lens),
            rotation: self.model.rotation(&positions),
        }
    }
}

/// Runs of samples of at most [`MICRO_BATCH_TOKENS`] tokens, at least one sample each.
fn micro_batches(samples: &[Sample]) -> impl Iterator<Item = &[Sample]> {
    let longest = samples
        .iter()
        .map(|sample| sample.ids.len())
        .max()
        .unwrap_or(1);
    samples.chunks((MICRO_BATCH_TOKENS / longest.max(1)).max(1))
}
