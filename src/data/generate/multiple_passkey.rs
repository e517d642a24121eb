//! `multiple-passkey`: long keys of common words hidden in one text, asked for in order at its end (DuoAttention, arXiv
//! 2410.10819).
//!
//! ```text
//! <text>  haystack, a blank line, `The first passkey is ...`, a blank line, haystack ...  </text>
//! Question: What is the first passkey?  Answer: ...      labels: these lines alone
//! ```
//!
//! # Decisions
//! - Objective and shape are the reference's; the wording is our own.
//! - Every document's haystack is a prefix of one text, as there. A document has exactly the tokens asked for, needles and questions
//!   included, so nothing is padded; there a length is the haystack's.

use super::Generate;
use super::corpus::NaturalText;
use super::needle_tokens::NeedleTokens;
use super::question::QuestionText;
use super::sequence::Sequence;
use crate::config::generator_kinds::MultiplePasskeySettings;
use crate::data::error::DataError;
use crate::data::tokenizer::Tokenizer;
use crate::random::{index_below, shuffle};
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;

/// The kind's word in settings.
pub(super) const NAME: &str = "multiple-passkey";

/// The words of a passkey, drawn with replacement.
const WORDS: [&str; 26] = [
    "alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel", "india", "juliett",
    "kilo", "lima", "mike", "november", "oscar", "papa", "quebec", "romeo", "sierra", "tango",
    "uniform", "victor", "whiskey", "xray", "yankee", "zulu",
];

/// By which passkeys are told apart; as many as there may be.
const ORDINALS: [&str; 20] = [
    "first",
    "second",
    "third",
    "fourth",
    "fifth",
    "sixth",
    "seventh",
    "eighth",
    "ninth",
    "tenth",
    "eleventh",
    "twelfth",
    "thirteenth",
    "fourteenth",
    "fifteenth",
    "sixteenth",
    "seventeenth",
    "eighteenth",
    "nineteenth",
    "twentieth",
];

/// Depths that needles may have, evenly spaced from `DEPTH_MIN` to `DEPTH_MAX`.
const NUM_DEPTHS: u32 = 1000;
const DEPTH_MIN: f64 = 0.05;
const DEPTH_MAX: f64 = 0.95;

const OPENING: &str = "<text>\n";
const CLOSING: &str = "\n</text>\n";
/// Between documents of the one text, and around needles.
const BLANK_LINE: &str = "\n\n";

/// Passkeys in prefixes of one text, and questions for all of them.
pub struct MultiplePasskey {
    text: NaturalText,
    needle_tokens: NeedleTokens,
    tokenizer: Arc<Tokenizer>,
    num_passkeys: usize,
    num_words: usize,
    opening: Vec<u32>,
    closing: Vec<u32>,
    blank_line: Vec<u32>,
}

/// Needles and questions of one document, as tokens.
struct Content {
    needles: Vec<Vec<u32>>,
    questions: Vec<u32>,
}

impl MultiplePasskey {
    /// Hides passkeys in prefixes of `text`.
    ///
    /// # Errors
    /// [`DataError::Tokenize`] if the tokenizer cannot write the frame.
    pub fn from_settings(
        settings: &MultiplePasskeySettings,
        text: NaturalText,
        needle_tokens: NeedleTokens,
        tokenizer: Arc<Tokenizer>,
    ) -> Result<Self, DataError> {
        Ok(Self {
            text,
            needle_tokens,
            num_passkeys: settings.num_passkeys,
            num_words: settings.num_words,
            opening: tokenizer.encode(OPENING)?,
            closing: tokenizer.encode(CLOSING)?,
            blank_line: tokenizer.encode(BLANK_LINE)?,
            tokenizer,
        })
    }

    fn draw_content(&self, rng: &mut ChaCha8Rng) -> Result<Content, DataError> {
        let mut content = Content {
            needles: Vec::with_capacity(self.num_passkeys),
            questions: Vec::new(),
        };
        for ordinal in ORDINALS.iter().take(self.num_passkeys) {
            let passkey = draw_passkey(rng, self.num_words);
            content
                .needles
                .push(self.tokenizer.encode(&needle(ordinal, &passkey))?);
            let asked = question(ordinal, &passkey).encode(&self.tokenizer)?;
            content
                .questions
                .extend([asked.cue, asked.answer, asked.close].concat());
        }
        Ok(content)
    }
}

