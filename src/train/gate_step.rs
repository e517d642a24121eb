//! One optimizer step of `prulong train`: gates, weights, or both.
//!
//! ```text
//! for every micro-batch (one packed row): loss, gradients of gates and weights, by the method
//! clip the global norm, then update gates and weights
//! ```

use super::error::TrainError;
use super::gate_trainer::clip_factor;
use super::method::{Method, Micro};
use super::optimizer::host_adamw::{AdamSettings, Rate};
use super::reduction::Reduction;
use super::watch;
use super::weight_trainer::{WeightRates, WeightTrainer, grad_square_sum};
use crate::attention::Backend;
use crate::attention::gated::GatedAttention;
use crate::gate::noise::NoiseKey;
use crate::model::llama::Llama;
use crate::model::train_pass::{ModelGrads, PassSettings, Row, TrainPass};
use crate::model::watch::BadGrad;
use crate::profile::recorder;
use crate::profile::span::{Part, Pass};
use crate::real::real;
use crate::schedule::LrSchedule;
use crate::span::Span;

/// Weights under training, and their rate before the schedule.
#[derive(Debug)]
pub struct Weights {
    /// Masters and moments.
    pub trainer: WeightTrainer,
    /// AdamW's rate.
    pub rate: Rate,
}

/// Constants of a run.
#[derive(Debug, Clone, Copy)]
pub struct StepSettings {
    /// Seed of the gate noise.
    pub seed: u64,
    /// What the passes keep, and chunk lengths.
    pub pass: PassSettings,
    /// Learning-rate multiplier over time.
    pub lr: LrSchedule,
    /// Adam's constants.
    pub adam: AdamSettings,
    /// Limit of the global gradient norm; infinite for none.
    pub clip_norm: f64,
}

/// Everything that trains, and what it trains on.
pub struct Trainer {
    /// The model.
    pub model: Llama,
    /// Solves dense attention problems.
    pub backend: Box<dyn Backend>,
    /// What streaming heads see.
    pub span: Span,
    /// How gates train.
    pub method: Box<dyn Method>,
    /// Weights, if they train.
    pub weights: Option<Weights>,
    /// How losses of micro-batches are averaged.
    pub reduction: Reduction,
    /// Constants.
    pub settings: StepSettings,
}

/// What one step found.
#[derive(Debug, Clone, PartialEq)]
pub struct StepReport {
    /// Mean loss per label: cross-entropy in nats, or what the method distils.
    pub loss: f64,
    /// Global gradient norm before clipping.
    pub grad_norm: f64,
    /// Norm of the weights' gradients, if weights train.
    pub weight_norm: Option<f64>,
    /// The schedule's multiplier.
    pub lr: f64,
    /// Labels of the step.
    pub num_targets: i64,
    /// Micro-batches without a single label.
    pub num_empty: usize,
}

/// Sums over the micro-batches of one step; the method has the gates' gradients.
struct Totals {
    weights: Option<ModelGrads>,
    loss: f64,
    num_targets: i64,
    num_empty: usize,
    bad_grad: Option<BadGrad>,
}

impl Trainer {
    /// One update from `rows`, each a micro-batch; `step` counts finished steps.
    ///
    /// # Errors
    /// [`TrainError::NotFinite`] or [`TrainError::Kernel`] before anything is updated.
    pub fn step(&mut self, rows: &[Row], step: u64) -> Result<StepReport, TrainError> {
        let report = self.step_unless(rows, step, &|| false)?;
        Ok(report.unwrap_or_else(|| unreachable!("nothing asked to stop")))
    }

    /// As [`Self::step`], but `None`, with nothing changed, once `stop` says so between two micro-batches.
    ///
    /// # Errors
    /// As [`Self::step`].
    pub fn step_unless(
        &mut self,
        rows: &[Row],
        step: u64,
        stop: &dyn Fn() -> bool,
    ) -> Result<Option<StepReport>, TrainError> {
        let before = self.reduction.clone();
        let weights = self.reduction.weights(rows);
        let Some(totals) = self.accumulate(rows, &weights, step, stop) else {
            self.reduction = before;
            return Ok(None);
        };
        if let Some(grad) = totals.bad_grad {
            let backend = self.backend.name();
            return Err(TrainError::Kernel {
                grad,
                step,
                backend,
            });
        }
        let weight_squares = totals.weights.as_ref().map(grad_square_sum);
        let grad_norm = (self.method.square_sum() + weight_squares.unwrap_or(0.0)).sqrt();
        check_finite("the loss", totals.loss, step)?;
        check_finite("the gradient", grad_norm, step)?;
        let multiplier = self.settings.lr.multiplier(step);
        let clip = clip_factor(grad_norm, self.settings.clip_norm);
        recorder::timed(Part::Optimizer, Pass::Outside, &[], || {
            self.update(&totals, clip, multiplier, step);
        });
        Ok(Some(StepReport {
            loss: totals.loss / real(totals.num_targets.max(1)),
            grad_norm,
            weight_norm: weight_squares.map(f64::sqrt),
            lr: multiplier,
            num_targets: totals.num_targets,
            num_empty: totals.num_empty,
        }))
    }

