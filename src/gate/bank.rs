//! All gates of a model: their parameters, and one sample of them.

use super::hard_concrete::{Sample, sample};
use super::noise::{Coupling, NoiseKey, uniform};
use crate::random;

/// log_alpha of every gate, row-major `[layers, kv_heads]`, f64.
#[derive(Debug, Clone, PartialEq)]
pub struct GateBank {
    num_kv_heads: usize,
    log_alpha: Vec<f64>,
}

/// One sample of every gate.
#[derive(Debug, Clone, PartialEq)]
pub struct GateSample {
    num_kv_heads: usize,
    samples: Vec<Sample>,
}

impl GateBank {
    /// Wraps row-major parameters.
    ///
    /// # Panics
    /// If the number of parameters is not a multiple of `num_kv_heads`: shapes are checked where they enter.
    pub fn new(num_kv_heads: usize, log_alpha: Vec<f64>) -> Self {
        assert!(
            num_kv_heads > 0 && log_alpha.len().is_multiple_of(num_kv_heads),
            "ragged gates"
        );
        Self {
            num_kv_heads,
            log_alpha,
        }
    }

    /// Gates drawn from N(mean, std), a function of the seed.
    pub fn reset(
        num_layers: usize,
        num_kv_heads: usize,
        (mean, std): (f64, f64),
        seed: u64,
    ) -> Self {
        let mut rng = random::stream("gate init", &[seed]);
        let log_alpha = (0..num_layers * num_kv_heads)
            .map(|_| mean + std * standard_normal(&mut rng))
            .collect();
        Self::new(num_kv_heads, log_alpha)
    }

    /// Gates frozen at a mask's values: `x` in [0, 1] becomes `(2x - 1) * 10`.
    pub fn from_values(num_kv_heads: usize, values: &[f64]) -> Self {
        Self::new(
            num_kv_heads,
            values.iter().map(|x| (2.0 * x - 1.0) * 10.0).collect(),
        )
    }

    /// Kv heads per layer.
    pub fn num_kv_heads(&self) -> usize {
        self.num_kv_heads
    }

    /// Decoder blocks.
    pub fn num_layers(&self) -> usize {
        self.log_alpha.len() / self.num_kv_heads
    }

    /// Parameters, row-major.
    pub fn log_alpha(&self) -> &[f64] {
        &self.log_alpha
    }

    /// Parameters, for the optimizer.
    pub fn log_alpha_mut(&mut self) -> &mut [f64] {
        &mut self.log_alpha
    }

    /// Every gate sampled for one micro-batch.
    pub fn sample(&self, key: NoiseKey, coupling: Coupling) -> GateSample {
        let noise = (0..self.num_layers())
            .flat_map(|layer| uniform(key, coupling, layer, self.num_kv_heads));
        let samples = noise
            .zip(&self.log_alpha)
            .map(|(u, a)| sample(u, *a))
            .collect();
        GateSample {
            num_kv_heads: self.num_kv_heads,
            samples,
        }
    }
}

impl GateSample {
    /// Wraps row-major samples.
    pub fn new(num_kv_heads: usize, samples: Vec<Sample>) -> Self {
        Self {
            num_kv_heads,
            samples,
        }
    }

    /// The gates of one layer.
    pub fn layer(&self, layer: usize) -> Vec<f64> {
        let start = layer * self.num_kv_heads;
        self.samples[start..start + self.num_kv_heads]
            .iter()
            .map(|sample| sample.z)
            .collect()
    }

    /// All samples, row-major.
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }
}

/// A standard normal by Box and Muller: two uniforms per value, none kept back, so that draws stay countable.
fn standard_normal(rng: &mut rand_chacha::ChaCha8Rng) -> f64 {
    let radius = (-2.0 * (1.0 - random::uniform(rng)).ln()).sqrt();
    radius * (std::f64::consts::TAU * random::uniform(rng)).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resetting_draws_close_to_the_mean_and_depends_on_the_seed_only() {
        let bank = GateBank::reset(4, 8, (4.0, 0.01), 3);
        assert_eq!(bank, GateBank::reset(4, 8, (4.0, 0.01), 3));
        assert_ne!(bank, GateBank::reset(4, 8, (4.0, 0.01), 4));
        assert!(bank.log_alpha().iter().all(|a| (a - 4.0).abs() < 0.06));
        let spread = bank
            .log_alpha()
            .iter()
            .map(|a| (a - 4.0).powi(2))
            .sum::<f64>()
            / 32.0;
        assert!((0.003..0.03).contains(&spread.sqrt()), "{}", spread.sqrt());
    }

    #[test]
    fn layers_are_rows() {
        let bank = GateBank::from_values(2, &[0.0, 1.0, 1.0, 0.0]);
        assert_eq!(bank.log_alpha(), [-10.0, 10.0, 10.0, -10.0]);
        let key = NoiseKey {
            seed: 0,
            step: 0,
            micro_batch: 0,
        };
        let sample = bank.sample(key, Coupling::Independent);
        assert_eq!(sample.layer(0), [0.0, 1.0]);
        assert_eq!(sample.layer(1), [1.0, 0.0]);
    }
}
