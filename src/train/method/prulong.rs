//! PruLong: HardConcrete gates on next-token loss, under the Lagrangian of a target sparsity (arXiv 2506.17121).
//!
//! ```text
//! z ~ gates(seed, step, micro-batch);  CE, dz, dW = pass(row, z)
//! s, penalty = constraint(gates);      grads += CE's share + penalty's share
//! gates descend, multipliers ascend
//! ```

use super::{Found, GatePicture, Method, MethodState, Micro, Moment, StillGates, by_layer, norm};
use crate::gate::hard_concrete::{prob_closed, prob_fully_open};
use crate::gate::lagrangian::{Constraint, Penalty, expected_sparsity, penalty};
use crate::gate::noise::Coupling;
use crate::mask::soft_gate;
use crate::metrics::record::Record;
use crate::metrics::tag;
use crate::model::train_pass::{ModelGrads, TrainPass};
use crate::real::real;
use crate::schedule::course::SparsityCourse;
use crate::train::gate_trainer::{GateGrads, GateRates, GateTrainer};
use crate::train::optimizer::host_adamw::AdamSettings;
use crate::train::plateaus::PlateauGates;
use crate::train::red_flags::{Limits, RedFlags};
use crate::train::settled::{Settled, SettledAfter, rounded};

/// Name of what tells in a checkpoint how long the mask has been the same.
const SETTLED: &str = "gates.settled";

/// Gates and multipliers under training.
#[derive(Debug)]
pub struct PruLong {
    /// Gates, multipliers and moments.
    pub trainer: GateTrainer,
    /// log_alpha before the first step.
    start: Vec<f64>,
    settings: PruLongSettings,
    grads: GateGrads,
    constraint: ConstraintReport,
    flags: Option<RedFlags>,
    settled: Option<Settled>,
    plateaus: PlateauGates,
}

/// Constants of a run.
#[derive(Debug, Clone)]
pub struct PruLongSettings {
    /// Rates before the schedule.
    pub rates: GateRates,
    /// What counts as sparsity.
    pub constraint: Constraint,
    /// Target over time.
    pub target: SparsityCourse,
    /// How the noise of neighbouring micro-batches hangs together.
    pub coupling: Coupling,
    /// When the run may end before its last step; absent = never.
    pub settled_after: Option<SettledAfter>,
}

/// The constraint at one step, averaged over micro-batches.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct ConstraintReport {
    /// What the constraint compares with its target.
    sparsity: f64,
    /// The closed form.
    expected: f64,
    target: f64,
    penalty: f64,
}

/// Heads by where their gate stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct HeadCounts {
    /// P(z = 1) above one half.
    retrieval: u32,
    /// P(z = 0) above one half.
    streaming: u32,
    /// Neither.
    undecided: u32,
}

impl PruLong {
    /// A run that starts with `trainer`.
    pub fn new(trainer: GateTrainer, settings: PruLongSettings) -> Self {
        Self {
            grads: GateGrads::zeros(trainer.bank.log_alpha().len()),
            start: trainer.bank.log_alpha().to_vec(),
            settled: settings.settled_after.map(Settled::new),
            plateaus: PlateauGates::new(&settings.target, trainer.bank.log_alpha().len()),
            trainer,
            settings,
            constraint: ConstraintReport::default(),
            flags: None,
        }
    }

    /// Share of the gates that are nearer to closed than to open.
    fn share_closed(&self) -> f64 {
        let gates = self.trainer.bank.log_alpha();
        let num_closed = gates.iter().filter(|log_alpha| **log_alpha < 0.0).count();
        real(num_closed) / real(gates.len().max(1))
    }

    fn head_counts(&self) -> HeadCounts {
        let mut counts = HeadCounts::default();
        for log_alpha in self.trainer.bank.log_alpha() {
            if prob_fully_open(*log_alpha) > 0.5 {
                counts.retrieval += 1;
            } else if prob_closed(*log_alpha) > 0.5 {
                counts.streaming += 1;
            } else {
                counts.undecided += 1;
            }
        }
        counts
    }
}

