//! Prompts whose parts are texts: instruction, context, question and the start of the answer.
//!
//! # Decisions
//! Parts are encoded one by one, so that context, question and cue are the same tokens in every mode. Each part but the
//! cue ends with a line end, and none begins with a space: the tokens of the parts are those of the whole.

use super::error::EvalError;
use super::gold::Gold;
use super::item::{Filling, Item};
use super::material::Material;
use super::parts::Parts;
use super::plan::Place;
use super::units::{Draft, Units};
use crate::data::tokenizer::Tokenizer;

/// The long part of a prompt.
#[derive(Debug, Clone, PartialEq)]
pub struct Context {
    /// The text.
    pub text: String,
    /// Bytes of `text` up to the end of the last thing that the answer is read from.
    pub needle_end: usize,
    /// Where the needle stands, in [0, 1].
    pub depth: f64,
    /// Units that the text is made of.
    pub num_units: usize,
}

/// All that a prompt says beside its context.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// What stands before the context: never cut, and known before the question.
    pub instruction: String,
    /// What is asked.
    pub question: String,
    /// The start of the answer, without a space at its end.
    pub cue: String,
    /// What a right answer is.
    pub gold: Gold,
    /// A right answer as it would be written after the cue.
    pub answer: String,
    /// Most tokens of an output; more where the tokenizer writes `answer` in more.
    pub limit: usize,
}

/// A prompt with its answer, as text.
#[derive(Debug, Clone, PartialEq)]
pub struct PromptText {
    /// The long part.
    pub context: Context,
    /// The rest.
    pub asked: Asked,
}

impl Asked {
    fn max_new_tokens(&self, tokenizer: &Tokenizer) -> Result<usize, EvalError> {
        Ok(tokenizer.encode(&self.answer)?.len().max(self.limit))
    }
}

impl Draft for PromptText {
    fn num_tokens(&self, tokenizer: &Tokenizer) -> Result<usize, EvalError> {
        let Asked {
            instruction,
            question,
            cue,
            ..
        } = &self.asked;
        let mut num_tokens = 1 + self.asked.max_new_tokens(tokenizer)?;
        for part in [instruction, &self.context.text, question, cue] {
            num_tokens += tokenizer.encode(part)?.len();
        }
        Ok(num_tokens)
    }
}

impl PromptText {
    /// The item at `place` with as many units as fit into its length.
    ///
    /// # Errors
    /// As [`Units::fill`].
    pub fn fill(
        units: &Units,
        place: &Place,
        material: &Material<'_>,
        draft: impl Fn(usize) -> Self,
    ) -> Result<Item, EvalError> {
        let num_units = units.fill(place, material, &draft)?;
        draft(num_units).at(place, material.tokenizer())
    }

    fn at(self, place: &Place, tokenizer: &Tokenizer) -> Result<Item, EvalError> {
        let Self { context, asked } = self;
        let mut prompt = vec![tokenizer.bos()];
        prompt.extend(tokenizer.encode(&asked.instruction)?);
        let context_start = prompt.len();
        let before = tokenizer.encode(&context.text[..context.needle_end])?;
        prompt.extend(tokenizer.encode(&context.text)?);
        let question = tokenizer.encode(&asked.question)?;
        let cue = tokenizer.encode(&asked.cue)?;
        let (question_len, cue_len) = (question.len(), cue.len());
        prompt.extend([question, cue].concat());
        let filling = Filling {
            depth: context.depth,
            needle_distance: prompt.len().saturating_sub(context_start + before.len()),
            num_units: Some(context.num_units),
            parts: Parts::in_order(prompt.len(), context_start, question_len, cue_len),
            prompt,
            max_new_tokens: asked.max_new_tokens(tokenizer)?,
            cue: asked.cue,
            gold: asked.gold,
            // Its tokens depend on its form, which no metric asks for.
            answer: Vec::new(),
        };
        Ok(Item::generated(place, filling))
    }
}
