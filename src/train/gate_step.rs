//! One optimizer step of `prulong train`: gates, weights, or both.
//!
//! ```text
//! for every micro-batch (one packed row):
//!     z ~ gates(seed, step, micro-batch);  CE, dz, dW = pass(row, z)
//!     s, penalty = constraint(gates);      grads += CE's share + penalty's share
//! clip the global norm, then update gates (descent), multipliers (ascent), weights
//! ```

use super::error::TrainError;
use super::gate_trainer::{GateGrads, GateRates, GateTrainer, clip_factor};
use super::optimizer::host_adamw::{AdamSettings, Rate};
use super::reduction::Reduction;
use super::weight_trainer::{WeightRates, WeightTrainer, grad_square_sum};
use crate::attention::Backend;
use crate::attention::gated::GatedAttention;
use crate::gate::hard_concrete::{prob_closed, prob_fully_open};
use crate::gate::lagrangian::{Constraint, Penalty, penalty};
use crate::gate::noise::NoiseKey;
use crate::model::llama::Llama;
use crate::model::train_pass::{ModelGrads, PassSettings, Row, TrainPass};
use crate::schedule::{LrSchedule, SparsitySchedule};
use crate::span::Span;

/// Where the gates of a run come from.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a run holds one of them")]
pub enum Gates {
    /// They train.
    Trained {
        /// Gates, multipliers and moments.
        trainer: GateTrainer,
        /// Rates before the schedule.
        rates: GateRates,
        /// What counts as sparsity.
        constraint: Constraint,
        /// Target over time.
        target: SparsitySchedule,
    },
    /// They stay as loaded: one gate per layer and kv head.
    Frozen(Vec<Vec<f64>>),
}

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
    /// Limit of the global gradient norm.
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
    /// Gates.
    pub gates: Gates,
    /// Weights, if they train.
    pub weights: Option<Weights>,
    /// How losses of micro-batches are averaged.
    pub reduction: Reduction,
    /// Constants.
    pub settings: StepSettings,
}

/// What one step found; gate fields are absent when gates are frozen.
#[derive(Debug, Clone, PartialEq)]
pub struct StepReport {
    /// Mean cross-entropy per target, nats.
    pub loss: f64,
    /// The constraint's values.
    pub gates: Option<GateReport>,
    /// Global gradient norm before clipping.
    pub grad_norm: f64,
    /// The schedule's multiplier.
    pub lr: f64,
    /// Targets of the step.
    pub num_targets: i64,
    /// Micro-batches without a single target.
    pub num_empty: usize,
}

/// The constraint at one step, averaged over micro-batches.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct GateReport {
    /// Sparsity that entered the constraint.
    pub sparsity: f64,
    /// Target.
    pub target: f64,
    /// Value of the Lagrangian term.
    pub penalty: f64,
}

/// Heads by where their gate stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HeadCounts {
    /// P(z = 1) above one half.
    pub retrieval: usize,
    /// P(z = 0) above one half.
    pub streaming: usize,
    /// Neither.
    pub undecided: usize,
}

/// Gradients and sums over the micro-batches of one step.
struct Totals {
    gates: GateGrads,
    weights: Option<ModelGrads>,
    loss: f64,
    num_targets: i64,
    num_empty: usize,
    report: GateReport,
}

