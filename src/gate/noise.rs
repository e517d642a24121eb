//! Gate noise as a function of (seed, step, micro-batch, layer).
//!
//! A recomputed layer, a resumed run and every rank of a group see the same noise without storing or exchanging it.

use crate::random;

/// Where in a run a forward pass stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoiseKey {
    /// The run's seed.
    pub seed: u64,
    /// Optimizer steps finished before this one.
    pub step: u64,
    /// Micro-batch within the step, over all ranks.
    pub micro_batch: u64,
}

/// Uniform noise of one layer's gates, in [0, 1).
pub fn uniform(key: NoiseKey, layer: usize, num_kv_heads: usize) -> Vec<f64> {
    let NoiseKey {
        seed,
        step,
        micro_batch,
    } = key;
    let mut rng = random::stream("gate noise", &[seed, step, micro_batch, layer as u64]);
    (0..num_kv_heads)
        .map(|_| random::uniform(&mut rng))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::hard_concrete::{prob_closed, sample};

    #[test]
    fn every_coordinate_changes_the_noise() {
        let key = NoiseKey {
            seed: 1,
            step: 2,
            micro_batch: 3,
        };
        let base = uniform(key, 0, 4);
        assert_eq!(base, uniform(key, 0, 4));
        assert_ne!(base, uniform(key, 1, 4));
        assert_ne!(base, uniform(NoiseKey { seed: 2, ..key }, 0, 4));
        assert_ne!(base, uniform(NoiseKey { step: 3, ..key }, 0, 4));
        assert_ne!(
            base,
            uniform(
                NoiseKey {
                    micro_batch: 4,
                    ..key
                },
                0,
                4
            )
        );
    }

    #[test]
    fn the_share_of_closed_gates_is_within_four_sigma_of_its_probability() {
        let draws = 4000_u32;
        for log_alpha in [-2.0, 0.0, 2.0] {
            let closed: u32 = (0..draws)
                .map(|step| {
                    let key = NoiseKey {
                        seed: 9,
                        step: u64::from(step),
                        micro_batch: 0,
                    };
                    u32::from(sample(uniform(key, 0, 1)[0], log_alpha).z == 0.0)
                })
                .sum();
            let p = prob_closed(log_alpha);
            let sigma = (p * (1.0 - p) / f64::from(draws)).sqrt();
            let share = f64::from(closed) / f64::from(draws);
            assert!(
                (share - p).abs() < 4.0 * sigma,
                "a = {log_alpha}: {share} against {p}"
            );
        }
    }
}
