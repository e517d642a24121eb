//! `recall`: one constant is defined somewhere in held-out text, and asked for at the end.
//!
//! ```text
//! <text> const KEY_red_lion_apple: u64 = 1234567; <text> assert_eq!(KEY_red_lion_apple, 1234567
//!        needle, at a known depth                        question                       answer
//! ```
//!
//! # Decisions
//! Depths are the middles of equal parts, not 0 and 1: at the very end the needle stands in the window of every streaming
//! head, and all heads streaming then answer as well as full attention does.
//!
//! Chance level: 10^-7 for the exact answer, 0.1 for a digit.

use super::Item;
use crate::data::generate::fact::{Fact, KeyClass};
use crate::data::generate::needle_form::NeedleForm;
use crate::data::generate::needle_tokens::NeedleTokens;
use crate::data::tokenizer::Tokenizer;
use crate::eval::error::EvalError;
use crate::eval::haystack::Haystack;
use crate::random;
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;

/// The task's name on the command line and in results.
pub const NAME: &str = "recall";

/// How the fact is written and asked for.
const FORM: NeedleForm = NeedleForm::Const;

/// What is asked for, besides the text.
#[derive(Debug, Clone)]
pub struct RecallPlan {
    /// Names every random choice, with the cell and the index.
    pub seed: u64,
    /// Prompt and answer together, in tokens.
    pub lengths: Vec<usize>,
    /// Depths: the middles of that many equal parts of the text.
    pub num_depths: usize,
    /// Items per length and depth.
    pub items_per_cell: usize,
}

impl RecallPlan {
    /// Builds every item, by length, depth and index.
    ///
    /// # Errors
    /// [`EvalError::TooShort`] for a length without room for text, [`EvalError::Data`] from the text.
    pub fn items(
        &self,
        haystack: &dyn Haystack,
        tokenizer: &Arc<Tokenizer>,
    ) -> Result<Vec<Item>, EvalError> {
        let writer = Writer {
            haystack,
            tokens: NeedleTokens::new(Arc::clone(tokenizer))?,
        };
        let mut items = Vec::new();
        for &length in &self.lengths {
            for depth_index in 0..self.num_depths {
                for index in 0..self.items_per_cell {
                    items.push(self.item(&writer, [length, depth_index, index])?);
                }
            }
        }
        Ok(items)
    }

    /// The depth of a place in the grid, in (0, 1).
    #[expect(clippy::cast_precision_loss, reason = "grids have few places")]
    pub fn depth(&self, depth_index: usize) -> f64 {
        (depth_index as f64 + 0.5) / self.num_depths as f64
    }

    fn item(
        &self,
        writer: &Writer<'_>,
        [length, depth_index, index]: [usize; 3],
    ) -> Result<Item, EvalError> {
        let at = [length, depth_index, index].map(|place| place as u64);
        let mut rng = random::stream("eval recall item", &[&[self.seed], &at[..]].concat());
        let fact = Fact::draw(&mut rng, KeyClass::Evaluation);
        let (text, cut) = writer.text(&mut rng, &fact, length, self.depth(depth_index))?;
        let (prompt, answer) = writer.prompt(&fact, &text, cut)?;
        Ok(Item {
            length,
            depth_index,
            index,
            depth: share(cut, text.len()),
            needle_distance: writer.tail_len(&fact)? + text.len() - cut,
            prompt,
            answer,
        })
    }
}

/// Writes prompts as the generators of training sequences do: text, needle, line end, question.
struct Writer<'a> {
    haystack: &'a dyn Haystack,
    tokens: NeedleTokens,
}

impl Writer<'_> {
    /// Draws text that fills `length` up, and the place of the needle in it.
    fn text(
        &self,
        rng: &mut ChaCha8Rng,
        fact: &Fact,
        length: usize,
        depth: f64,
    ) -> Result<(Vec<u32>, usize), EvalError> {
        let (prompt, answer) = self.prompt(fact, &[], 0)?;
        let needed = prompt.len() + answer.len();
        let Some(text_len) = length.checked_sub(needed).filter(|len| *len > 0) else {
            return Err(EvalError::TooShort { length, needed });
        };
        let text = self.haystack.draw(rng, text_len)?;
        let cut = self.tokens.line_start_from(&text, place(depth, text_len));
        Ok((text, cut))
    }

    /// Tokens of the prompt after the text.
    fn tail_len(&self, fact: &Fact) -> Result<usize, EvalError> {
        let question = self.tokens.question(FORM, fact)?;
        Ok(self.tokens.line_end().len() + question.cue.len())
    }

    /// Prompt and answer.
    fn prompt(
        &self,
        fact: &Fact,
        text: &[u32],
        cut: usize,
    ) -> Result<(Vec<i64>, Vec<i64>), EvalError> {
        let needle = self.tokens.definition(FORM, fact)?;
        let question = self.tokens.question(FORM, fact)?;
        let hidden = self.tokens.hide(text, &mut [(cut, needle)]);
        let mut prompt = vec![self.tokens.bos()];
        prompt.extend(hidden.iter().map(|(id, _)| *id));
        prompt.extend(self.tokens.line_end());
        prompt.extend(&question.cue);
        Ok((ids(&prompt), ids(&question.answer)))
    }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a depth in [0, 1] of a text of fewer than 2^52 tokens"
)]
fn place(depth: f64, text_len: usize) -> usize {
    ((depth * text_len as f64).round() as usize).min(text_len)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "texts have fewer than 2^52 tokens"
)]
fn share(cut: usize, text_len: usize) -> f64 {
    cut as f64 / text_len as f64
}

fn ids(tokens: &[u32]) -> Vec<i64> {
    tokens.iter().map(|id| i64::from(*id)).collect()
}
