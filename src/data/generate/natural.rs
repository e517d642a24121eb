//! `natural`: a window of a natural document.

use super::Generate;
use super::corpus::NaturalText;
use super::sequence::Sequence;
use crate::data::error::DataError;
use rand_chacha::ChaCha8Rng;

/// The kind's word in settings.
pub(super) const NAME: &str = "natural";

/// Natural text as it is, after a begin token.
pub struct Natural {
    text: NaturalText,
    bos: u32,
}

impl Natural {
    /// Draws from `text`.
    pub fn new(text: NaturalText, bos: u32) -> Self {
        Self { text, bos }
    }
}

impl Generate for Natural {
    fn name(&self) -> &'static str {
        NAME
    }

    fn sequence(&self, rng: &mut ChaCha8Rng, len: usize) -> Result<Sequence, DataError> {
        if len < 2 {
            return Err(DataError::GeneratorLength {
                generator: NAME,
                len,
                min_len: 2,
            });
        }
        let mut ids = vec![self.bos];
        ids.extend(self.text.window(rng, len - 1));
        Ok(Sequence::trained_throughout(ids))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::generate::corpus::tests::{TOKENIZER, natural};
    use crate::random::stream;

    #[test]
    fn a_begin_token_then_text() {
        let generator = Natural::new(natural(), TOKENIZER.bos());
        let sequence = generator.sequence(&mut stream("t", &[3]), 100).unwrap();
        assert_eq!(sequence.len(), 100);
        assert_eq!(sequence.labels()[0], -100);
        assert_eq!(sequence.ids[0], TOKENIZER.bos());
        assert!(
            TOKENIZER
                .decode(&sequence.ids[1..])
                .unwrap()
                .contains("compute(")
        );
        assert!(generator.sequence(&mut stream("t", &[3]), 1).is_err());
    }
}
