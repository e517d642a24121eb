//! `label-map`: pseudo-words that stand for labels, shown several times, then asked for.
//!
//! ```text
//! zopamir => B
//! kelu => F
//! zopamir => B
//! ```

use super::fact::KeyClass;
use super::pseudo_word::{self, class_of_word};
use super::question::QuestionText;
use super::quiz::{DrawQuiz, Quiz, draw_rounds};
use super::range::CountRange;
use crate::config::generator_kinds::LabelMapSettings;
use crate::data::error::DataError;
use crate::random::{index_below, shuffle};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeSet;

/// The form's word in settings.
pub(super) const NAME: &str = "label-map";

const MIN_SYLLABLES: usize = 3;
const MAX_SYLLABLES: usize = 4;

/// A pseudo-word and its label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// Three or four syllables.
    pub word: String,
    /// A capital letter.
    pub label: char,
}

impl Mapping {
    /// Draws `num` mappings with different words of `class`; each of `num_labels` labels (capital letters, drawn as
    /// well) has as many words as any other, or one more.
    pub fn draw_distinct(
        rng: &mut ChaCha8Rng,
        num: usize,
        num_labels: usize,
        class: KeyClass,
    ) -> Vec<Self> {
        let mut letters: Vec<char> = ('A'..='Z').collect();
        shuffle(rng, &mut letters);
        let mut labels: Vec<char> = letters[..num_labels.clamp(1, letters.len())]
            .iter()
            .copied()
            .cycle()
            .take(num)
            .collect();
        shuffle(rng, &mut labels);
        let mut words = BTreeSet::new();
        let draw = |label| loop {
            let num_syllables = MIN_SYLLABLES + index_below(rng, MAX_SYLLABLES - MIN_SYLLABLES + 1);
            let word = pseudo_word::draw(rng, num_syllables);
            if class_of_word(&word) == class && words.insert(word.clone()) {
                break Self { word, label };
            }
        };
        labels.into_iter().map(draw).collect()
    }

    /// The mapping's line.
    pub fn line(&self) -> String {
        format!("{} => {}\n", self.word, self.label)
    }

    /// The question for the label: the line again.
    pub fn question(&self) -> QuestionText {
        QuestionText {
            cue: format!("{} =>", self.word),
            answer: format!(" {}", self.label),
            close: "\n".to_owned(),
        }
    }
}

/// Every mapping's line `num_rounds` times, each round in an order of its own.
fn shots(rng: &mut ChaCha8Rng, mappings: &[Mapping], num_rounds: usize) -> String {
    draw_rounds(rng, mappings.len(), mappings.len() * num_rounds)
        .into_iter()
        .map(|index| mappings[index].line())
        .collect()
}

/// Quizzes on mappings.
#[derive(Debug, Clone, Copy)]
pub struct LabelMap {
    /// Words of a quiz.
    pub words: CountRange,
    /// Labels of a quiz.
    pub num_labels: usize,
    /// Times that each word is shown before it is asked for.
    pub num_rounds: usize,
    /// Questions; beyond the number of words they repeat.
    pub num_queries: usize,
}

impl LabelMap {
    /// As the settings say.
    ///
    /// # Errors
    /// [`DataError::GeneratorSetting`] for a range that is none.
    pub fn from_settings(settings: &LabelMapSettings) -> Result<Self, DataError> {
        let (min, max) = (settings.num_words_min, settings.num_words_max);
        Ok(Self {
            words: CountRange::new(NAME, "num_words_min", min, max)?,
            num_labels: settings.num_labels,
            num_rounds: settings.num_rounds,
            num_queries: settings.num_queries,
        })
    }
}

impl DrawQuiz for LabelMap {
    fn name(&self) -> &'static str {
        NAME
    }

    fn draw(&self, rng: &mut ChaCha8Rng) -> Quiz {
        let num_words = self.words.draw(rng);
        let mappings = Mapping::draw_distinct(rng, num_words, self.num_labels, KeyClass::Training);
        let context = shots(rng, &mappings, self.num_rounds);
        let asked = draw_rounds(rng, mappings.len(), self.num_queries);
        Quiz {
            context,
            questions: asked
                .iter()
                .map(|index| mappings[*index].question())
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::generate::question::tests::assert_seamless;
    use crate::random::stream;
    use std::collections::BTreeMap;

    #[test]
    fn every_question_repeats_a_line_and_every_word_was_shown_as_often_as_asked() {
        let form = LabelMap {
            words: CountRange::new(NAME, "words", 3, 20).unwrap(),
            num_labels: 4,
            num_rounds: 2,
            num_queries: 9,
        };
        for index in 0..40 {
            let quiz = form.draw(&mut stream("t", &[index]));
            let mut shown: BTreeMap<&str, usize> = BTreeMap::new();
            for line in quiz.context.lines() {
                *shown.entry(line).or_default() += 1;
            }
            assert!(shown.values().all(|times| *times == 2));
            assert_eq!(quiz.questions.len(), 9);
            for question in &quiz.questions {
                let line = format!("{}{}", question.cue, question.answer);
                assert!(shown.contains_key(line.as_str()), "{line}");
            }
            assert_seamless(&quiz.context, &quiz.questions);
        }
    }

    #[test]
    fn labels_are_balanced_and_words_are_distinct_and_of_the_class() {
        let mut rng = stream("t", &[1]);
        let mappings = Mapping::draw_distinct(&mut rng, 83, 8, KeyClass::Evaluation);
        let mut counts: BTreeMap<char, usize> = BTreeMap::new();
        for mapping in &mappings {
            *counts.entry(mapping.label).or_default() += 1;
        }
        assert_eq!(counts.len(), 8);
        assert!(counts.values().all(|count| (10..=11).contains(count)));
        let words: BTreeSet<&String> = mappings.iter().map(|mapping| &mapping.word).collect();
        assert_eq!(words.len(), 83);
        for word in words {
            assert_eq!(class_of_word(word), KeyClass::Evaluation);
        }
    }
}
