//! `random-repeats`: uniformly random tokens that repeat after a span. Nothing but copying predicts them.

use super::Generate;
use super::range::CountRange;
use super::sequence::Sequence;
use crate::config::generator_kinds::RandomRepeatsSettings;
use crate::data::error::DataError;
use crate::data::tokenizer::Tokenizer;
use crate::random::index_below;
use rand_chacha::ChaCha8Rng;

const NAME: &str = "random-repeats";

/// Random tokens with a period.
///
/// With an alphabet, a sequence is drawn from a few different tokens only, each of which then occurs often: what comes next
/// can be told from several preceding tokens together, no longer from one. That is how keys of a few digits are told apart.
///
/// # Decisions
/// Only tokens that the text before them determines carry loss: from the second token of the first repetition on. The rest
/// is noise of `ln(vocabulary)` per token, which only slows the step.
pub struct RandomRepeats {
    ids: Vec<u32>,
    span: CountRange,
    alphabet: Option<CountRange>,
}

impl RandomRepeats {
    /// As the settings say, from the vocabulary but its special ids.
    ///
    /// # Errors
    /// [`DataError::GeneratorSetting`] for a range that is none.
    pub fn from_settings(
        settings: &RandomRepeatsSettings,
        tokenizer: &Tokenizer,
    ) -> Result<Self, DataError> {
        let (min, max) = (settings.span_min, settings.span_max);
        let alphabet = settings
            .alphabet
            .map(|[min, max]| CountRange::new(NAME, "alphabet", min, max));
        Self::new(
            tokenizer.vocab_size(),
            &[tokenizer.bos(), tokenizer.eos()],
            CountRange::new(NAME, "span_min", min, max)?,
            alphabet.transpose()?,
        )
    }

    /// Draws from all ids below `vocab_size` but the `excluded` ones, with a period in `span`; each sequence from as many
    /// draws of them as `alphabet` says (equal ones may come), all of them without it.
    ///
    /// # Errors
    /// [`DataError::GeneratorSetting`] if no id is left.
    pub fn new(
        vocab_size: usize,
        excluded: &[u32],
        span: CountRange,
        alphabet: Option<CountRange>,
    ) -> Result<Self, DataError> {
        let end = u32::try_from(vocab_size).unwrap_or(u32::MAX);
        let ids: Vec<u32> = (0..end).filter(|id| !excluded.contains(id)).collect();
        if ids.is_empty() {
            return Err(DataError::GeneratorSetting {
                generator: NAME,
                setting: "vocab_size",
                problem: "leaves no token to draw".to_owned(),
            });
        }
        Ok(Self {
            ids,
            span,
            alphabet,
        })
    }

    fn draw_id(&self, rng: &mut ChaCha8Rng) -> u32 {
        self.ids[index_below(rng, self.ids.len())]
    }

    /// `period` tokens of the sequence's alphabet.
    fn draw_span(&self, rng: &mut ChaCha8Rng, period: usize) -> Vec<u32> {
        let Some(alphabet) = self.alphabet else {
            return (0..period).map(|_| self.draw_id(rng)).collect();
        };
        let alphabet: Vec<u32> = (0..alphabet.draw(rng)).map(|_| self.draw_id(rng)).collect();
        (0..period)
            .map(|_| alphabet[index_below(rng, alphabet.len())])
            .collect()
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
        let span = self.draw_span(rng, period);
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
        let generator = RandomRepeats::new(300, &[0, 1], span, None).unwrap();
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
        let generator = RandomRepeats::new(300, &[], span, None).unwrap();
        let error = generator.sequence(&mut stream("t", &[]), 33).unwrap_err();
        assert_eq!(error.code(), "generate.length");
        assert!(generator.sequence(&mut stream("t", &[]), 34).is_ok());
        assert!(RandomRepeats::new(2, &[0, 1], span, None).is_err());
    }

    #[test]
    fn an_alphabet_bounds_the_different_tokens_of_a_sequence() {
        let range = |min, max| CountRange::new(NAME, "s", min, max).unwrap();
        let generator = RandomRepeats::new(4096, &[], range(100, 100), Some(range(8, 8))).unwrap();
        let mut seen = std::collections::BTreeSet::new();
        for index in 0..20 {
            let sequence = generator.sequence(&mut stream("t", &[index]), 200).unwrap();
            let distinct: std::collections::BTreeSet<u32> = sequence.ids.into_iter().collect();
            assert!((2..=8).contains(&distinct.len()), "{}", distinct.len());
            seen.extend(distinct);
        }
        assert!(seen.len() > 100, "alphabets do not change");
    }
}
