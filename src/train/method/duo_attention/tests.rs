//! Updates against the reference's recipe, step by step.

use super::*;
use crate::schedule::{LrSchedule, LrShape};

const ADAM: AdamSettings = AdamSettings {
    betas: [0.9, 0.999],
    eps: 1e-8,
};

fn method(gates: &[f64]) -> DuoAttention {
    let constants = DuoConstants {
        rate: Rate {
            lr: 0.02,
            weight_decay: 0.0,
        },
        penalty: 0.05,
        open_end: OpenEnd::Teacher,
        num_steps: 40,
    };
    DuoAttention::new(2, gates.to_vec(), constants)
}

/// What PyTorch's clamp, sign and AdamW make of one gate, written out.
struct Oracle {
    gate: f64,
    first: f64,
    second: f64,
}

impl Oracle {
    fn step(&mut self, dg: f64, num_gates: f64, step: i32, lr: f64) {
        self.gate = self.gate.clamp(0.0, 1.0);
        let sign = if self.gate == 0.0 {
            0.0
        } else {
            self.gate.signum()
        };
        let grad = dg + 0.05 / num_gates * sign;
        self.first = 0.9 * self.first + 0.1 * grad;
        self.second = 0.999 * self.second + 0.001 * grad * grad;
        let first = self.first / (1.0 - 0.9_f64.powi(step));
        let second = self.second / (1.0 - 0.999_f64.powi(step));
        self.gate -= lr * first / (second.sqrt() + 1e-8);
    }
}

#[test]
fn updates_follow_the_reference_over_both_bounds() {
    let lr = LrSchedule {
        num_steps: 40,
        warmup_ratio: 0.2,
        min_ratio: 0.1,
        shape: LrShape::Trapezoid,
    };
    let start = [1.0, 0.98, 0.02, 0.0];
    let mut method = method(&start);
    let mut oracle = start.map(|gate| Oracle {
        gate,
        first: 0.0,
        second: 0.0,
    });
    let (mut above, mut below) = (false, false);
    for step in 0..40 {
        let turn = (f64::from(step) * 0.7).sin();
        let dg = [-0.2 - turn, 0.1 * turn, 0.3 + turn, 0.2 * turn];
        method.begin();
        let gates = method.clamped();
        for (grad, dg) in method.grads.iter_mut().zip(dg) {
            *grad += dg;
        }
        // Two micro-batches: each adds its share of the penalty.
        method.add_penalty(&gates, 0.5);
        method.add_penalty(&gates, 0.5);
        let multiplier = lr.multiplier(u64::try_from(step).unwrap());
        method.update((1.0, multiplier), u64::try_from(step).unwrap() + 1, ADAM);
        for (oracle, dg) in oracle.iter_mut().zip(dg) {
            oracle.step(dg, 4.0, step + 1, 0.02 * multiplier);
        }
        for (found, oracle) in method.gates.iter().zip(&oracle) {
            assert!((found - oracle.gate).abs() <= 1e-12, "step {step}");
        }
        above |= method.gates.iter().any(|gate| *gate > 1.0);
        below |= method.gates.iter().any(|gate| *gate < 0.0);
    }
    assert!(above && below, "gates were to leave [0, 1] on both sides");
}

#[test]
fn what_is_saved_are_the_gates_before_they_are_clamped() {
    let mut method = method(&[1.01, -0.0014, 0.5, 0.95]);
    let state = method.state();
    let (name, shape, values) = &state.readable[0];
    assert_eq!((*name, &shape[..]), ("gate", &[2, 2][..]));
    assert_eq!(values, &[1.01, -0.0014, 0.5, 0.95]);
    let get = |name: &str| {
        let found = state.exact.iter().find(|(known, _)| *known == name);
        found.map(|(_, values)| values.clone())
    };
    let mut fresh = super::tests::method(&[0.0; 4]);
    fresh.restore(&get).unwrap();
    assert_eq!(fresh.state(), state);
    let partial = |name: &str| (name != SECOND_MOMENT).then(|| get(name)).flatten();
    assert_eq!(fresh.restore(&partial), Err(SECOND_MOMENT));
    let mut record = Record::new(3);
    method.begin();
    method.report(0.25, &mut record);
    let value = |tag| record.value(tag).unwrap();
    let mean = (1.0 + 0.0 + 0.5 + 0.95) / 4.0;
    assert!((value(tag::GATES_MEAN) - mean).abs() < 1e-12);
    assert!((value(tag::LOSS_TOTAL) - 0.25 - 0.05 * mean).abs() < 1e-12);
    let heads = [
        tag::HEADS_RETRIEVAL,
        tag::HEADS_STREAMING,
        tag::HEADS_UNDECIDED,
    ];
    let [retrieval, streaming, undecided] = heads.map(value);
    assert_eq!((retrieval, streaming, undecided), (2.0, 1.0, 1.0));
}
