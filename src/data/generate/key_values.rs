//! `key-values`: definitions of facts, then questions about them, with nothing in between.

use super::Generate;
use super::fact::{Fact, KeyClass};
use super::needle_form::NeedleForm;
use super::needle_tokens::NeedleTokens;
use super::range::{CountRange, index_below};
use super::sequence::Sequence;
use crate::data::error::DataError;
use rand_chacha::ChaCha8Rng;

const NAME: &str = "key-values";

/// Blocks of definitions and questions until the sequence is full.
///
/// # Decisions
/// Definitions carry no loss: their words and digits are drawn at random, so what could be learnt from them is noise.
pub struct KeyValues {
    tokens: NeedleTokens,
    settings: KeyValuesSettings,
}

/// What a block holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KeyValuesSettings {
    /// Facts defined.
    pub pairs: CountRange,
    /// Questions asked; beyond the number of facts they repeat.
    pub num_queries: usize,
    /// Weight of an answer's tokens; the other trained tokens have 1.
    pub answer_weight: f32,
}

impl KeyValues {
    /// Writes with `tokens`.
    pub fn new(tokens: NeedleTokens, settings: KeyValuesSettings) -> Self {
        Self { tokens, settings }
    }

    fn push_block(&self, rng: &mut ChaCha8Rng, sequence: &mut Sequence) -> Result<(), DataError> {
        let num_pairs = self.settings.pairs.draw(rng);
        let facts = Fact::draw_distinct(rng, num_pairs, KeyClass::Training);
        let form = draw_form(rng);
        for fact in &facts {
            sequence.push_all(&self.tokens.definition(form, fact)?, 0.0);
        }
        let mut order: Vec<usize> = (0..facts.len()).collect();
        for asked in 0..self.settings.num_queries {
            let turn = asked % order.len();
            if turn == 0 {
                crate::random::shuffle(rng, &mut order);
            }
            let question = self.tokens.question(form, &facts[order[turn]])?;
            sequence.push_all(&question.cue, 1.0);
            sequence.push_all(&question.answer, self.settings.answer_weight);
            sequence.push_all(&question.close, 1.0);
        }
        Ok(())
    }
}

/// Draws a form: the recall task's own half of the time, so that it is learnt well, the others for generality.
pub(super) fn draw_form(rng: &mut ChaCha8Rng) -> NeedleForm {
    let others = NeedleForm::ALL.len() - 1;
    let at = index_below(rng, 2 * others);
    NeedleForm::ALL[if at < others { 0 } else { at - others + 1 }]
}

impl Generate for KeyValues {
    fn name(&self) -> &'static str {
        NAME
    }

    fn sequence(&self, rng: &mut ChaCha8Rng, len: usize) -> Result<Sequence, DataError> {
        let mut sequence = Sequence::default();
        sequence.push_all(&[self.tokens.bos()], 0.0);
        let mut trained = 0;
        while sequence.len() < len {
            self.push_block(rng, &mut sequence)?;
            // The first block shows whether anything that is asked fits at all.
            if trained == 0 {
                let first = sequence.weights.iter().position(|weight| *weight > 0.0);
                trained = first.unwrap_or(usize::MAX);
            }
        }
        if trained >= len {
            return Err(DataError::GeneratorLength {
                generator: NAME,
                len,
                min_len: trained.saturating_add(1),
            });
        }
        sequence.truncate(len);
        Ok(sequence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::generate::corpus::tests::TOKENIZER;
    use crate::data::generate::fact::key_class;
    use crate::fault::Coded;
    use crate::random::stream;

    fn generator(pairs: (usize, usize), num_queries: usize) -> KeyValues {
        let settings = KeyValuesSettings {
            pairs: CountRange::new(NAME, "pairs", pairs.0, pairs.1).unwrap(),
            num_queries,
            answer_weight: 2.0,
        };
        KeyValues::new(NeedleTokens::new(TOKENIZER.clone()).unwrap(), settings)
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

    #[test]
    fn answers_weigh_more_and_definitions_nothing() {
        let sequence = generator((3, 3), 3)
            .sequence(&mut stream("t", &[1]), 150)
            .unwrap();
        let first = sequence
            .weights
            .iter()
            .position(|weight| *weight > 0.0)
            .unwrap();
        let definitions = TOKENIZER.decode(&sequence.ids[1..first]).unwrap();
        assert_eq!(definitions.lines().count(), 3);
        let answer = sequence
            .weights
            .iter()
            .position(|weight| *weight > 1.5)
            .unwrap();
        let digits = TOKENIZER.decode(&sequence.ids[answer..answer + 7]).unwrap();
        assert!(digits.bytes().all(|byte| byte.is_ascii_digit()), "{digits}");
        assert!(definitions.contains(&digits));
    }

    #[test]
    fn a_sequence_without_room_for_a_question_is_refused() {
        let error = generator((6, 6), 2)
            .sequence(&mut stream("t", &[1]), 64)
            .unwrap_err();
        assert_eq!(error.code(), "generate.length");
    }

    #[test]
    fn the_recall_form_is_half_of_all() {
        let mut rng = stream("form", &[]);
        let forms: Vec<NeedleForm> = (0..1200).map(|_| draw_form(&mut rng)).collect();
        let count = |form| forms.iter().filter(|drawn| **drawn == form).count();
        assert!((540..660).contains(&count(NeedleForm::Const)));
        for form in &NeedleForm::ALL[1..] {
            assert!((150..250).contains(&count(*form)), "{form:?}");
        }
    }
}
