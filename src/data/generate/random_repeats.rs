//! `random-repeats`: uniformly random tokens that repeat after a span. Nothing but copying predicts them.

use super::Generate;
use super::range::{CountRange, index_below};
use super::sequence::Sequence;
use crate::data::error::DataError;
use rand_chacha::ChaCha8Rng;

const NAME: &str = "random-repeats";

/// Random tokens with a period.
///
/// # Decisions
/// Only tokens that the text before them determines carry loss: from the second token of the first repetition on. The rest
/// is noise of `ln(vocabulary)` per token, which only slows the step.
pub struct RandomRepeats {
    ids: Vec<u32>,
    span: CountRange,
}

impl RandomRepeats {
    /// Draws from all ids below `vocab_size` but the `excluded` ones, with a period in `span`.
    ///
    /// # Errors
    /// [`DataError::GeneratorSetting`] if no id is left.
    pub fn new(vocab_size: usize, excluded: &[u32], span: CountRange) -> Result<Self, DataError> {
        let end = u32::try_from(vocab_size).unwrap_or(u32::MAX);
        let ids: Vec<u32> = (0..end).filter(|id| !excluded.contains(id)).collect();
        if ids.is_empty() {
            return Err(DataError::GeneratorSetting {
                generator: NAME,
                setting: "vocab_size",
                problem: "leaves no token to draw".to_owned(),
            });
        }
        Ok(Self { ids, span })
    }
}

impl Generate for RandomRepeats {
    fn name(&self) -> &'static str {
        NAME
    }

    fn sequence(&self, rng: &mut ChaCha8Rng, len: usize) -> Result<Sequence, DataError> {
        let period = self.span.draw(rng);
        // Two tokens of the repetition: one to recognise it by, one to predict.
        if len < self.span.max() + 2 {
            return Err(DataError::GeneratorLength {
                generator: NAME,
                len,
                min_len: self.span.max() + 2,
            });
        }
        let span: Vec<u32> = (0..period)
            .map(|_| self.ids[index_below(rng, self.ids.len())])
            .collect();
        Ok(Sequence {
            ids: span.iter().copied().cycle().take(len).collect(),
            weights: (0..len)
                .map(|t| if t > period { 1.0 } else { 0.0 })
                .collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Coded;
    use crate::random::stream;

    #[test]
    fn tokens_repeat_and_only_repeated_ones_carry_loss() {
        let span = CountRange::new(NAME, "span", 16, 32).unwrap();
        let generator = RandomRepeats::new(300, &[0, 1], span).unwrap();
        let mut periods = std::collections::BTreeSet::new();
        for index in 0..200 {
            let sequence = generator.sequence(&mut stream("t", &[index]), 64).unwrap();
            assert_eq!((sequence.ids.len(), sequence.weights.len()), (64, 64));
            assert!(sequence.ids.iter().all(|id| (2..300).contains(id)));
            let first = sequence
                .weights
                .iter()
                .position(|weight| *weight > 0.0)
                .unwrap();
            let period = first - 1;
            periods.insert(period);
            assert!((first..64).all(|t| sequence.ids[t] == sequence.ids[t - period]));
            assert!(
                sequence.weights[first..]
                    .iter()
                    .all(|weight| (*weight - 1.0).abs() < 1e-9)
            );
        }
        assert_eq!((periods.first(), periods.last()), (Some(&16), Some(&32)));
    }

    #[test]
    fn too_short_sequences_are_refused() {
        let span = CountRange::new(NAME, "span", 16, 32).unwrap();
        let generator = RandomRepeats::new(300, &[], span).unwrap();
        let error = generator.sequence(&mut stream("t", &[]), 33).unwrap_err();
        assert_eq!(error.code(), "generate.length");
        assert!(generator.sequence(&mut stream("t", &[]), 34).is_ok());
        assert!(RandomRepeats::new(2, &[0, 1], span).is_err());
    }
}
