//! A prompt of tokens from the texts of an item, to be completed or as a chat.
//!
//! # Decisions
//! Parts are encoded one by one, so that context, question and cue are the same tokens in every mode. White space between two
//! parts belongs to the first: a tokenizer joins it to what stands before it.

use super::entry::Entry;
use super::error::FilesError;
use crate::data::chat_template::{ChatTemplate, Turn};
use crate::data::tokenizer::Tokenizer;
use crate::eval::error::EvalError;
use crate::eval::parts::Parts;

/// A prompt of tokens.
#[derive(Debug, Clone, PartialEq)]
pub struct Prompt {
    /// Token ids, begin token included.
    pub tokens: Vec<u32>,
    /// Which of them are what.
    pub parts: Parts,
    /// Text of the cue, where there is one.
    pub cue: String,
}

/// What stands around the texts of an item, and turns them into tokens.
#[derive(Debug)]
pub struct Writer<'a> {
    tokenizer: &'a Tokenizer,
    turn: Option<Turn>,
}

/// Text without the white space at its end, and that white space.
fn split_end(text: &str) -> (&str, &str) {
    text.split_at(text.trim_end().len())
}

impl<'a> Writer<'a> {
    /// Writes prompts to be completed; chats through `template`, where there is one.
    ///
    /// # Errors
    /// [`FilesError::Chat`] if the template cannot be used.
    pub fn new(
        tokenizer: &'a Tokenizer,
        template: Option<&ChatTemplate>,
    ) -> Result<Self, FilesError> {
        Ok(Self {
            tokenizer,
            turn: template.map(ChatTemplate::turn).transpose()?,
        })
    }

    /// Turns text into tokens.
    pub fn tokenizer(&self) -> &'a Tokenizer {
        self.tokenizer
    }

    /// Whether `entry` becomes a chat.
    pub fn is_chat(&self, entry: &Entry) -> bool {
        self.turn(entry).is_some()
    }

    fn turn(&self, entry: &Entry) -> Option<&Turn> {
        self.turn.as_ref().filter(|_| entry.is_chat)
    }

    /// The prompt of `entry` with `context` in place of its own.
    ///
    /// # Errors
    /// [`EvalError::Data`] if the tokenizer cannot encode it.
    pub fn write(&self, entry: &Entry, context: &str) -> Result<Prompt, EvalError> {
        let question = entry.question.trim_start();
        let gap = &entry.question[..entry.question.len() - question.len()];
        let context = format!("{context}{gap}");
        let mut tokens = Vec::new();
        if let Some(turn) = self.turn(entry) {
            tokens = self.tokenizer.encode_marked(&turn.before)?;
        }
        if tokens.first() != Some(&self.tokenizer.bos()) {
            tokens.insert(0, self.tokenizer.bos());
        }
        tokens.extend(self.tokenizer.encode(&entry.instruction)?);
        let context_start = tokens.len();
        let (question, cue, end) = match self.turn(entry) {
            // The message ends with its last word.
            Some(turn) if question.is_empty() => {
                tokens.extend(self.tokenizer.encode(context.trim_end())?);
                ("", "", Some(&turn.after))
            }
            Some(turn) => {
                tokens.extend(self.tokenizer.encode(&context)?);
                (split_end(question).0, "", Some(&turn.after))
            }
            None => {
                tokens.extend(self.tokenizer.encode(&context)?);
                (question, &*entry.cue, None)
            }
        };
        let mut asked = self.tokenizer.encode(question)?;
        if let Some(after) = end {
            asked.extend(self.tokenizer.encode_marked(after)?);
        }
        let cue_ids = self.tokenizer.encode(cue)?;
        let (question_len, cue_len) = (asked.len(), cue_ids.len());
        tokens.extend(asked);
        tokens.extend(cue_ids);
        // Without a question the end of a chat is no question either: nothing is known before it.
        let question_len = if question.is_empty() { 0 } else { question_len };
        Ok(Prompt {
            parts: Parts::in_order(tokens.len(), context_start, question_len, cue_len),
            cue: cue.to_owned(),
            tokens,
        })
    }
}
