//! Words that no language has, all of one length.

use super::kind::distinct;
use crate::data::generate::fact::KeyClass;
use crate::data::generate::pseudo_word::{self, class_of_word};
use rand_chacha::ChaCha8Rng;

/// Syllables of a word, of two letters each.
const NUM_SYLLABLES: usize = 3;

/// Most words that are drawn for one item: there are about 34,000 of the evaluation class.
pub const MAX_WORDS: usize = 25_000;

/// Draws words of six letters without end, all different, of the evaluation class, and none of them in `text` in any case.
///
/// At most [`MAX_WORDS`] should be taken. As all have one length, none is a part of another.
pub fn draw_distinct<'a>(
    rng: &'a mut ChaCha8Rng,
    text: &str,
) -> impl Iterator<Item = String> + use<'a> {
    distinct(rng, text, |rng| {
        loop {
            let word = pseudo_word::draw(rng, NUM_SYLLABLES);
            if class_of_word(&word) == KeyClass::Evaluation {
                break word;
            }
        }
    })
}