impl Content {
    fn num_tokens(&self) -> usize {
        self.needles.iter().map(Vec::len).sum::<usize>() + self.questions.len()
    }
}

fn draw_passkey(rng: &mut ChaCha8Rng, num_words: usize) -> String {
    let words: Vec<&str> = (0..num_words)
        .map(|_| WORDS[index_below(rng, WORDS.len())])
        .collect();
    words.join(" ")
}

fn needle(ordinal: &str, passkey: &str) -> String {
    format!("{BLANK_LINE}The {ordinal} passkey is {passkey}.{BLANK_LINE}")
}

fn question(ordinal: &str, passkey: &str) -> QuestionText {
    QuestionText {
        cue: format!("Question: What is the {ordinal} passkey?\nAnswer:"),
        answer: format!(" {passkey}"),
        close: ".\n".to_owned(),
    }
}

/// `count` different depths, ascending.
fn draw_depths(rng: &mut ChaCha8Rng, count: usize) -> Vec<f64> {
    let mut steps: Vec<u32> = (0..NUM_DEPTHS).collect();
    shuffle(rng, &mut steps);
    steps.truncate(count);
    steps.sort_unstable();
    let width = (DEPTH_MAX - DEPTH_MIN) / f64::from(NUM_DEPTHS - 1);
    steps
        .into_iter()
        .map(|step| DEPTH_MIN + width * f64::from(step))
        .collect()
}

/// The token of a text of `len` at `depth`, rounded down.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a depth in [0, 1] of a text of fewer than 2^52 tokens"
)]
fn token_at(depth: f64, len: usize) -> usize {
    (depth * len as f64) as usize
}

