//! Gate noise as a function of (seed, step, micro-batch, layer).
//!
//! A recomputed layer, a resumed run and every rank of a group see the same noise without storing or exchanging it.
//!
//! Each micro-batch has one draw of every gate, uniform whatever the [`Coupling`]; what a coupling changes is how the draws of
//! neighbouring micro-batches hang together, and so how much noise is left in the mean of their gradients.

use crate::random;
use rand_chacha::ChaCha8Rng;

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

/// How the noise of neighbouring micro-batches hangs together; they are numbered through the run, across steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coupling {
    /// Not at all: the method as published.
    Independent,
    /// Two by two: one has u, the other 1 - u.
    Antithetic {
        /// Micro-batches of a step.
        per_step: u64,
    },
    /// So many by so many: every gate draws once from each of as many equal parts of [0, 1), in an order of its own.
    Stratified {
        /// Micro-batches of a step.
        per_step: u64,
        /// Parts; at least 1.
        num_strata: u64,
    },
}

impl NoiseKey {
    /// Number of the micro-batch within the run.
    fn index(self, per_step: u64) -> u64 {
        self.step * per_step + self.micro_batch
    }

    /// A stream of numbers for what neighbours share.
    fn shared(self, purpose: &str, group: u64, layer: usize) -> ChaCha8Rng {
        random::stream(purpose, &[self.seed, group, layer as u64])
    }
}

/// Uniform noise of one layer's gates, in [0, 1].
pub fn uniform(key: NoiseKey, coupling: Coupling, layer: usize, num_kv_heads: usize) -> Vec<f64> {
    match coupling {
        Coupling::Independent => independent(key, layer, num_kv_heads),
        Coupling::Antithetic { per_step } => {
            let index = key.index(per_step);
            let mut rng = key.shared("antithetic gate noise", index / 2, layer);
            let draws = (0..num_kv_heads).map(|_| random::uniform(&mut rng));
            let is_mirror = index % 2 == 1;
            draws.map(|u| if is_mirror { 1.0 - u } else { u }).collect()
        }
        Coupling::Stratified {
            per_step,
            num_strata,
        } => {
            let index = key.index(per_step);
            let (group, place) = (index / num_strata, index % num_strata);
            let mut rng = key.shared("strata of gate noise", group, layer);
            let within = independent(key, layer, num_kv_heads);
            let draw = |within| in_stratum(&mut rng, (place, num_strata), within);
            within.into_iter().map(draw).collect()
        }
    }
}

fn independent(key: NoiseKey, layer: usize, num_kv_heads: usize) -> Vec<f64> {
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

/// A number of the stratum that a gate's own order of strata has at `place`; `within` says where in it.
#[expect(clippy::cast_precision_loss, reason = "strata are few")]
fn in_stratum(rng: &mut ChaCha8Rng, (place, num_strata): (u64, u64), within: f64) -> f64 {
    let mut strata: Vec<u64> = (0..num_strata).collect();
    random::shuffle(rng, &mut strata);
    let stratum = usize::try_from(place).map_or(0, |place| strata[place]);
    (stratum as f64 + within) / num_strata as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::hard_concrete::{prob_closed, sample};

    fn key(seed: u64, step: u64, micro_batch: u64) -> NoiseKey {
        NoiseKey {
            seed,
            step,
            micro_batch,
        }
    }

    const PAIRS: Coupling = Coupling::Antithetic { per_step: 3 };
    const STRATA: Coupling = Coupling::Stratified {
        per_step: 3,
        num_strata: 4,
    };

    /// Noise of the first micro-batches of a run of three per step.
    fn first(count: u64, coupling: Coupling) -> Vec<Vec<f64>> {
        (0..count)
            .map(|index| uniform(key(1, index / 3, index % 3), coupling, 2, 5))
            .collect()
    }

    #[test]
    fn antithetic_neighbours_mirror_each_other_across_steps_too() {
        let noise = first(8, PAIRS);
        for pair in noise.chunks(2) {
            for (u, mirrored) in pair[0].iter().zip(&pair[1]) {
                assert!((u + mirrored - 1.0).abs() < 1e-15);
            }
        }
        assert_ne!(noise[0], noise[2]);
    }

    #[test]
    fn stratified_neighbours_draw_once_from_every_part() {
        let noise = first(12, STRATA);
        let mut orders = std::collections::BTreeSet::new();
        for group in noise.chunks(4) {
            for gate in 0..5 {
                let part = |u: f64| {
                    (0..4_u8)
                        .find(|part| u * 4.0 < f64::from(part + 1))
                        .unwrap()
                };
                let order: Vec<u8> = group.iter().map(|draw| part(draw[gate])).collect();
                let mut parts = order.clone();
                parts.sort_unstable();
                assert_eq!(parts, [0, 1, 2, 3]);
                orders.insert(order);
            }
        }
        assert!(orders.len() > 5, "{orders:?}");
    }

    #[test]
    fn every_coupling_is_uniform() {
        for coupling in [Coupling::Independent, PAIRS, STRATA] {
            let draws: Vec<f64> = (0..4000)
                .flat_map(|step| uniform(key(3, step, 1), coupling, 0, 1))
                .collect();
            for threshold in [0.1, 0.5, 0.8] {
                let below = draws.iter().filter(|u| **u < threshold).count();
                let share = f64::from(u32::try_from(below).unwrap()) / 4000.0;
                // Four standard deviations of independent draws.
                let sigma = (threshold * (1.0 - threshold) / 4000.0_f64).sqrt();
                assert!(
                    (share - threshold).abs() < 4.0 * sigma,
                    "{coupling:?}: {share}"
                );
            }
        }
    }

    #[test]
    fn every_coordinate_changes_the_noise() {
        let key = key(1, 2, 3);
        let uniform = |key, layer, count| uniform(key, Coupling::Independent, layer, count);
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
                    let key = key(9, u64::from(step), 0);
                    u32::from(
                        sample(uniform(key, Coupling::Independent, 0, 1)[0], log_alpha).z == 0.0,
                    )
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
