//! Needles and their questions as token ids, and how needles are hidden in natural text.

use super::fact::Fact;
use super::needle_form::NeedleForm;
use super::question::Question;
use crate::data::error::DataError;
use crate::data::tokenizer::Tokenizer;
use crate::random::index_below;
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;

/// How far a needle moves to stand between two lines.
const MAX_SHIFT: usize = 64;

/// Writes needles and questions as tokens, and hides needles between the lines of a text.
#[derive(Clone)]
pub struct NeedleTokens {
    tokenizer: Arc<Tokenizer>,
    /// Whether each id's text ends with a line end.
    ends_line: Arc<[bool]>,
    line_end: Vec<u32>,
}

impl NeedleTokens {
    /// Learns from `tokenizer` which of its ids end a line.
    ///
    /// # Errors
    /// [`DataError::Tokenize`] if it cannot encode a line end.
    pub fn new(tokenizer: Arc<Tokenizer>) -> Result<Self, DataError> {
        let num_ids = u32::try_from(tokenizer.vocab_size()).unwrap_or(u32::MAX);
        let ends_line = (0..num_ids)
            // Ids may have gaps; what cannot be decoded ends no line.
            .map(|id| {
                tokenizer
                    .decode(&[id])
                    .is_ok_and(|text| text.ends_with('\n'))
            })
            .collect();
        Ok(Self {
            line_end: tokenizer.encode("\n")?,
            ends_line,
            tokenizer,
        })
    }

    /// Id that begins a sequence.
    pub fn bos(&self) -> u32 {
        self.tokenizer.bos()
    }

    /// Tokens of a line end.
    pub fn line_end(&self) -> &[u32] {
        &self.line_end
    }

    /// The definition of `fact`, line end included.
    ///
    /// # Errors
    /// [`DataError::Tokenize`].
    pub fn definition(&self, form: NeedleForm, fact: &Fact) -> Result<Vec<u32>, DataError> {
        self.tokenizer.encode(&format!("{}\n", form.line(fact)))
    }

    /// The question about `fact`.
    ///
    /// # Errors
    /// [`DataError::Tokenize`].
    pub fn question(&self, form: NeedleForm, fact: &Fact) -> Result<Question, DataError> {
        form.question(fact).encode(&self.tokenizer)
    }

    /// Draws a place for a needle in `text`, at a uniform depth in [0, `depth_max`] and then at the nearest line start.
    pub fn draw_place(&self, rng: &mut ChaCha8Rng, text: &[u32], depth_max: f64) -> usize {
        let last = place_at(depth_max, text.len());
        self.line_start_from(text, index_below(rng, last + 1))
    }

    /// The nearest line start, forward before backward; `place` itself if the text has none nearby.
    pub fn line_start_from(&self, text: &[u32], place: usize) -> usize {
        let last = text.len().min(place + MAX_SHIFT);
        (place..=last)
            .chain((place.saturating_sub(MAX_SHIFT)..place).rev())
            .find(|at| self.starts_line(text, *at))
            .unwrap_or(place)
    }

    fn starts_line(&self, text: &[u32], place: usize) -> bool {
        place == 0 || self.is_line_end(text[place - 1])
    }

    fn is_line_end(&self, id: u32) -> bool {
        usize::try_from(id).is_ok_and(|id| self.ends_line.get(id) == Some(&true))
    }

    /// Joins `text` and `needles`, each at its place in `text`. The result says which tokens belong to needles.
    pub fn hide(&self, text: &[u32], needles: &mut [(usize, Vec<u32>)]) -> Vec<(u32, TokenOrigin)> {
        needles.sort_by_key(|(place, _)| *place);
        let mut joined = Vec::new();
        let mut done = 0;
        for (place, needle) in needles {
            let place = (*place).min(text.len());
            joined.extend(text[done..place].iter().map(|id| (*id, TokenOrigin::Text)));
            joined.extend(needle.iter().map(|id| (*id, TokenOrigin::Needle)));
            done = place;
        }
        joined.extend(text[done..].iter().map(|id| (*id, TokenOrigin::Text)));
        joined
    }
}

/// The place in a text of `text_len` tokens that lies at `depth`, 0 being its beginning and 1 its end.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a depth in [0, 1] of a text of fewer than 2^52 tokens"
)]
pub fn place_at(depth: f64, text_len: usize) -> usize {
    ((depth * text_len as f64).round() as usize).min(text_len)
}

/// Where a token of a text with needles comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenOrigin {
    /// The natural text.
    Text,
    /// A needle.
    Needle,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::generate::corpus::tests::TOKENIZER;
    use crate::data::generate::fact::KeyClass;
    use crate::data::generate::question::tests::assert_seamless;
    use crate::random::stream;

    fn needle_tokens() -> NeedleTokens {
        NeedleTokens::new(TOKENIZER.clone()).unwrap()
    }

    #[test]
    fn lines_written_in_parts_are_the_tokens_of_the_whole_text() {
        let tokens = needle_tokens();
        let mut rng = stream("needle", &[]);
        for form in NeedleForm::ALL {
            for fact in Fact::draw_distinct(&mut rng, 20, KeyClass::Training) {
                assert_eq!(tokens.question(form, &fact).unwrap().answer.len(), 7);
                assert_seamless(&format!("{}\n", form.line(&fact)), &[form.question(&fact)]);
            }
        }
    }

    #[test]
    fn needles_stand_between_lines_and_the_text_stays_whole() {
        let tokens = needle_tokens();
        let lines: Vec<String> = (0..50).map(|i| format!("    let x{i} = {i};\n")).collect();
        let text = TOKENIZER.encode(&lines.concat()).unwrap();
        let mut rng = stream("hide", &[]);
        for _ in 0..50 {
            let needle = TOKENIZER.encode("NEEDLE\n").unwrap();
            let mut needles = vec![
                (tokens.draw_place(&mut rng, &text, 1.0), needle.clone()),
                (tokens.draw_place(&mut rng, &text, 1.0), needle.clone()),
            ];
            let joined = tokens.hide(&text, &mut needles);
            let ids: Vec<u32> = joined.iter().map(|(id, _)| *id).collect();
            let decoded = TOKENIZER.decode(&ids).unwrap();
            assert_eq!(
                decoded.lines().filter(|line| *line == "NEEDLE").count(),
                2,
                "{decoded}"
            );
            let natural: Vec<u32> = joined
                .iter()
                .filter(|(_, origin)| *origin == TokenOrigin::Text)
                .map(|(id, _)| *id)
                .collect();
            assert_eq!(natural, text);
        }
    }
}
