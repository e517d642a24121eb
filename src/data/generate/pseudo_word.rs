//! Words that no language has: syllables of a consonant and a vowel.

use super::fact::{KeyClass, class_of};
use crate::random::index_below;
use rand_chacha::ChaCha8Rng;

const CONSONANTS: &[u8] = b"bdfgklmnprstvz";
const VOWELS: &[u8] = b"aeiou";

/// Draws a word of that many syllables, of two letters each.
pub fn draw(rng: &mut ChaCha8Rng, num_syllables: usize) -> String {
    let mut word = String::with_capacity(2 * num_syllables);
    for _ in 0..num_syllables {
        for letters in [CONSONANTS, VOWELS] {
            word.push(char::from(letters[index_below(rng, letters.len())]));
        }
    }
    word
}

/// The class that a word belongs to, always.
pub fn class_of_word(word: &str) -> KeyClass {
    class_of(&format!("pseudo-word:{word}"))
}
