//! Contexts whose answer is spread over all of them.

use crate::eval::plan::depth_of;
use crate::eval::prompt_text::Context;

/// Words in a row, some of which make the answer.
#[derive(Debug, Default)]
pub struct Spread {
    text: String,
    /// Bytes up to the end of the last word that counts.
    end: usize,
    /// Places of the words that count.
    places: Vec<usize>,
    num_words: usize,
}

impl Spread {
    /// Adds a word, space behind it included.
    pub fn push(&mut self, word: &str, counts: bool) {
        self.text.push_str(word);
        if counts {
            self.end = self.text.trim_end().len();
            self.places.push(self.num_words);
        }
        self.num_words += 1;
    }

    /// The context; its depth is the mean place of what counts.
    pub fn context(self) -> Context {
        let sum: usize = self.places.iter().sum();
        let num_steps = self.places.len() * self.num_words.saturating_sub(1);
        Context {
            text: self.text,
            needle_end: self.end,
            depth: depth_of(sum, num_steps + 1),
            num_units: self.num_words,
        }
    }
}
