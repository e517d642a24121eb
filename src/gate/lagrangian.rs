//! The sparsity constraint: `lambda_1 (s - t) + lambda_2 (s - t)^2`, gates descend, multipliers ascend.
//!
//! # Decisions
//! `s` is by default the closed form mean P(z = 0), not the sampled sparsity of the reference's code: with samples,
//! saturated gates get no gradient, the multipliers wind up and the gates overshoot the target. `Sampled` stays for parity.

use super::bank::{GateBank, GateSample};
use super::hard_concrete::prob_closed;

/// What counts as sparsity in the constraint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Constraint {
    /// Closed form: mean P(z = 0).
    Expected,
    /// 1 - mean of the sampled gates.
    Sampled,
}

/// The two multipliers; unclamped, both start at 0.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Multipliers {
    /// Multiplier of the signed difference.
    pub lambda_1: f64,
    /// Multiplier of the squared difference.
    pub lambda_2: f64,
}

/// The term's value and every gradient.
#[derive(Debug, Clone, PartialEq)]
pub struct Penalty {
    /// Sparsity that entered the constraint.
    pub sparsity: f64,
    /// Value of the term.
    pub value: f64,
    /// `d(term)/dlog_alpha`, row-major.
    pub dlog_alpha: Vec<f64>,
    /// `d(term)/dlambda_1 = s - t`.
    pub dlambda_1: f64,
    /// `d(term)/dlambda_2 = (s - t)^2`.
    pub dlambda_2: f64,
}

/// Evaluates the term at target sparsity `target`.
pub fn penalty(
    bank: &GateBank,
    sample: &GateSample,
    constraint: Constraint,
    multipliers: Multipliers,
    target: f64,
) -> Penalty {
    let (sparsity, slopes) = match constraint {
        Constraint::Expected => expected_sparsity(bank),
        Constraint::Sampled => sampled(sample),
    };
    let gap = sparsity - target;
    let Multipliers { lambda_1, lambda_2 } = multipliers;
    let dsparsity = lambda_1 + 2.0 * lambda_2 * gap;
    Penalty {
        sparsity,
        value: lambda_1 * gap + lambda_2 * gap * gap,
        dlog_alpha: slopes.into_iter().map(|slope| dsparsity * slope).collect(),
        dlambda_1: gap,
        dlambda_2: gap * gap,
    }
}

/// mean P(z = 0) and its derivative by every log_alpha.
pub fn expected_sparsity(bank: &GateBank) -> (f64, Vec<f64>) {
    let count = num(bank.log_alpha().len());
    let closed: Vec<f64> = bank.log_alpha().iter().map(|a| prob_closed(*a)).collect();
    let slopes = closed.iter().map(|p| -p * (1.0 - p) / count).collect();
    (closed.iter().sum::<f64>() / count, slopes)
}

/// 1 - mean z and its derivative by every log_alpha.
fn sampled(sample: &GateSample) -> (f64, Vec<f64>) {
    let count = num(sample.samples().len());
    let open: f64 = sample.samples().iter().map(|sample| sample.z).sum();
    let slopes = sample
        .samples()
        .iter()
        .map(|sample| -sample.slope / count)
        .collect();
    (1.0 - open / count, slopes)
}

#[expect(clippy::cast_precision_loss, reason = "gate counts are far below 2^52")]
fn num(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::noise::{Coupling, NoiseKey};

    const KEY: NoiseKey = NoiseKey {
        seed: 5,
        step: 0,
        micro_batch: 0,
    };

    #[test]
    fn gradients_match_finite_differences_for_both_constraints() {
        let multipliers = Multipliers {
            lambda_1: 0.7,
            lambda_2: 1.3,
        };
        let bank = GateBank::new(3, vec![0.2, -1.0, 1.5, 0.4, -0.3, 2.0]);
        for constraint in [Constraint::Expected, Constraint::Sampled] {
            let at = |bank: &GateBank, multipliers| {
                penalty(
                    bank,
                    &bank.sample(KEY, Coupling::Independent),
                    constraint,
                    multipliers,
                    0.4,
                )
            };
            let found = at(&bank, multipliers);
            for gate in 0..6 {
                let mut nudged = bank.clone();
                nudged.log_alpha_mut()[gate] += 1e-6;
                let numeric = (at(&nudged, multipliers).value - found.value) / 1e-6;
                assert!(
                    (numeric - found.dlog_alpha[gate]).abs() < 1e-6,
                    "{constraint:?} {gate}"
                );
            }
            let up = Multipliers {
                lambda_1: 0.7 + 1e-6,
                ..multipliers
            };
            assert!(((at(&bank, up).value - found.value) / 1e-6 - found.dlambda_1).abs() < 1e-8);
            let up = Multipliers {
                lambda_2: 1.3 + 1e-6,
                ..multipliers
            };
            assert!(((at(&bank, up).value - found.value) / 1e-6 - found.dlambda_2).abs() < 1e-8);
            assert!(found.dlambda_2 >= 0.0);
        }
    }

    #[test]
    fn the_two_sparsities_of_fresh_gates_differ_as_documented() {
        let bank = GateBank::new(1, vec![4.0; 2000]);
        let zero = Multipliers::default();
        let expected = penalty(
            &bank,
            &bank.sample(KEY, Coupling::Independent),
            Constraint::Expected,
            zero,
            0.0,
        )
        .sparsity;
        let sampled = penalty(
            &bank,
            &bank.sample(KEY, Coupling::Independent),
            Constraint::Sampled,
            zero,
            0.0,
        )
        .sparsity;
        assert!((expected - 0.003_69).abs() < 1e-5);
        assert!((sampled - 0.023_62).abs() < 0.01, "{sampled}");
    }
}