impl ConstraintReport {
    fn add(&mut self, term: &Penalty, target: f64, share: f64) {
        self.sparsity += share * term.sparsity;
        self.penalty += share * term.value;
        self.target = target;
    }
}

impl Method for PruLong {
    fn begin(&mut self) {
        self.grads = GateGrads::zeros(self.trainer.bank.log_alpha().len());
        self.constraint = ConstraintReport {
            expected: expected_sparsity(&self.trainer.bank).0,
            ..ConstraintReport::default()
        };
    }

    fn micro_step(
        &mut self,
        engine: &TrainPass,
        micro: &Micro,
        grads: Option<&mut ModelGrads>,
    ) -> Found {
        let bank = &self.trainer.bank;
        let sample = bank.sample(micro.key, self.settings.coupling);
        let z: Vec<Vec<f64>> = (0..bank.num_layers())
            .map(|layer| sample.layer(layer))
            .collect();
        let (found, bad_grad) = engine.run_watched(micro.row, &z, micro.weight, grads, micro.watch);
        let target = self.settings.target.target(micro.key.step);
        let multipliers = self.trainer.multipliers;
        let term = penalty(bank, &sample, self.settings.constraint, multipliers, target);
        self.grads.add(&sample, &found.dz, &term, micro.share);
        self.constraint.add(&term, target, micro.share);
        let loss_sum = found.loss_sum;
        Found { loss_sum, bad_grad }
    }

    fn square_sum(&self) -> f64 {
        self.grads.square_sum()
    }

    fn update(&mut self, scale: (f64, f64), step: u64, settings: AdamSettings) {
        let rates = self.settings.rates;
        self.trainer
            .update(&self.grads, scale, step, settings, rates);
        if let Some(settled) = &mut self.settled {
            settled.observe(step, &self.trainer.bank);
        }
        self.plateaus.observe(step, &self.trainer.bank);
    }

    fn is_settled(&self) -> bool {
        self.settled.as_ref().is_some_and(Settled::is_settled)
    }

    fn still_gates(&self) -> StillGates {
        let bank = &self.trainer.bank;
        let num_kv_heads = bank.num_kv_heads();
        let layers = bank.log_alpha().chunks(num_kv_heads);
        let plateau = self.plateaus.under_way(bank);
        let target = plateau.map_or(self.settings.target.end(), |plateau| plateau.sparsity);
        let mask = rounded(bank, target).into_iter();
        let mask: Vec<f64> = mask.map(|keeps| f64::from(u8::from(keeps))).collect();
        StillGates {
            soft: layers.map(soft_gate::deterministic).collect(),
            rounded: Some(by_layer(&mask, num_kv_heads)),
        }
    }

    fn state(&self) -> MethodState {
        let GateTrainer {
            bank, multipliers, ..
        } = &self.trainer;
        let shape = vec![bank.num_layers(), bank.num_kv_heads()];
        let settled = self
            .settled
            .as_ref()
            .map(|settled| (SETTLED, settled.state()));
        let mut readable = vec![
            ("log_alpha", shape, bank.log_alpha().to_vec()),
            ("lambda_1", vec![1], vec![multipliers.lambda_1]),
            ("lambda_2", vec![1], vec![multipliers.lambda_2]),
        ];
        readable.extend(self.plateaus.readable(bank.num_kv_heads()));
        let exact = self.trainer.state().into_iter().chain(settled);
        MethodState {
            readable,
            exact: exact.chain(self.plateaus.state()).collect(),
        }
    }

