//! `recall` and `recall_prose`: one fact stands somewhere in held-out text, and is asked for at the end.
//!
//! ```text
//! <text> const KEY_red_lion_apple: u64 = 1234567; <text> assert_eq!(KEY_red_lion_apple, 1234567
//!        needle, at a known depth                        question                       answer
//! ```
//!
//! The tasks differ in how the fact is written: as code or as a sentence.

use super::{Card, Category, Generated, Needs};
use crate::data::generate::fact::{Fact, KeyClass};
use crate::data::generate::needle_form::NeedleForm;
use crate::data::generate::needle_tokens::{NeedleTokens, place_at};
use crate::eval::error::EvalError;
use crate::eval::gold::Gold;
use crate::eval::haystack::Haystack;
use crate::eval::item::{Filling, Item};
use crate::eval::material::Material;
use crate::eval::metric::registry::Metric;
use crate::eval::parts::Parts;
use crate::eval::plan::Place;
use crate::eval::reading::Reading;
use crate::eval::scoring::Scoring;
use rand_chacha::ChaCha8Rng;

/// `recall`: the fact is a constant.
pub const IN_CODE: Recall = Recall {
    name: "recall",
    about: "the number of one constant that is hidden in held-out text",
    form: NeedleForm::Const,
};

/// `recall_prose`: the fact is a sentence.
pub const IN_PROSE: Recall = Recall {
    name: "recall_prose",
    about: "the number in one sentence that is hidden in held-out text",
    form: NeedleForm::Prose,
};

/// The task, for one form of the needle.
#[derive(Debug, Clone, Copy)]
pub struct Recall {
    name: &'static str,
    about: &'static str,
    form: NeedleForm,
}

impl Generated for Recall {
    fn card(&self) -> Card {
        Card {
            name: self.name,
            about: self.about,
            category: Category::Recall,
            metric: Metric::ExactTokens,
            also: &[Metric::TokenAccuracy],
            headline: Scoring::Strict,
            reading: Reading::FIRST_LINE,
            // Seven digits, the first not zero.
            chance: 1.0 / 9e6,
            needs: Needs::Haystack,
            proxy: false,
        }
    }

    fn item(&self, material: &Material<'_>, place: &Place) -> Result<Item, EvalError> {
        let writer = Writer {
            task: *self,
            haystack: material.haystack()?,
            tokens: material.needle_tokens(),
        };
        let mut rng = place.stream(self.name);
        let fact = Fact::draw(&mut rng, KeyClass::Evaluation);
        let (text, cut) = writer.text(&mut rng, &fact, place)?;
        let (prompt, answer) = writer.prompt(&fact, &text, cut)?;
        let tail_len = writer.tail_len(&fact)?;
        let filling = Filling {
            depth: share(cut, text.len()),
            needle_distance: tail_len + text.len() - cut,
            num_units: None,
            parts: Parts::in_order(prompt.len(), 1, tail_len, 0),
            prompt,
            cue: String::new(),
            gold: Gold::answer(fact.value.to_string()),
            max_new_tokens: answer.len(),
            answer,
        };
        Ok(Item::generated(place, filling))
    }
}

/// Writes prompts as the generators of training sequences do: text, needle, line end, question.
struct Writer<'a> {
    task: Recall,
    haystack: &'a dyn Haystack,
    tokens: &'a NeedleTokens,
}

impl Writer<'_> {
    /// Draws text that fills the length up, and the place of the needle in it.
    fn text(
        &self,
        rng: &mut ChaCha8Rng,
        fact: &Fact,
        place: &Place,
    ) -> Result<(Vec<u32>, usize), EvalError> {
        let (prompt, answer) = self.prompt(fact, &[], 0)?;
        let needed = prompt.len() + answer.len();
        let Some(text_len) = place.length.checked_sub(needed).filter(|len| *len > 0) else {
            return Err(EvalError::TooShort {
                task: self.task.name,
                length: place.length,
                needed: needed + 1,
            });
        };
        let text = self.haystack.draw(rng, text_len)?;
        let wanted = place_at(place.depth, text_len);
        let cut = self.tokens.line_start_from(&text, wanted);
        Ok((text, cut))
    }

    /// Tokens of the prompt after the text.
    fn tail_len(&self, fact: &Fact) -> Result<usize, EvalError> {
        let question = self.tokens.question(self.task.form, fact)?;
        Ok(self.tokens.line_end().len() + question.cue.len())
    }

    /// Prompt and answer.
    fn prompt(
        &self,
        fact: &Fact,
        text: &[u32],
        cut: usize,
    ) -> Result<(Vec<u32>, Vec<u32>), EvalError> {
        let needle = self.tokens.definition(self.task.form, fact)?;
        let question = self.tokens.question(self.task.form, fact)?;
        let hidden = self.tokens.hide(text, &mut [(cut, needle)]);
        let mut prompt = vec![self.tokens.bos()];
        prompt.extend(hidden.iter().map(|(id, _)| *id));
        prompt.extend(self.tokens.line_end());
        prompt.extend(&question.cue);
        Ok((prompt, question.answer))
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "texts have fewer than 2^52 tokens"
)]
fn share(cut: usize, text_len: usize) -> f64 {
    cut as f64 / text_len as f64
}
