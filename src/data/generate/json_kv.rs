//! `json-kv`: one JSON object of short hexadecimal keys and values, then questions for values.
//!
//! ```text
//! {
//!   "3fa9": "71c2",
//!   "b01c": "9d3e"
//! }
//! Value of "3fa9": "71c2"
//! ```

use super::fact::{KeyClass, class_of};
use super::question::QuestionText;
use super::quiz::{DrawQuiz, Quiz, draw_rounds};
use super::range::CountRange;
use crate::config::generator_kinds::JsonKvSettings;
use crate::data::error::DataError;
use crate::random::index_below;
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeSet;

/// The form's word in settings.
pub(super) const NAME: &str = "json-kv";

/// First line of the object.
pub const OPEN: &str = "{\n";

/// Last line of the object.
pub const CLOSE: &str = "}\n";

/// Hexadecimal digits of a key, and of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digits {
    /// Digits of a key.
    pub key_len: usize,
    /// Digits of a value.
    pub value_len: usize,
}

/// A key and its value, of any characters that JSON leaves unescaped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// No other pair of the object has the same.
    pub key: String,
    /// What is asked for.
    pub value: String,
}

impl Pair {
    /// Draws pairs of hexadecimal digits without end whose keys are all different and of `class`.
    ///
    /// The class of a key is a function of the key. Short keys run out: there are `16^key_len` of both classes together.
    pub fn draw_distinct(
        rng: &mut ChaCha8Rng,
        digits: Digits,
        class: KeyClass,
    ) -> impl Iterator<Item = Self> + '_ {
        let mut keys = BTreeSet::new();
        std::iter::repeat_with(move || {
            let key = loop {
                let key = hex(rng, digits.key_len);
                if class_of(&format!("json-key:{key}")) == class && keys.insert(key.clone()) {
                    break key;
                }
            };
            let value = hex(rng, digits.value_len);
            Self { key, value }
        })
    }

    /// The pair's line in the object; all lines but the last end with a comma.
    pub fn line(&self, is_last: bool) -> String {
        let comma = if is_last { "" } else { "," };
        format!("  \"{}\": \"{}\"{comma}\n", self.key, self.value)
    }

    /// The question for the pair's value.
    pub fn question(&self) -> QuestionText {
        QuestionText {
            cue: format!("Value of \"{}\": \"", self.key),
            answer: self.value.clone(),
            close: "\"\n".to_owned(),
        }
    }
}

/// The object of `pairs`, line by line.
pub fn object(pairs: &[Pair]) -> String {
    let lines = pairs.iter().enumerate();
    let lines = lines.map(|(index, pair)| pair.line(index + 1 == pairs.len()));
    format!("{OPEN}{}{CLOSE}", lines.collect::<String>())
}

/// Quizzes on objects.
#[derive(Debug, Clone, Copy)]
pub struct JsonKv {
    /// Pairs of an object.
    pub pairs: CountRange,
    /// Questions; beyond the number of pairs they repeat.
    pub num_queries: usize,
    /// Lengths of keys and values.
    pub digits: Digits,
}

impl JsonKv {
    /// As the settings say.
    ///
    /// # Errors
    /// [`DataError::GeneratorSetting`] for a range that is none.
    pub fn from_settings(settings: &JsonKvSettings) -> Result<Self, DataError> {
        let (min, max) = (settings.num_pairs_min, settings.num_pairs_max);
        Ok(Self {
            pairs: CountRange::new(NAME, "num_pairs_min", min, max)?,
            num_queries: settings.num_queries,
            digits: Digits {
                key_len: settings.key_len,
                value_len: settings.value_len,
            },
        })
    }
}

impl DrawQuiz for JsonKv {
    fn name(&self) -> &'static str {
        NAME
    }

    fn draw(&self, rng: &mut ChaCha8Rng) -> Quiz {
        let num_pairs = self.pairs.draw(rng);
        let pairs: Vec<Pair> = Pair::draw_distinct(rng, self.digits, KeyClass::Training)
            .take(num_pairs)
            .collect();
        let asked = draw_rounds(rng, pairs.len(), self.num_queries);
        Quiz {
            context: object(&pairs),
            questions: asked.iter().map(|index| pairs[*index].question()).collect(),
        }
    }
}

fn hex(rng: &mut ChaCha8Rng, len: usize) -> String {
    let digit = |_| char::from(b"0123456789abcdef"[index_below(rng, 16)]);
    (0..len).map(digit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::generate::question::tests::assert_seamless;
    use crate::random::stream;

    const DIGITS: Digits = Digits {
        key_len: 4,
        value_len: 5,
    };

    #[test]
    fn the_context_is_json_and_answers_every_question() {
        let form = JsonKv {
            pairs: CountRange::new(NAME, "pairs", 1, 40).unwrap(),
            num_queries: 7,
            digits: DIGITS,
        };
        for index in 0..40 {
            let quiz = form.draw(&mut stream("t", &[index]));
            let object: std::collections::BTreeMap<String, String> =
                serde_json::from_str(&quiz.context).unwrap();
            assert_eq!(quiz.questions.len(), 7);
            for question in &quiz.questions {
                let key = question.cue.split('"').nth(1).unwrap();
                assert_eq!(class_of(&format!("json-key:{key}")), KeyClass::Training);
                assert_eq!((key.len(), question.answer.len()), (4, 5));
                assert_eq!(object[key], question.answer);
            }
            assert_seamless(&quiz.context, &quiz.questions);
        }
    }

    #[test]
    fn keys_are_distinct_and_of_the_class() {
        let mut rng = stream("t", &[1]);
        let pairs = Pair::draw_distinct(&mut rng, DIGITS, KeyClass::Evaluation).take(500);
        let keys: BTreeSet<String> = pairs.map(|pair| pair.key).collect();
        assert_eq!(keys.len(), 500);
        let of_class = |key: &String| class_of(&format!("json-key:{key}")) == KeyClass::Evaluation;
        assert!(keys.iter().all(of_class));
    }
}
