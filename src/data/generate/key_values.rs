//! `key-values`: definitions of facts, then questions about them, with nothing in between.

use super::fact::{Fact, KeyClass};
use super::needle_form::draw_form;
use super::quiz::{DrawQuiz, Quiz, draw_rounds};
use super::range::CountRange;
use crate::config::generator_kinds::KeyValuesSettings;
use crate::data::error::DataError;
use rand_chacha::ChaCha8Rng;

/// The form's word in settings.
pub(super) const NAME: &str = "key-values";

/// Quizzes on facts, all of one quiz in one form.
#[derive(Debug, Clone, Copy)]
pub struct KeyValues {
    /// Facts defined.
    pub pairs: CountRange,
    /// Questions asked; beyond the number of facts they repeat.
    pub num_queries: usize,
}

impl KeyValues {
    /// As the settings say.
    ///
    /// # Errors
    /// [`DataError::GeneratorSetting`] for a range that is none.
    pub fn from_settings(settings: &KeyValuesSettings) -> Result<Self, DataError> {
        let (min, max) = (settings.num_pairs_min, settings.num_pairs_max);
        Ok(Self {
            pairs: CountRange::new(NAME, "num_pairs_min", min, max)?,
            num_queries: settings.num_queries,
        })
    }
}

impl DrawQuiz for KeyValues {
    fn name(&self) -> &'static str {
        NAME
    }

    fn draw(&self, rng: &mut ChaCha8Rng) -> Quiz {
        let num_pairs = self.pairs.draw(rng);
        let facts = Fact::draw_distinct(rng, num_pairs, KeyClass::Training);
        let form = draw_form(rng);
        let lines = facts.iter().map(|fact| format!("{}\n", form.line(fact)));
        let asked = draw_rounds(rng, facts.len(), self.num_queries);
        Quiz {
            context: lines.collect(),
            questions: asked
                .iter()
                .map(|index| form.question(&facts[*index]))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::generate::Generate;
    use crate::data::generate::corpus::tests::TOKENIZER;
    use crate::data::generate::fact::key_class;
    use crate::data::generate::quiz::Quizzes;
    use crate::random::stream;

    fn generator(pairs: (usize, usize), num_queries: usize) -> Quizzes<KeyValues> {
        let form = KeyValues {
            pairs: CountRange::new(NAME, "pairs", pairs.0, pairs.1).unwrap(),
            num_queries,
        };
        Quizzes::new(TOKENIZER.clone(), form, 2.0)
    }

    #[test]
    fn every_question_of_the_code_form_has_the_answer_defined_before() {
        let generator = generator((2, 6), 8);
        let mut asked = 0;
        for index in 0..60 {
            let sequence = generator.sequence(&mut stream("t", &[index]), 700).unwrap();
            assert_eq!(sequence.len(), 700);
            let text = TOKENIZER.decode(&sequence.ids[1..]).unwrap();
            for (at, _) in text.match_indices("assert_eq!(KEY_") {
                let Some((question, _)) = text[at + 11..].split_once(");\n") else {
                    continue;
                };
                let (key, value) = question.split_once(", ").unwrap();
                assert!(
                    text[..at].contains(&format!("const {key}: u64 = {value};\n")),
                    "{text}"
                );
                let words: Vec<&str> = key[4..].split('_').collect();
                assert_eq!(key_class(words.try_into().unwrap()), KeyClass::Training);
                asked += 1;
            }
        }
        assert!(asked > 300, "{asked}");
    }
}
