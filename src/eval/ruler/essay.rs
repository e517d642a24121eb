//! The haystack of natural text, sentence by sentence.
//!
//! # Decisions
//! - RULER hides its needles in essays that may not be passed on. Ours is whatever text the evaluation names, such as the
//!   Rust books: a stand-in, and labelled so.
//! - A sentence ends at `.`, `?` or `!` before a blank and a capital letter, or at an empty line. Text that goes on for more
//!   than [`LONG`] bytes without either is code or a table, and is taken line by line.
//! - Sentences at both ends of an excerpt may have been cut, and are left out.

use crate::data::tokenizer::Tokenizer;
use crate::eval::error::EvalError;
use crate::eval::material::Material;
use crate::eval::plan::Place;
use crate::eval::text::chars::pattern;
use crate::random::shuffle;
use rand_chacha::ChaCha8Rng;
use regex::{Match, Regex};
use std::sync::LazyLock;

/// Bytes beyond which a sentence is taken line by line.
const LONG: usize = 400;

/// Depths that needles may have.
const NUM_DEPTHS: usize = 40;

/// Excerpts without a whole sentence, one after the other, before the text is given up.
const MAX_LOOKS: usize = 64;

/// Where a sentence may end.
static ENDS: LazyLock<Regex> = LazyLock::new(|| pattern(r"[.?!]\s+|\n[ \t]*\n\s*"));

/// Line ends, each with the blank lines behind it.
static LINE_ENDS: LazyLock<Regex> = LazyLock::new(|| pattern(r"\n(?:[ \t]*\n)*"));

/// Sentences, each with the space behind it.
pub(super) struct Essay {
    sentences: Vec<String>,
}

impl Essay {
    /// Draws sentences that take at least `length` tokens.
    ///
    /// # Errors
    /// [`EvalError::NoHaystack`] if there is no text or it has no sentences, or as it cannot be read.
    pub(super) fn draw(
        rng: &mut ChaCha8Rng,
        material: &Material<'_>,
        length: usize,
    ) -> Result<Self, EvalError> {
        let haystack = material.haystack()?;
        let tokenizer = material.tokenizer();
        let excerpt_len = length + length / 16 + 256;
        let mut sentences: Vec<String> = Vec::new();
        let mut fruitless = 0;
        while tokenizer.encode(&sentences.concat())?.len() < length {
            let num_before = sentences.len();
            let ids = haystack.draw(rng, excerpt_len)?;
            for text in texts(&ids, tokenizer)? {
                if let [_, whole @ .., _] = &split(&text)[..] {
                    sentences.extend(whole.iter().map(|sentence| (*sentence).to_owned()));
                }
            }
            fruitless = if sentences.len() == num_before {
                fruitless + 1
            } else {
                0
            };
            if fruitless > MAX_LOOKS {
                return Err(EvalError::NoHaystack {
                    found: "it has no lines or sentences".to_owned(),
                    remedy: "name other text with --source or --data",
                });
            }
        }
        Ok(Self { sentences })
    }

    /// All sentences.
    pub(super) fn text(&self) -> String {
        self.sentences.concat()
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.sentences.len()
    }

