//! Generated documents that fill a length by themselves, with a question at their end.

use super::error::EvalError;
use super::gold::Gold;
use super::item::{Filling, Item};
use super::parts::Parts;
use super::plan::Place;
use super::units::Draft;
use crate::data::generate::question::QuestionText;
use crate::data::tokenizer::Tokenizer;

/// A document with its question.
///
/// Document and question are encoded one by one, as in training: every form is written such that the tokens of its parts
/// are those of the whole.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// What is read first; ends with a line end.
    pub context: String,
    /// Bytes of `context` up to the end of the last line that the answer is read from.
    pub needle_end: usize,
    /// Where the needle stands, in [0, 1].
    pub depth: f64,
    /// What is asked.
    pub question: QuestionText,
    /// What a right answer is.
    pub gold: Gold,
    /// Units that the context is made of.
    pub num_units: usize,
}

impl Draft for Document {
    fn num_tokens(&self, tokenizer: &Tokenizer) -> Result<usize, EvalError> {
        let question = self.question.encode(tokenizer)?;
        let context = tokenizer.encode(&self.context)?;
        Ok(1 + context.len() + question.cue.len() + question.answer.len())
    }
}

impl Document {
    /// The item at `place`.
    ///
    /// # Errors
    /// [`EvalError::Data`] if the tokenizer cannot encode it.
    pub fn at(&self, place: &Place, tokenizer: &Tokenizer) -> Result<Item, EvalError> {
        let question = self.question.encode(tokenizer)?;
        let before = tokenizer.encode(&self.context[..self.needle_end])?;
        let mut prompt = vec![tokenizer.bos()];
        prompt.extend(tokenizer.encode(&self.context)?);
        prompt.extend(&question.cue);
        let filling = Filling {
            depth: self.depth,
            needle_distance: prompt.len().saturating_sub(1 + before.len()),
            num_units: Some(self.num_units),
            parts: Parts::in_order(prompt.len(), 1, question.cue.len(), 0),
            prompt,
            cue: String::new(),
            gold: self.gold.clone(),
            max_new_tokens: question.answer.len(),
            answer: question.answer,
        };
        Ok(Item::generated(place, filling))
    }
}