impl Generate for MultiplePasskey {
    fn name(&self) -> &'static str {
        NAME
    }

    fn sequence(&self, rng: &mut ChaCha8Rng, len: usize) -> Result<Sequence, DataError> {
        let content = self.draw_content(rng)?;
        let frame_len = 1 + self.opening.len() + self.closing.len();
        let needed = frame_len + content.num_tokens() + 1;
        let Some(rest) = len.checked_sub(needed) else {
            return Err(DataError::GeneratorLength {
                generator: NAME,
                len,
                min_len: needed,
            });
        };
        let haystack = self.text.prefix(NAME, rest + 1, &self.blank_line)?;
        let depths = draw_depths(rng, self.num_passkeys);
        let places = depths
            .into_iter()
            .map(|depth| token_at(depth, haystack.len()));
        let mut needles: Vec<_> = places.zip(content.needles).collect();
        let hidden = self.needle_tokens.hide(&haystack, &mut needles);
        let hidden: Vec<u32> = hidden.into_iter().map(|(id, _)| id).collect();
        let mut sequence = Sequence::default();
        sequence.push_all(&[self.tokenizer.bos()], 0.0);
        for part in [&self.opening, &hidden, &self.closing] {
            sequence.push_all(part, 0.0);
        }
        sequence.push_all(&content.questions, 1.0);
        Ok(sequence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::generate::corpus::tests::{TOKENIZER, natural};
    use crate::data::generate::question::tests::assert_seamless;
    use crate::fault::Coded;
    use crate::random::stream;

    fn generator(num_passkeys: usize, num_words: usize) -> MultiplePasskey {
        let settings = MultiplePasskeySettings {
            weight: 1.0,
            num_passkeys,
            num_words,
        };
        let tokens = NeedleTokens::new(TOKENIZER.clone()).unwrap();
        MultiplePasskey::from_settings(&settings, natural(), tokens, TOKENIZER.clone()).unwrap()
    }

    fn draw(generator: &MultiplePasskey, index: u64, len: usize) -> Sequence {
        generator.sequence(&mut stream("p", &[index]), len).unwrap()
    }

    /// The sequence's text with and without a label.
    fn texts(sequence: &Sequence) -> [String; 2] {
        let labelled = sequence.weights.partition_point(|weight| *weight <= 0.0);
        let [context, questions] = [&sequence.ids[1..labelled], &sequence.ids[labelled..]];
        [context, questions].map(|ids| TOKENIZER.decode(ids).unwrap())
    }

    #[test]
    fn each_question_is_answered_by_the_needle_of_its_ordinal_in_order() {
        let generator = generator(10, 32);
        let sequence = draw(&generator, 1, 4096);
        assert_eq!((sequence.ids.len(), sequence.weights.len()), (4096, 4096));
        let [context, questions] = texts(&sequence);
        assert!(context.starts_with(OPENING) && context.ends_with(CLOSING));
        let needles: Vec<&str> = context
            .split(BLANK_LINE)
            .map(|part| part.trim_start_matches('\n'))
            .filter_map(|part| part.strip_prefix("The ")?.split_once(" passkey is "))
            .zip(ORDINALS)
            .map(|((found, passkey), ordinal)| {
                assert_eq!(found, ordinal);
                passkey.strip_suffix('.').unwrap()
            })
            .collect();
        let mut expected = String::new();
        for (passkey, ordinal) in needles.iter().zip(ORDINALS) {
            assert_eq!(passkey.split(' ').count(), 32);
            assert!(passkey.split(' ').all(|word| WORDS.contains(&word)));
            let lines = format!("Question: What is the {ordinal} passkey?\nAnswer: {passkey}.\n");
            expected += &lines;
        }
        assert_eq!(needles.len(), 10);
        assert_eq!(questions, expected);
        assert!(needles.iter().any(|passkey| *passkey != needles[0]));
    }

    #[test]
    fn every_haystack_is_a_prefix_of_one_text() {
        let generator = generator(2, 4);
        let needle = regex::Regex::new("\n\nThe [a-z]+ passkey is [a-z ]+\\.\n\n").unwrap();
        let whole = natural().prefix(NAME, 2000, &generator.blank_line).unwrap();
        let whole = TOKENIZER.decode(&whole).unwrap();
        let mut longest = 0;
        for (index, len) in [(1, 300), (2, 700), (3, 1500), (4, 1900)] {
            let [context, _] = texts(&draw(&generator, index, len));
            assert_eq!(needle.find_iter(&context).count(), 2);
            let text = needle.replace_all(&context, "");
            let text = text.strip_prefix(OPENING).unwrap();
            let text = text.strip_suffix(CLOSING).unwrap();
            assert!(whole.starts_with(text), "{len}");
            assert!(text.len() > longest);
            longest = text.len();
        }
    }

    #[test]
    fn depths_are_different_ascending_and_reach_both_ends() {
        let (mut low, mut high) = (1.0_f64, 0.0_f64);
        for index in 0..200 {
            let depths = draw_depths(&mut stream("d", &[index]), 10);
            assert!(depths.is_sorted_by(|a, b| a < b) && depths.len() == 10);
            low = low.min(depths[0]);
            high = high.max(depths[9]);
        }
        assert!((0.05..0.06).contains(&low) && (0.94..0.95 + 1e-9).contains(&high));
        assert_eq!(token_at(0.05, 100), 5);
        assert_eq!(token_at(0.999, 1000), 999);
    }

    #[test]
    fn lines_written_in_parts_are_the_tokens_of_the_whole_text() {
        let questions: Vec<QuestionText> = ORDINALS
            .iter()
            .enumerate()
            .map(|(index, ordinal)| {
                let passkey = draw_passkey(&mut stream("q", &[index as u64]), 12);
                question(ordinal, &passkey)
            })
            .collect();
        assert_seamless(CLOSING, &questions);
    }

    #[test]
    fn a_document_without_room_is_refused_with_what_it_needs() {
        let generator = generator(3, 8);
        let error = generator.sequence(&mut stream("p", &[1]), 40).unwrap_err();
        assert_eq!(error.code(), "generate.length");
        let DataError::GeneratorLength { min_len, .. } = error else {
            panic!("{error}");
        };
        assert_eq!(draw(&generator, 1, min_len).len(), min_len);
        // The whole corpus is shorter than this.
        let error = generator
            .sequence(&mut stream("p", &[1]), 1 << 20)
            .unwrap_err();
        assert_eq!(error.code(), "generate.setting");
    }
}
