//! Gates and multipliers under training: gradients of one step, and the update.
//!
//! Gates descend on cross-entropy plus penalty, multipliers ascend on the penalty. All numbers are f64 on the host.

use super::optimizer::host_adamw::{AdamSettings, HostAdamW, Rate};
use crate::gate::bank::{GateBank, GateSample};
use crate::gate::lagrangian::{Multipliers, Penalty};

/// Whether the signed term of the constraint takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinearTerm {
    /// lambda_1 trains.
    On,
    /// lambda_1 stays 0.
    Off,
}

/// Rates of the two groups before the schedule's multiplier.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GateRates {
    /// log_alpha.
    pub gates: Rate,
    /// lambda_1 and lambda_2.
    pub lambdas: Rate,
}

/// Gradients of one optimizer step, summed over its micro-batches.
#[derive(Debug, Clone, PartialEq)]
pub struct GateGrads {
    /// By log_alpha, row-major.
    pub log_alpha: Vec<f64>,
    /// By lambda_1 and lambda_2.
    pub lambdas: [f64; 2],
}

impl GateGrads {
    /// Zeros for `num_gates` gates.
    pub fn zeros(num_gates: usize) -> Self {
        Self {
            log_alpha: vec![0.0; num_gates],
            lambdas: [0.0; 2],
        }
    }

    /// Adds one micro-batch: dL/dz of its cross-entropy share, and `share` of its penalty.
    pub fn add(&mut self, sample: &GateSample, dz: &[f64], penalty: &Penalty, share: f64) {
        let slopes = sample.samples().iter().map(|sample| sample.slope);
        let parts = dz.iter().zip(slopes).zip(&penalty.dlog_alpha);
        for (total, ((dz, slope), penalty)) in self.log_alpha.iter_mut().zip(parts) {
            *total += dz * slope + share * penalty;
        }
        self.lambdas[0] += share * penalty.dlambda_1;
        self.lambdas[1] += share * penalty.dlambda_2;
    }

    /// Sum of squares, for the global gradient norm.
    pub fn square_sum(&self) -> f64 {
        self.log_alpha
            .iter()
            .chain(&self.lambdas)
            .map(|grad| grad * grad)
            .sum()
    }

    /// Whether every gradient is a number.
    pub fn is_finite(&self) -> bool {
        self.log_alpha
            .iter()
            .chain(&self.lambdas)
            .all(|grad| grad.is_finite())
    }
}

/// Gates, multipliers and their moments.
#[derive(Debug, Clone, PartialEq)]
pub struct GateTrainer {
    /// The gates.
    pub bank: GateBank,
    /// The multipliers.
    pub multipliers: Multipliers,
    gate_moments: HostAdamW,
    lambda_moments: HostAdamW,
    linear_term: LinearTerm,
}

/// One vector of a trainer's state, for checkpoints.
pub type NamedVector = (&'static str, Vec<f64>);

impl GateTrainer {
    /// Fresh moments and zero multipliers.
    pub fn new(bank: GateBank, linear_term: LinearTerm) -> Self {
        let gate_moments = HostAdamW::new(bank.log_alpha().len());
        let multipliers = Multipliers::default();
        Self {
            bank,
            multipliers,
            gate_moments,
            lambda_moments: HostAdamW::new(2),
            linear_term,
        }
    }

    /// Applies `grads`, scaled by `clip`, with every rate multiplied by `multiplier`; `step` counts from 1.
    pub fn update(
        &mut self,
        grads: &GateGrads,
        (clip, multiplier): (f64, f64),
        step: u64,
        settings: AdamSettings,
        rates: GateRates,
    ) {
        let rate = |rate: Rate| Rate {
            lr: rate.lr * multiplier,
            ..rate
        };
        let gate_grads: Vec<f64> = grads.log_alpha.iter().map(|grad| grad * clip).collect();
        self.gate_moments.update(
            self.bank.log_alpha_mut(),
            &gate_grads,
            step,
            settings,
            rate(rates.gates),
        );
        // Ascent: the optimizer descends on negated gradients; decay still shrinks.
        let ascent = grads.lambdas.map(|grad| -grad * clip);
        let mut lambdas = [self.multipliers.lambda_1, self.multipliers.lambda_2];
        self.lambda_moments
            .update(&mut lambdas, &ascent, step, settings, rate(rates.lambdas));
        let lambda_1 = if self.linear_term == LinearTerm::On {
            lambdas[0]
        } else {
            0.0
        };
        self.multipliers = Multipliers {
            lambda_1,
            lambda_2: lambdas[1],
        };
    }

    /// Everything that changes during training.
    pub fn state(&self) -> Vec<NamedVector> {
        vec![
            ("gates.log_alpha", self.bank.log_alpha().to_vec()),
            ("gates.first_moment", self.gate_moments.first.clone()),
            ("gates.second_moment", self.gate_moments.second.clone()),
            (
                "lambdas.value",
                vec![self.multipliers.lambda_1, self.multipliers.lambda_2],
            ),
            ("lambdas.first_moment", self.lambda_moments.first.clone()),
            ("lambdas.second_moment", self.lambda_moments.second.clone()),
        ]
    }

    /// Restores what [`Self::state`] gave; returns the name of the first vector that is missing or of another length.
    ///
    /// # Errors
    /// The vector's name.
    pub fn restore(&mut self, get: impl Fn(&str) -> Option<Vec<f64>>) -> Result<(), &'static str> {
        let read = |name: &'static str, len: usize| {
            get(name).filter(|values| values.len() == len).ok_or(name)
        };
        let count = self.bank.log_alpha().len();
        let log_alpha = read("gates.log_alpha", count)?;
        self.gate_moments.first = read("gates.first_moment", count)?;
        self.gate_moments.second = read("gates.second_moment", count)?;
        self.lambda_moments.first = read("lambdas.first_moment", 2)?;
        self.lambda_moments.second = read("lambdas.second_moment", 2)?;
        let lambdas = read("lambdas.value", 2)?;
        self.multipliers = Multipliers {
            lambda_1: lambdas[0],
            lambda_2: lambdas[1],
        };
        self.bank = GateBank::new(self.bank.num_kv_heads(), log_alpha);
        Ok(())
    }
}

