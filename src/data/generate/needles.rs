//! `needles`: definitions hidden in natural text, asked for at its end.

use super::Generate;
use super::corpus::NaturalText;
use super::fact::{Fact, KeyClass};
use super::needle_form::draw_form;
use super::needle_tokens::{NeedleTokens, TokenOrigin};
use super::question::Question;
use super::range::CountRange;
use super::sequence::{Sequence, loss_weight};
use crate::config::generator_kinds::NeedlesSettings;
use crate::data::error::DataError;
use rand_chacha::ChaCha8Rng;

/// The kind's word in settings.
pub(super) const NAME: &str = "needles";

/// Natural text with needles at random depths, and questions about some of them as the last lines.
pub struct Needles {
    text: NaturalText,
    tokens: NeedleTokens,
    /// Needles hidden; fewer where the sequence is too short for the number drawn.
    needles: CountRange,
    /// Questions at the end, at most one per needle.
    max_questions: usize,
    /// Share of the text, from its beginning, in which needles stand.
    depth_max: f64,
    /// Weight of an answer's tokens; natural text and cues have 1, needles 0.
    answer_weight: f32,
}

/// Definitions and questions of one sequence.
struct Content {
    definitions: Vec<Vec<u32>>,
    questions: Vec<Question>,
}

impl Content {
    fn num_tokens(&self) -> usize {
        let definitions = self.definitions.iter().map(Vec::len).sum::<usize>();
        definitions
            + self
                .questions
                .iter()
                .map(Question::num_tokens)
                .sum::<usize>()
    }

    /// Drops the last needle, and its question if it has one.
    fn shrink(&mut self) {
        self.definitions.pop();
        self.questions.truncate(self.definitions.len());
    }
}

impl Needles {
    /// Hides needles written with `tokens` in `text`.
    ///
    /// # Errors
    /// [`DataError::GeneratorSetting`] for a range that is none.
    pub fn from_settings(
        settings: &NeedlesSettings,
        text: NaturalText,
        tokens: NeedleTokens,
    ) -> Result<Self, DataError> {
        let (min, max) = (settings.num_needles_min, settings.num_needles_max);
        Ok(Self {
            text,
            tokens,
            needles: CountRange::new(NAME, "num_needles_min", min, max)?,
            max_questions: settings.num_questions_max,
            depth_max: settings.depth_max,
            answer_weight: loss_weight(settings.answer_weight),
        })
    }

    /// Draws needles; question `i` asks for needle `i`.
    fn draw_content(&self, rng: &mut ChaCha8Rng) -> Result<Content, DataError> {
        let num_needles = self.needles.draw(rng);
        let most = self.max_questions.clamp(1, num_needles);
        let num_questions = 1 + crate::random::index_below(rng, most);
        let facts = Fact::draw_distinct(rng, num_needles, KeyClass::Training);
        let form = draw_form(rng);
        let definition = |fact| self.tokens.definition(form, fact);
        let question = |fact| self.tokens.question(form, fact);
        Ok(Content {
            definitions: facts.iter().map(definition).collect::<Result<_, _>>()?,
            questions: facts[..num_questions]
                .iter()
                .map(question)
                .collect::<Result<_, _>>()?,
        })
    }

    fn write(&self, rng: &mut ChaCha8Rng, content: Content, text: &[u32]) -> Sequence {
        let mut needles: Vec<(usize, Vec<u32>)> = content
            .definitions
            .into_iter()
            .map(|definition| {
                let place = self.tokens.draw_place(rng, text, self.depth_max);
                (place, definition)
            })
            .collect();
        let mut sequence = Sequence::default();
        sequence.push_all(&[self.tokens.bos()], 0.0);
        for (id, origin) in self.tokens.hide(text, &mut needles) {
            let weight = if origin == TokenOrigin::Text {
                1.0
            } else {
                0.0
            };
            sequence.push_all(&[id], weight);
        }
        sequence.push_all(self.tokens.line_end(), 0.0);
        for question in &content.questions {
            sequence.push_all(&question.cue, 1.0);
            sequence.push_all(&question.answer, self.answer_weight);
            sequence.push_all(&question.close, 1.0);
        }
        sequence
    }
}