    fn restore(&mut self, get: &dyn Fn(&str) -> Option<Vec<f64>>) -> Result<(), &'static str> {
        self.trainer.restore(get)?;
        if let Some(settled) = &mut self.settled {
            let state = get(SETTLED).ok_or(SETTLED)?;
            *settled = settled.restored(&state).ok_or(SETTLED)?;
        }
        self.plateaus.restore(get)?;
        Ok(())
    }

    fn report(&self, loss: f64, record: &mut Record) {
        let ConstraintReport {
            sparsity,
            expected,
            target,
            penalty,
        } = self.constraint;
        let heads = self.head_counts();
        record
            .scalar(tag::LOSS_LM, loss)
            .scalar(tag::LOSS_REG, penalty)
            .scalar(tag::LOSS_TOTAL, loss + penalty)
            .scalar(tag::SPARSITY_TARGET, target)
            .scalar(tag::SPARSITY_EXPECTED, expected)
            .scalar(tag::SPARSITY_HARD, self.share_closed())
            .scalar(tag::LAMBDA_1, self.trainer.multipliers.lambda_1)
            .scalar(tag::LAMBDA_2, self.trainer.multipliers.lambda_2)
            .scalar(tag::GRAD_GATES, norm(&self.grads.log_alpha))
            .scalar(tag::GRAD_LAMBDA, norm(&self.grads.lambdas))
            .scalar(tag::HEADS_RETRIEVAL, f64::from(heads.retrieval))
            .scalar(tag::HEADS_STREAMING, f64::from(heads.streaming))
            .scalar(tag::HEADS_UNDECIDED, f64::from(heads.undecided));
        if self.settings.constraint == Constraint::Sampled {
            record.scalar(tag::SPARSITY_SAMPLED, sparsity);
        }
    }

    fn watch(&mut self, done: &[Record]) {
        let PruLongSettings { rates, target, .. } = &self.settings;
        let limits = Limits::of(rates, target);
        self.flags = Some(RedFlags::new(limits, self.start.clone(), done));
    }

    fn observe(&mut self, record: &mut Record, moment: Moment) {
        if let Some(flags) = &mut self.flags {
            flags.observe(record, (&self.trainer.bank, &self.plateaus), moment);
        }
    }

    fn picture(&self) -> Option<GatePicture> {
        let bank = &self.trainer.bank;
        Some(GatePicture {
            tag: tag::HIST_LOG_ALPHA,
            parameters: bank.log_alpha().to_vec(),
            open: bank
                .log_alpha()
                .iter()
                .map(|a| 1.0 - prob_closed(*a))
                .collect(),
            num_kv_heads: bank.num_kv_heads(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::bank::GateBank;
    use crate::gate::noise::NoiseKey;
    use crate::schedule::course::tests::course;
    use crate::train::gate_trainer::LinearTerm;
    use crate::train::optimizer::host_adamw::Rate;

    /// What a step whose constraint is `constraint` records of the sparsity: in expectation, and as sampled.
    fn recorded(constraint: Constraint) -> [Option<f64>; 2] {
        let rate = Rate {
            lr: 0.1,
            weight_decay: 0.0,
        };
        let settings = PruLongSettings {
            rates: GateRates {
                gates: rate,
                lambdas: rate,
            },
            constraint,
            target: course(10, &[]),
            coupling: Coupling::Independent,
            settled_after: None,
        };
        let trainer = GateTrainer::new(GateBank::new(2, vec![1.0, -1.0, 0.5, 0.0]), LinearTerm::On);
        let mut method = PruLong::new(trainer, settings);
        method.begin();
        for micro_batch in 0..2 {
            let key = NoiseKey {
                seed: 1,
                step: 3,
                micro_batch,
            };
            let sample = method.trainer.bank.sample(key, Coupling::Independent);
            let multipliers = method.trainer.multipliers;
            let term = penalty(&method.trainer.bank, &sample, constraint, multipliers, 0.5);
            method.constraint.add(&term, 0.5, 0.5);
        }
        let mut record = Record::new(4);
        method.report(2.0, &mut record);
        [tag::SPARSITY_EXPECTED, tag::SPARSITY_SAMPLED].map(|name| record.value(name))
    }

    #[test]
    fn what_is_called_expected_is_the_closed_form_whatever_the_constraint_is_about() {
        let [closed, none] = recorded(Constraint::Expected);
        let [expected, sampled] = recorded(Constraint::Sampled);
        assert_eq!((closed, none), (expected, None));
        assert!(sampled.is_some() && sampled != expected, "{sampled:?}");
    }
}