    /// Mean cross-entropy per target of `rows` under gates `z[layer]`.
    pub fn evaluate(&self, rows: &[Row], z: &[Vec<f64>]) -> f64 {
        let loss = self.evaluate_unless(rows, z, &|| false);
        loss.unwrap_or_else(|| unreachable!("nothing asked to stop"))
    }

    /// As [`Self::evaluate`], but `None` once `stop` says so between two rows.
    pub fn evaluate_unless(
        &self,
        rows: &[Row],
        z: &[Vec<f64>],
        stop: &dyn Fn() -> bool,
    ) -> Option<f64> {
        let pass = self.pass();
        let loss = |row: &Row| (!stop()).then(|| pass.evaluate(row, z));
        let loss: Option<f64> = rows.iter().map(loss).sum();
        let targets: i64 = rows.iter().map(|row| row.targets.num_valid()).sum();
        Some(loss? / real(targets.max(1)))
    }

    fn pass(&self) -> TrainPass<'_> {
        let attention = GatedAttention {
            backend: &*self.backend,
            span: Some(&self.span),
        };
        TrainPass {
            model: &self.model,
            attention,
            settings: self.settings.pass,
        }
    }

    fn accumulate(
        &mut self,
        rows: &[Row],
        weights: &[f64],
        step: u64,
        stop: &dyn Fn() -> bool,
    ) -> Option<Totals> {
        let trains = self.weights.is_some();
        let mut totals = Totals {
            weights: trains.then(|| ModelGrads::zeros(&self.model)),
            loss: 0.0,
            num_targets: 0,
            num_empty: 0,
            bad_grad: None,
        };
        self.method.begin();
        let share = 1.0 / real(i64::try_from(rows.len()).unwrap_or(i64::MAX).max(1));
        for ((micro_batch, row), weight) in (0_u64..).zip(rows).zip(weights) {
            if stop() {
                return None;
            }
            let micro = Micro {
                row,
                key: NoiseKey {
                    seed: self.settings.seed,
                    step,
                    micro_batch,
                },
                weight: *weight,
                share,
                watch: watch::at_step(&*self.backend, step),
            };
            recorder::frame(Part::MicroBatch, Pass::Outside, micro_batch, || {
                self.micro_step(&micro, &mut totals);
            });
            totals.num_targets += row.targets.num_valid();
            totals.num_empty += usize::from(row.targets.num_valid() == 0);
        }
        Some(totals)
    }

    fn micro_step(&mut self, micro: &Micro, totals: &mut Totals) {
        let engine = TrainPass {
            model: &self.model,
            attention: GatedAttention {
                backend: &*self.backend,
                span: Some(&self.span),
            },
            settings: self.settings.pass,
        };
        let found = self
            .method
            .micro_step(&engine, micro, totals.weights.as_mut());
        totals.bad_grad = totals.bad_grad.take().or(found.bad_grad);
        totals.loss += found.loss_sum;
    }

    fn update(&mut self, totals: &Totals, clip: f64, multiplier: f64, step: u64) {
        let adam = self.settings.adam;
        self.method.update((clip, multiplier), step + 1, adam);
        if let (Some(weights), Some(grads)) = (&mut self.weights, &totals.weights) {
            let rate = Rate {
                lr: weights.rate.lr * multiplier,
                ..weights.rate
            };
            weights.trainer.update(
                grads,
                clip,
                step + 1,
                WeightRates {
                    adam: rate,
                    muon: rate,
                },
            );
        }
    }
}

fn check_finite(what: &'static str, value: f64, step: u64) -> Result<(), TrainError> {
    if value.is_finite() {
        Ok(())
    } else {
        Err(TrainError::NotFinite { what, step })
    }
}