impl Generate for Needles {
    fn name(&self) -> &'static str {
        NAME
    }

    fn sequence(&self, rng: &mut ChaCha8Rng, len: usize) -> Result<Sequence, DataError> {
        let mut content = self.draw_content(rng)?;
        let frame_len = 1 + self.tokens.line_end().len();
        while content.num_tokens() + frame_len > len {
            if content.definitions.len() == 1 {
                return Err(DataError::GeneratorLength {
                    generator: NAME,
                    len,
                    min_len: content.num_tokens() + frame_len,
                });
            }
            content.shrink();
        }
        let text_len = len - frame_len - content.num_tokens();
        let text = self.text.window(rng, text_len);
        Ok(self.write(rng, content, &text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::generate::corpus::tests::{TOKENIZER, natural};
    use crate::fault::Coded;
    use crate::random::stream;

    fn generator(needles: (usize, usize), max_questions: usize) -> Needles {
        generator_within(1.0, needles, max_questions)
    }

    fn generator_within(depth_max: f64, needles: (usize, usize), max_questions: usize) -> Needles {
        let settings = NeedlesSettings {
            weight: 1.0,
            num_needles_min: needles.0,
            num_needles_max: needles.1,
            num_questions_max: max_questions,
            depth_max,
            answer_weight: 2.0,
        };
        let tokens = NeedleTokens::new(TOKENIZER.clone()).unwrap();
        Needles::from_settings(&settings, natural(), tokens).unwrap()
    }

    /// Line of the needle that the last line asks for, in % of all lines; `None` for a needle that is no constant.
    fn depth_asked_for(sequence: &Sequence) -> Option<usize> {
        let text = TOKENIZER.decode(&sequence.ids[1..]).unwrap();
        assert!(text.ends_with('\n'));
        let question = text.lines().last()?.strip_prefix("assert_eq!(")?;
        let (key, value) = question
            .strip_suffix(");")
            .unwrap()
            .split_once(", ")
            .unwrap();
        let needle = format!("const {key}: u64 = {value};");
        let at = text.lines().position(|line| line == needle).expect(&text);
        Some(at * 100 / text.lines().count())
    }

    fn depths(generator: &Needles) -> Vec<usize> {
        let mut depths: Vec<usize> = (0..150)
            .filter_map(|index| {
                let sequence = generator.sequence(&mut stream("t", &[index]), 512).unwrap();
                assert_eq!((sequence.ids.len(), sequence.weights.len()), (512, 512));
                depth_asked_for(&sequence)
            })
            .collect();
        depths.sort_unstable();
        assert!(depths.len() > 50);
        depths
    }

    #[test]
    fn the_last_line_is_a_complete_question_about_a_needle_somewhere_in_the_text() {
        let depths = depths(&generator((1, 4), 2));
        assert!(
            depths[5] < 15 && depths[depths.len() - 6] > 80,
            "{depths:?}"
        );
    }

    #[test]
    fn needles_stand_in_the_share_of_the_text_that_the_settings_say() {
        let depths = depths(&generator_within(0.2, (1, 4), 2));
        // A needle moves to the next line start, 64 of 512 tokens away at most.
        assert!(
            depths[5] < 10 && depths[depths.len() - 1] < 45,
            "{depths:?}"
        );
    }

    #[test]
    fn answers_are_seven_weighted_tokens_per_question() {
        let generator = generator((3, 3), 3);
        for index in 0..30 {
            let sequence = generator.sequence(&mut stream("t", &[index]), 400).unwrap();
            let answers = sequence
                .weights
                .iter()
                .filter(|weight| **weight > 1.5)
                .count();
            assert!([7, 14, 21].contains(&answers), "{answers}");
        }
    }

    #[test]
    fn short_sequences_get_fewer_needles_and_too_short_ones_an_error() {
        let generator = generator((8, 8), 1);
        let sequence = generator.sequence(&mut stream("t", &[1]), 128).unwrap();
        assert_eq!(sequence.len(), 128);
        let error = generator.sequence(&mut stream("t", &[1]), 30).unwrap_err();
        assert_eq!(error.code(), "generate.length");
    }
}
