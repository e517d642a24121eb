//! One prompt of text and its answer, as text while it is decoded.

use super::decode::{Finish, Limits};
use super::error::InferError;
use super::generate::{Engine, Generation};
use super::policy::Policy;
use super::text_stream::TextStream;
use crate::data::tokenizer::Tokenizer;
use crate::fault::AnyFault;
use std::ops::ControlFlow;

/// A prompt as token ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    ids: Vec<i64>,
    prefill_len: usize,
}

/// Where an answer ends.
#[derive(Debug, Clone)]
pub struct Ends {
    /// Most tokens of it.
    pub max_new_tokens: usize,
    /// Texts before which it ends.
    pub stop_texts: Vec<String>,
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The model's end token came.
    Eos,
    /// A stop text came: its place in [`Ends::stop_texts`].
    StopText(usize),
    /// The limit of new tokens was reached.
    Length,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Completion {
    /// Its text, up to what ended it.
    pub text: String,
    /// Why it ended.
    pub end: End,
    /// Its tokens, the ones that ended it included, and what it cost.
    pub generation: Generation,
}

impl Prompt {
    /// The begin token, `text`, and `question`, before which methods compress; without one they see all of `text` but its last
    /// token.
    ///
    /// # Errors
    /// [`InferError::EmptyPrompt`] for an empty text or question; [`crate::data::error::DataError`] if the tokenizer has no
    /// token for a part of them.
    pub fn new(
        tokenizer: &Tokenizer,
        text: &str,
        question: Option<&str>,
    ) -> Result<Self, AnyFault> {
        if text.is_empty() || question.is_some_and(str::is_empty) {
            return Err(InferError::EmptyPrompt.into());
        }
        let mut ids = vec![i64::from(tokenizer.bos())];
        ids.extend(tokenizer.encode(text)?.into_iter().map(i64::from));
        let context_len = ids.len();
        if let Some(question) = question {
            ids.extend(tokenizer.encode(question)?.into_iter().map(i64::from));
        }
        Ok(Self {
            prefill_len: context_len.min(ids.len() - 1),
            ids,
        })
    }

    /// Its tokens, the begin token first.
    pub fn ids(&self) -> &[i64] {
        &self.ids
    }

    /// Checks that the answer fits behind it.
    ///
    /// # Errors
    /// [`InferError::TooLong`] if together they have more than `max` tokens.
    pub fn check(&self, max_new_tokens: usize, max: usize) -> Result<(), InferError> {
        let prompt_len = self.ids.len();
        if prompt_len.saturating_add(max_new_tokens) <= max {
            return Ok(());
        }
        Err(InferError::TooLong {
            prompt_len,
            max_new_tokens,
            max,
        })
    }
}

impl Engine<'_> {
    /// Answers `prompt` greedily under `policy`; `show` has the text piece by piece, as soon as it is final.
    ///
    /// # Errors
    /// [`InferError::TooLong`] if prompt and answer do not fit the model; whatever the model or a cache cannot do; the errors
    /// of `show`.
    pub fn complete(
        &self,
        policy: &dyn Policy,
        tokenizer: &Tokenizer,
        prompt: &Prompt,
        ends: &Ends,
        show: &mut dyn FnMut(&str) -> Result<(), AnyFault>,
    ) -> Result<Completion, AnyFault> {
        let config = self.llama.config();
        prompt.check(ends.max_new_tokens, config.max_position_embeddings)?;
        let limits = Limits {
            max_new_tokens: ends.max_new_tokens,
            stop_tokens: config.eos_ids.clone(),
        };
        let mut stream = TextStream::new(tokenizer, &ends.stop_texts);
        let (mut text, mut stop) = (String::new(), None);
        let mut hear = |token: i64| {
            if limits.stop_tokens.contains(&token) {
                return Ok(ControlFlow::Continue(()));
            }
            let piece = stream.push(token);
            text.push_str(&piece.text);
            show(&piece.text)?;
            stop = piece.stop;
            Ok(match stop {
                Some(_) => ControlFlow::Break(()),
                None => ControlFlow::Continue(()),
            })
        };
        let (ids, prefill_len) = (&prompt.ids, prompt.prefill_len);
        let generation = self.generate_heard(policy, ids, prefill_len, &limits, &mut hear)?;
        if stop.is_none() {
            let last = stream.end();
            text.push_str(&last.text);
            show(&last.text)?;
            stop = last.stop;
        }
        let end = match (stop, generation.finish) {
            (Some(stop), _) => End::StopText(stop),
            (None, Finish::Stop) => End::Eos,
            (None, Finish::Length | Finish::Heard) => End::Length,
        };
        Ok(Completion {
            text,
            end,
            generation,
        })
    }
}
