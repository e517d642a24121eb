//! A weighted mixture of generators, drawn from without state.

use super::Generate;
use super::sequence::Sequence;
use crate::data::error::DataError;
use crate::random::{stream, uniform};
use rayon::prelude::*;

/// Purpose word of the random streams.
const PURPOSE: &str = "pretrain";

/// Generators with relative weights.
pub struct Mixture {
    /// Running sum of the weights, and the generator whose share ends there.
    parts: Vec<(f64, Box<dyn Generate>)>,
}

impl Mixture {
    /// Mixes `parts`; weights are relative.
    ///
    /// # Errors
    /// [`DataError::GeneratorSetting`] if there is no part, or a weight is not positive and finite.
    pub fn new(parts: Vec<(f64, Box<dyn Generate>)>) -> Result<Self, DataError> {
        let bad = |generator: &'static str, problem: String| DataError::GeneratorSetting {
            generator,
            setting: "weight",
            problem,
        };
        if parts.is_empty() {
            return Err(bad("mixture", "needs at least one generator".to_owned()));
        }
        let mut total = 0.0;
        let mut summed = Vec::with_capacity(parts.len());
        for (weight, generator) in parts {
            if !(weight.is_finite() && weight > 0.0) {
                return Err(bad(
                    generator.name(),
                    format!("must be above 0, not {weight}"),
                ));
            }
            total += weight;
            summed.push((total, generator));
        }
        Ok(Self { parts: summed })
    }

    /// Makes sequence `index` of `step`: a function of (seed, step, index) alone.
    ///
    /// # Errors
    /// Whatever the chosen generator returns.
    pub fn sequence(
        &self,
        seed: u64,
        step: u64,
        index: u64,
        len: usize,
    ) -> Result<Sequence, DataError> {
        let mut rng = stream(PURPOSE, &[seed, step, index]);
        let total = self.parts.last().map_or(0.0, |(total, _)| *total);
        let at = uniform(&mut rng) * total;
        let chosen = self.parts.partition_point(|(end, _)| *end <= at);
        // Rounding may put `at` on the total itself.
        let (_, generator) = &self.parts[chosen.min(self.parts.len() - 1)];
        generator.sequence(&mut rng, len)
    }

    /// Makes the `num_sequences` sequences of `step`, on all cores.
    ///
    /// # Errors
    /// The first error of a generator.
    pub fn batch(
        &self,
        seed: u64,
        step: u64,
        num_sequences: usize,
        len: usize,
    ) -> Result<Vec<Sequence>, DataError> {
        (0..num_sequences as u64)
            .into_par_iter()
            .map(|index| self.sequence(seed, step, index, len))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::ChaCha8Rng;

    struct Constant(u32);

    impl Generate for Constant {
        fn name(&self) -> &'static str {
            "constant"
        }
        fn sequence(&self, rng: &mut ChaCha8Rng, len: usize) -> Result<Sequence, DataError> {
            let mut ids = vec![self.0; len];
            ids[0] = u32::try_from(crate::random::below(rng, 1 << 30)).unwrap();
            Ok(Sequence::trained_throughout(ids))
        }
    }

    fn mixture(weights: &[f64]) -> Result<Mixture, DataError> {
        let parts = weights.iter().zip(0..).map(|(weight, id)| {
            let generator: Box<dyn Generate> = Box::new(Constant(id));
            (*weight, generator)
        });
        Mixture::new(parts.collect())
    }

    #[test]
    fn shares_follow_the_weights() {
        let mixture = mixture(&[1.0, 3.0]).unwrap();
        let batch = mixture.batch(1, 0, 4000, 4).unwrap();
        let second = batch.iter().filter(|sequence| sequence.ids[1] == 1).count();
        assert!((2850..3150).contains(&second), "{second}");
    }

    #[test]
    fn a_sequence_depends_on_seed_step_and_index_alone() {
        let mixture = mixture(&[1.0, 1.0]).unwrap();
        let batch = mixture.batch(7, 3, 5, 8).unwrap();
        assert_eq!(batch[4], mixture.sequence(7, 3, 4, 8).unwrap());
        assert_eq!(batch[..2], mixture.batch(7, 3, 2, 8).unwrap()[..]);
        for (seed, step, index) in [(8, 3, 4), (7, 4, 4), (7, 3, 3)] {
            assert_ne!(batch[4], mixture.sequence(seed, step, index, 8).unwrap());
        }
    }

    #[test]
    fn weights_that_make_no_sense_are_refused() {
        for weights in [&[][..], &[0.0], &[1.0, -1.0], &[f64::NAN], &[f64::INFINITY]] {
            assert!(mixture(weights).is_err(), "{weights:?}");
        }
    }
}