/// Factor that brings a global gradient norm down to `limit`, as PyTorch's clipping has it.
pub fn clip_factor(norm: f64, limit: f64) -> f64 {
    (limit / (norm + 1e-6)).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::hard_concrete::{Sample, sample};
    use crate::gate::lagrangian::{Constraint, penalty};
    use crate::gate::noise::{Coupling, NoiseKey};
    use crate::schedule::{LrSchedule, LrShape, SparsitySchedule, SparsityShape};

    const NOISE: [f64; 4] = [0.5, 0.3, 0.6, 0.5];

    fn close(found: f64, golden: f64, what: &str) {
        assert!(
            (found - golden).abs() <= 6e-9,
            "{what}: {found} against {golden}"
        );
    }

    /// One line of the golden trace: k, lr, t, s, reg, norm, gates after, multipliers after.
    type Line = (u64, f64, f64, f64, f64, f64, [f64; 4], [f64; 2]);

    const GOLDEN: [Line; 6] = [
        (
            0,
            0.0,
            0.0,
            0.493_513_12,
            0.0,
            0.550_340_19,
            [4.0, 1.0, -0.5, -3.0],
            [0.0, 0.0],
        ),
        (
            1,
            0.5,
            0.0875,
            0.493_513_12,
            0.0,
            0.438_202_09,
            [3.8, 0.95, -0.475, -2.85],
            [0.496_331_17, 0.488_317_53],
        ),
        (
            2,
            1.0,
            0.175,
            0.496_284_40,
            0.209_869_39,
            0.361_037_20,
            [3.42, 1.478_222_97, 0.195_722_97, -2.565],
            [1.424_371_61, 1.371_930_40],
        ),
        (
            3,
            0.962_320,
            0.2625,
            0.370_488_88,
            0.169_815_20,
            0.247_799_42,
            [3.090_886_43, 2.050_187_71, 0.889_940_54, -2.318_164_83],
            [2.143_365_17, 2.005_400_14],
        ),
        (
            4,
            0.855_018,
            0.35,
            0.279_989_29,
            -0.140_229_05,
            0.153_980_85,
            [2.826_610_12, 2.567_969_61, 1.499_837_12, -2.119_957_59],
            [2.561_471_68, 2.423_911_39],
        ),
        (
            9,
            0.047_680,
            0.7,
            0.25,
            -0.477_018_16,
            0.493_463_52,
            [2.369_838_68, 3.168_569_82, 2.262_657_33, -1.777_379_01],
            [2.444_213_76, 3.171_913_67],
        ),
    ];

    #[test]
    fn ten_steps_follow_the_golden_trace() {
        let lr = LrSchedule {
            num_steps: 10,
            warmup_ratio: 0.2,
            min_ratio: 0.01,
            shape: LrShape::Cosine,
        };
        let sparsity = SparsitySchedule {
            start: 0.0,
            end: 0.7,
            warmup_ratio: 0.8,
            shape: SparsityShape::Linear,
            num_steps: 10,
        };
        let settings = AdamSettings {
            betas: [0.9, 0.95],
            eps: 1e-8,
        };
        let rate = Rate {
            lr: 1.0,
            weight_decay: 0.1,
        };
        let rates = GateRates {
            gates: rate,
            lambdas: rate,
        };
        let bank = GateBank::new(4, vec![4.0, 1.0, -0.5, -3.0]);
        let mut trainer = GateTrainer::new(bank, LinearTerm::On);
        for k in 0..10 {
            let drawn: Vec<Sample> = NOISE
                .iter()
                .zip(trainer.bank.log_alpha())
                .map(|(u, a)| sample(*u, *a))
                .collect();
            let drawn = GateSample::new(4, drawn);
            let target = sparsity.target(k);
            let term = penalty(
                &trainer.bank,
                &drawn,
                Constraint::Sampled,
                trainer.multipliers,
                target,
            );
            let mut grads = GateGrads::zeros(4);
            grads.add(&drawn, &[0.0; 4], &term, 1.0);
            let norm = grads.square_sum().sqrt();
            let multiplier = lr.multiplier(k);
            trainer.update(
                &grads,
                (clip_factor(norm, 1.0), multiplier),
                k + 1,
                settings,
                rates,
            );
            if let Some(golden) = GOLDEN.iter().find(|line| line.0 == k) {
                assert!((multiplier - golden.1).abs() < 6e-7);
                close(target, golden.2, "target");
                close(term.sparsity, golden.3, "sparsity");
                close(term.value, golden.4, "penalty");
                close(norm, golden.5, "norm");
                let found = trainer.bank.log_alpha().iter().zip(golden.6);
                found.for_each(|(found, golden)| close(*found, golden, "log_alpha"));
                close(trainer.multipliers.lambda_1, golden.7[0], "lambda_1");
                close(trainer.multipliers.lambda_2, golden.7[1], "lambda_2");
            }
        }
    }

    #[test]
    fn state_restores_bit_for_bit_and_reports_what_is_missing() {
        let bank = GateBank::reset(2, 3, (4.0, 0.5), 1);
        let mut trainer = GateTrainer::new(bank.clone(), LinearTerm::On);
        let key = NoiseKey {
            seed: 1,
            step: 0,
            micro_batch: 0,
        };
        let mut grads = GateGrads::zeros(6);
        let term = penalty(
            &bank,
            &bank.sample(key, Coupling::Independent),
            Constraint::Expected,
            Multipliers::default(),
            0.5,
        );
        grads.add(
            &bank.sample(key, Coupling::Independent),
            &[0.1; 6],
            &term,
            1.0,
        );
        let settings = AdamSettings {
            betas: [0.9, 0.95],
            eps: 1e-8,
        };
        let rate = Rate {
            lr: 0.3,
            weight_decay: 0.1,
        };
        trainer.update(
            &grads,
            (1.0, 1.0),
            1,
            settings,
            GateRates {
                gates: rate,
                lambdas: rate,
            },
        );
        let saved = trainer.state();
        let get = |name: &str| {
            saved
                .iter()
                .find(|(saved, _)| *saved == name)
                .map(|(_, values)| values.clone())
        };
        let mut fresh = GateTrainer::new(bank.clone(), LinearTerm::On);
        fresh.restore(get).unwrap();
        assert_eq!(fresh, trainer);
        let partial = |name: &str| (name != "lambdas.value").then(|| get(name)).flatten();
        assert_eq!(fresh.restore(partial), Err("lambdas.value"));
    }

    #[test]
    fn without_the_linear_term_lambda_1_stays_zero() {
        let mut trainer = GateTrainer::new(GateBank::new(1, vec![0.0]), LinearTerm::Off);
        let grads = GateGrads {
            log_alpha: vec![0.0],
            lambdas: [0.5, 0.25],
        };
        let rate = Rate {
            lr: 1.0,
            weight_decay: 0.0,
        };
        let settings = AdamSettings {
            betas: [0.9, 0.95],
            eps: 1e-8,
        };
        trainer.update(
            &grads,
            (1.0, 1.0),
            1,
            settings,
            GateRates {
                gates: rate,
                lambdas: rate,
            },
        );
        assert!(trainer.multipliers.lambda_1.abs() < 1e-300);
        assert!(trainer.multipliers.lambda_2 > 0.9);
    }
}