impl Trainer {
    /// One update from `rows`, each a micro-batch; `step` counts finished steps.
    ///
    /// # Errors
    /// [`TrainError::NotFinite`] before anything is updated.
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
        let weight_squares = totals.weights.as_ref().map_or(0.0, grad_square_sum);
        let grad_norm = (totals.gates.square_sum() + weight_squares).sqrt();
        check_finite("the loss", totals.loss, step)?;
        check_finite("the gradient", grad_norm, step)?;
        let multiplier = self.settings.lr.multiplier(step);
        self.update(
            &totals,
            clip_factor(grad_norm, self.settings.clip_norm),
            multiplier,
            step,
        );
        let is_trained = matches!(self.gates, Gates::Trained { .. });
        Ok(Some(StepReport {
            loss: totals.loss / real(totals.num_targets.max(1)),
            gates: is_trained.then_some(totals.report),
            grad_norm,
            lr: multiplier,
            num_targets: totals.num_targets,
            num_empty: totals.num_empty,
        }))
    }

    /// Mean cross-entropy per target of `rows` under gates `z[layer]`.
    pub fn evaluate(&self, rows: &[Row], z: &[Vec<f64>]) -> f64 {
        let pass = self.pass();
        let loss: f64 = rows.iter().map(|row| pass.evaluate(row, z)).sum();
        let targets: i64 = rows.iter().map(|row| row.targets.num_valid()).sum();
        loss / real(targets.max(1))
    }

    /// Heads by where their gate stands; `None` for frozen gates.
    pub fn head_counts(&self) -> Option<HeadCounts> {
        let Gates::Trained { trainer, .. } = &self.gates else {
            return None;
        };
        let mut counts = HeadCounts::default();
        for log_alpha in trainer.bank.log_alpha() {
            if prob_fully_open(*log_alpha) > 0.5 {
                counts.retrieval += 1;
            } else if prob_closed(*log_alpha) > 0.5 {
                counts.streaming += 1;
            } else {
                counts.undecided += 1;
            }
        }
        Some(counts)
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
        &self,
        rows: &[Row],
        weights: &[f64],
        step: u64,
        stop: &dyn Fn() -> bool,
    ) -> Option<Totals> {
        let shape = self.model.config().shape;
        let mut totals = Totals {
            gates: GateGrads::zeros(shape.num_gates()),
            weights: self
                .weights
                .is_some()
                .then(|| ModelGrads::zeros(&self.model)),
            loss: 0.0,
            num_targets: 0,
            num_empty: 0,
            report: GateReport::default(),
        };
        let share = 1.0 / real(i64::try_from(rows.len()).unwrap_or(i64::MAX).max(1));
        for ((micro_batch, row), weight) in (0_u64..).zip(rows).zip(weights) {
            if stop() {
                return None;
            }
            let key = NoiseKey {
                seed: self.settings.seed,
                step,
                micro_batch,
            };
            self.micro_step(row, (key, *weight, share), &mut totals);
            totals.num_targets += row.targets.num_valid();
            totals.num_empty += usize::from(row.targets.num_valid() == 0);
        }
        Some(totals)
    }

    fn micro_step(
        &self,
        row: &Row,
        (key, weight, share): (NoiseKey, f64, f64),
        totals: &mut Totals,
    ) {
        let pass = self.pass();
        match &self.gates {
            Gates::Frozen(z) => {
                totals.loss += pass.run(row, z, weight, totals.weights.as_mut()).loss_sum;
            }
            Gates::Trained {
                trainer,
                constraint,
                target,
                ..
            } => {
                let sample = trainer.bank.sample(key);
                let z: Vec<Vec<f64>> = (0..trainer.bank.num_layers())
                    .map(|layer| sample.layer(layer))
                    .collect();
                let found = pass.run(row, &z, weight, totals.weights.as_mut());
                let target = target.target(key.step);
                let term = penalty(
                    &trainer.bank,
                    &sample,
                    *constraint,
                    trainer.multipliers,
                    target,
                );
                totals.gates.add(&sample, &found.dz, &term, share);
                totals.loss += found.loss_sum;
                totals.report.add(&term, target, share);
            }
        }
    }

    fn update(&mut self, totals: &Totals, clip: f64, multiplier: f64, step: u64) {
        let adam = self.settings.adam;
        if let Gates::Trained { trainer, rates, .. } = &mut self.gates {
            trainer.update(&totals.gates, (clip, multiplier), step + 1, adam, *rates);
        }
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

impl GateReport {
    fn add(&mut self, term: &Penalty, target: f64, share: f64) {
        self.sparsity += share * term.sparsity;
        self.penalty += share * term.value;
        self.target = target;
    }
}

fn check_finite(what: &'static str, value: f64, step: u64) -> Result<(), TrainError> {
    if value.is_finite() {
        Ok(())
    } else {
        Err(TrainError::NotFinite { what, step })
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "token counts of a step are far below 2^52"
)]
fn real(count: i64) -> f64 {
    count as f64
}