    /// The first `num` sentences with `needles` between them, each before the sentence of its index, and the bytes up to the
    /// end of each needle.
    pub(super) fn hide(&self, num: usize, needles: &[(usize, &str)]) -> (String, Vec<usize>) {
        let mut text = String::new();
        let mut ends = vec![0; needles.len()];
        let mut space = " ";
        for at in 0..=num {
            for (needle, end) in needles.iter().zip(&mut ends) {
                if needle.0 == at {
                    text.push_str(needle.1);
                    *end = text.len();
                    text.push_str(space);
                }
            }
            if let Some(sentence) = self.sentences[..num].get(at) {
                let sentence = if at == 0 {
                    sentence.trim_start()
                } else {
                    sentence
                };
                text.push_str(sentence);
                space = &sentence[sentence.trim_end().len()..];
            }
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
        (text, ends)
    }
}

/// `num` different depths in percent: the first is the one nearest to the place's, the others are drawn.
pub(super) fn depths(rng: &mut ChaCha8Rng, place: &Place, num: usize) -> Vec<usize> {
    let first = place.index_among(NUM_DEPTHS);
    let mut others: Vec<usize> = (0..NUM_DEPTHS).filter(|index| *index != first).collect();
    shuffle(rng, &mut others);
    let indices = std::iter::once(first).chain(others).take(num);
    indices.map(percent).collect()
}

/// Depth `index` of the even grid from 0 to 100, to the nearest integer; none lies between two.
fn percent(index: usize) -> usize {
    let steps = NUM_DEPTHS - 1;
    (100 * index + steps / 2) / steps
}

/// The texts between begin and end tokens.
fn texts(ids: &[u32], tokenizer: &Tokenizer) -> Result<Vec<String>, EvalError> {
    let marks = [tokenizer.bos(), tokenizer.eos()];
    let texts = ids.split(|id| marks.contains(id));
    texts.map(|ids| Ok(tokenizer.decode(ids)?)).collect()
}

/// The sentences of `text`; all of them together are the text.
fn split(text: &str) -> Vec<&str> {
    let is_end = |end: &Match<'_>| {
        let next = text[end.end()..].chars().next();
        end.as_str().matches('\n').count() > 1 || next.is_some_and(char::is_uppercase)
    };
    let mut sentences = Vec::new();
    for sentence in cut(text, ENDS.find_iter(text).filter(is_end)) {
        if sentence.len() > LONG {
            sentences.extend(cut(sentence, LINE_ENDS.find_iter(sentence)));
        } else {
            sentences.push(sentence);
        }
    }
    sentences
}

/// `text` cut behind every one of `ends`.
fn cut<'a>(text: &'a str, ends: impl Iterator<Item = Match<'a>>) -> Vec<&'a str> {
    let mut pieces = Vec::new();
    let mut start = 0;
    for end in ends.map(|end| end.end()).chain([text.len()]) {
        if end > start {
            pieces.push(&text[start..end]);
            start = end;
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_end_at_marks_before_capitals_and_at_empty_lines() {
        let text = "One is 1.5 or so, e.g. two. Two? \"Three\"! No.\nFour\n \nfive.\n\nsix";
        let expected = [
            "One is 1.5 or so, e.g. two. ",
            "Two? \"Three\"! ",
            "No.\n",
            "Four\n \n",
            "five.\n\n",
            "six",
        ];
        assert_eq!(split(text), expected);
        assert_eq!(split(""), [""; 0]);
    }

    #[test]
    fn long_text_without_sentences_is_taken_line_by_line() {
        let line = "    let x = compute(x);\n";
        let text = format!("Short.\n\n{}\n\nNext.", line.repeat(30));
        let found = split(&text);
        assert_eq!(found.len(), 32);
        let last = format!("{line}\n\n");
        assert_eq!(found[29..], [line, &last, "Next."]);
        assert_eq!(found.concat(), text);
    }

    #[test]
    fn depths_are_distinct_values_of_the_even_grid() {
        let place = Place {
            seed: 1,
            length: 100,
            depth_index: 0,
            depth: 0.31,
            index: 0,
        };
        let mut all = depths(&mut place.stream("t"), &place, NUM_DEPTHS);
        assert_eq!(all[0], 31);
        all.sort_unstable();
        assert_eq!(all[..5], [0, 3, 5, 8, 10]);
        assert_eq!(all[35..], [90, 92, 95, 97, 100]);
        all.dedup();
        assert_eq!(all.len(), NUM_DEPTHS);
    }

    #[test]
    fn needles_stand_between_sentences() {
        let essay = Essay {
            sentences: [" One. ", "Two.\n\n", "Three. ", "Four. "]
                .map(str::to_owned)
                .to_vec(),
        };
        let needles = [(0, "A."), (2, "B."), (2, "C."), (3, "D.")];
        let (text, ends) = essay.hide(3, &needles);
        assert_eq!(text, "A. One. Two.\n\nB.\n\nC.\n\nThree. D.\n");
        let before: Vec<&str> = ends.iter().map(|end| &text[end - 2..*end]).collect();
        assert_eq!(before, ["A.", "B.", "C.", "D."]);
    }
}
