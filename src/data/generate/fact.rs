//! Facts that a model is asked to recall: a key of three words and a number of seven digits.
//!
//! Keys are split by a hash of their words: training never meets a key of the evaluation class, so that evaluation asks for
//! keys, and numbers, which were never seen together or alone.

use crate::data::source::is_held_out;
use crate::random::{below, index_below};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeSet;
use std::sync::LazyLock;

/// Share of keys that only evaluation uses.
const EVALUATION_SHARE: f64 = 0.1;

const SMALLEST_VALUE: u32 = 1_000_000;
const LARGEST_VALUE: u32 = 9_999_999;

/// Adjective, animal, plant: the words keys are made of.
static WORDS: LazyLock<[Vec<&'static str>; 3]> = LazyLock::new(|| {
    [
        include_str!("../../../data/words/adjectives.txt"),
        include_str!("../../../data/words/animals.txt"),
        include_str!("../../../data/words/plants.txt"),
    ]
    .map(|list| list.lines().collect())
});

/// Who may use a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyClass {
    /// Training sequences.
    Training,
    /// Evaluation items.
    Evaluation,
}

/// A key and its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fact {
    /// Adjective, animal, plant.
    pub words: [&'static str; 3],
    /// Seven digits, the first not zero.
    pub value: u32,
}

impl Fact {
    /// Draws a fact with a key of `class`.
    pub fn draw(rng: &mut ChaCha8Rng, class: KeyClass) -> Self {
        let words = loop {
            let words = draw_words(rng);
            if key_class(words) == class {
                break words;
            }
        };
        let span = u64::from(LARGEST_VALUE - SMALLEST_VALUE) + 1;
        let offset = u32::try_from(below(rng, span)).unwrap_or(0);
        Self {
            words,
            value: SMALLEST_VALUE + offset,
        }
    }

    /// Draws `n` facts whose keys and values are all different.
    pub fn draw_distinct(rng: &mut ChaCha8Rng, n: usize, class: KeyClass) -> Vec<Self> {
        let (mut keys, mut values) = (BTreeSet::new(), BTreeSet::new());
        let mut facts = Vec::with_capacity(n);
        while facts.len() < n {
            let fact = Self::draw(rng, class);
            if !keys.contains(&fact.words) && values.insert(fact.value) {
                keys.insert(fact.words);
                facts.push(fact);
            }
        }
        facts
    }
}

/// The class that a key belongs to, always.
pub fn key_class(words: [&str; 3]) -> KeyClass {
    class_of(&format!("key:{}", words.join("_")))
}

/// The class that whatever is called `id` belongs to, always.
pub fn class_of(id: &str) -> KeyClass {
    if is_held_out(id, EVALUATION_SHARE) {
        KeyClass::Evaluation
    } else {
        KeyClass::Training
    }
}

/// The words that keys are made of: adjectives, animals, plants.
pub fn word_lists() -> &'static [Vec<&'static str>; 3] {
    &WORDS
}

/// Draws an adjective, an animal and a plant.
pub(super) fn draw_words(rng: &mut ChaCha8Rng) -> [&'static str; 3] {
    [0, 1, 2].map(|list| pick(rng, &WORDS[list]))
}

fn pick(rng: &mut ChaCha8Rng, words: &[&'static str]) -> &'static str {
    words[index_below(rng, words.len())]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::stream;

    #[test]
    fn the_word_lists_are_long_clean_and_disjoint() {
        let mut all = BTreeSet::new();
        for list in WORDS.iter() {
            assert!(list.len() >= 200, "{}", list.len());
            for word in list {
                assert!(word.len() >= 2 && word.bytes().all(|byte| byte.is_ascii_lowercase()));
                assert!(all.insert(word), "{word} occurs twice");
            }
        }
    }

    #[test]
    fn training_and_evaluation_share_no_key() {
        let mut rng = stream("fact", &[1]);
        for class in [KeyClass::Training, KeyClass::Evaluation] {
            for fact in Fact::draw_distinct(&mut rng, 500, class) {
                assert_eq!(key_class(fact.words), class);
                assert!((1_000_000..=9_999_999).contains(&fact.value));
            }
        }
        let mut classes = Vec::new();
        for adjective in &WORDS[0] {
            classes.push(key_class([adjective, "lion", "apple"]));
        }
        let evaluation = classes
            .iter()
            .filter(|class| **class == KeyClass::Evaluation)
            .count();
        assert!(
            (10..45).contains(&evaluation),
            "{evaluation} of {}",
            classes.len()
        );
    }

    #[test]
    fn facts_of_one_draw_are_distinct_and_pinned() {
        let facts = Fact::draw_distinct(&mut stream("fact", &[2]), 300, KeyClass::Training);
        let keys: BTreeSet<_> = facts.iter().map(|fact| fact.words).collect();
        let values: BTreeSet<_> = facts.iter().map(|fact| fact.value).collect();
        assert_eq!((keys.len(), values.len()), (300, 300));
        assert_eq!(
            facts[0],
            Fact {
                words: ["fond", "skunk", "almond"],
                value: 3_019_430
            }
        );
    }
}
