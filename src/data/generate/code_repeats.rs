//! `code-repeats`: spans of natural text, some of which return later.

use super::Generate;
use super::corpus::NaturalText;
use super::range::CountRange;
use super::sequence::Sequence;
use crate::config::generator_kinds::CodeRepeatsSettings;
use crate::data::error::DataError;
use crate::data::tokenizer::Tokenizer;
use crate::random::{index_below, uniform};
use rand_chacha::ChaCha8Rng;

/// The kind's word in settings.
pub(super) const NAME: &str = "code-repeats";

/// Share of spans that are copies of an earlier one.
const COPY_SHARE: f64 = 0.5;

/// A sequence of spans, each new or a copy of any earlier one, so that copies reach back over all distances.
pub struct CodeRepeats {
    text: NaturalText,
    bos: u32,
    span: CountRange,
}

impl CodeRepeats {
    /// As the settings say.
    ///
    /// # Errors
    /// [`DataError::GeneratorSetting`] for a range that is none.
    pub fn from_settings(
        settings: &CodeRepeatsSettings,
        text: NaturalText,
        tokenizer: &Tokenizer,
    ) -> Result<Self, DataError> {
        let span = CountRange::new(NAME, "span_min", settings.span_min, settings.span_max)?;
        Ok(Self::new(text, tokenizer.bos(), span))
    }

    /// Draws spans of natural text with lengths in `span`.
    pub fn new(text: NaturalText, bos: u32, span: CountRange) -> Self {
        Self { text, bos, span }
    }
}

impl Generate for CodeRepeats {
    fn name(&self) -> &'static str {
        NAME
    }

    fn sequence(&self, rng: &mut ChaCha8Rng, len: usize) -> Result<Sequence, DataError> {
        let min_len = 1 + 2 * self.span.min();
        if len < min_len {
            return Err(DataError::GeneratorLength {
                generator: NAME,
                len,
                min_len,
            });
        }
        let mut ids = vec![self.bos];
        let mut spans: Vec<(usize, usize)> = Vec::new();
        while ids.len() < len {
            if !spans.is_empty() && uniform(rng) < COPY_SHARE {
                let (start, end) = spans[index_below(rng, spans.len())];
                ids.extend_from_within(start..end);
            } else {
                let start = ids.len();
                let span_len = self.span.draw(rng);
                ids.extend(self.text.window(rng, span_len));
                spans.push((start, ids.len()));
            }
        }
        ids.truncate(len);
        Ok(Sequence::trained_throughout(ids))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::generate::corpus::tests::{TOKENIZER, natural};
    use crate::random::stream;

    #[test]
    fn about_half_of_the_text_was_there_before() {
        let span = CountRange::new(NAME, "span", 24, 24).unwrap();
        let generator = CodeRepeats::new(natural(), TOKENIZER.bos(), span);
        let (mut copies, mut total) = (0, 0);
        for index in 0..40 {
            let ids = generator
                .sequence(&mut stream("t", &[index]), 1 + 24 * 20)
                .unwrap()
                .ids;
            assert_eq!(ids.len(), 1 + 24 * 20);
            let spans: Vec<&[u32]> = ids[1..].chunks(24).collect();
            copies += (1..spans.len())
                .filter(|i| spans[..*i].contains(&spans[*i]))
                .count();
            total += spans.len();
        }
        assert!(
            (total * 4 / 10..total * 6 / 10).contains(&copies),
            "{copies} of {total}"
        );
        assert!(generator.sequence(&mut stream("t", &[0]), 48).is_err());
    }
}
