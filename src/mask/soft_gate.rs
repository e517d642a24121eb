//! Deterministic soft gates of one layer (method.md section 4).
//!
//! ```text
//! num_zeros = round_half_even(sum over gates of P(z = 0))
//! soft_j    = sigmoid(1.2 a_j); the num_zeros smallest become 0
//! ```
//!
//! # Decisions
//! They serve parity with the reference's ordering and the soft-hard gap of a run. No mask of ours is cut by a soft value: it
//! saturates in f32, and the rule zeroes gates layer by layer whatever other layers hold.

/// Slope of the deterministic gate: 0.8 over the temperature 2/3.
const SLOPE: f64 = 1.2;
/// The temperature times ln 11: where the stretched gate is exactly open or closed with probability one half.
const CLAMP_POINT: f64 = 1.598_596_848_532_247;

/// The soft value of one gate, before any zeroing.
pub fn soft(log_alpha: f64) -> f64 {
    sigmoid(SLOPE * log_alpha)
}

/// The deterministic gates of one layer; equal gates at the cut keep the lower kv head.
pub fn deterministic(log_alpha: &[f64]) -> Vec<f64> {
    let mut gates: Vec<f64> = log_alpha.iter().map(|a| soft(*a)).collect();
    let expected_zeros: f64 = log_alpha.iter().map(|a| sigmoid(-a - CLAMP_POINT)).sum();
    let mut ascending: Vec<usize> = (0..gates.len()).collect();
    ascending.sort_by(|&a, &b| gates[a].total_cmp(&gates[b]).then(b.cmp(&a)));
    for &index in ascending.iter().take(num_zeros(expected_zeros)) {
        gates[index] = 0.0;
    }
    gates
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a sum of probabilities, rounded"
)]
fn num_zeros(expected: f64) -> usize {
    expected.round_ties_even() as usize
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_match_the_golden_gates() {
        let zeros_and_halves = [0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.0];
        let table: [([f64; 8], [f64; 8]); 4] = [
            (
                [4., 2., 1., 0., -1., -2., -3., -4.],
                [0.99184, 0.91683, 0.76852, 0.5, 0.23148, 0., 0., 0.],
            ),
            ([0.; 8], zeros_and_halves),
            (
                [-1.5, -1.6, -1.7, -1.8, 3., 3., 3., 3.],
                [0.14185, 0.12786, 0., 0., 0.97340, 0.97340, 0.97340, 0.97340],
            ),
            ([4.; 8], [0.991_837; 8]),
        ];
        for (log_alpha, golden) in table {
            let gates = deterministic(&log_alpha);
            let near = |(gate, golden): (&f64, &f64)| (gate - golden).abs() < 6e-6;
            assert!(
                gates.iter().zip(&golden).all(near),
                "{gates:?} for {golden:?}"
            );
        }
        let extreme = deterministic(&[10., 10., -10., -10., 10., -10., -10., -10.]);
        let open = [true, true, false, false, true, false, false, false];
        for (gate, open) in extreme.iter().zip(open) {
            assert!(
                if open { *gate > 0.999_99 } else { *gate == 0.0 },
                "{extreme:?}"
            );
        }
    }

    #[test]
    fn single_gates_match_the_golden_column() {
        for (log_alpha, golden) in [
            (-10.0, 6.144_17e-6),
            (-4.0, 0.008_162_57),
            (-2.0, 0.083_172_7),
            (0.0, 0.5),
            (2.0, 0.916_827),
            (4.5, 0.995_504),
        ] {
            assert!((soft(log_alpha) - golden).abs() < 6e-7, "a = {log_alpha}");
        }
    }
}
