//! A question about something that was written before: a cue, an answer, and what closes the line.

use crate::data::error::DataError;
use crate::data::tokenizer::Tokenizer;

/// A question as text. A model is given the cue and must produce the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuestionText {
    /// Up to where the answer begins.
    pub cue: String,
    /// The answer.
    pub answer: String,
    /// What follows the answer, line end included.
    pub close: String,
}

impl QuestionText {
    /// The tokens of the three parts. Every form is written such that they are the tokens of the whole.
    ///
    /// # Errors
    /// [`DataError::Tokenize`].
    pub fn encode(&self, tokenizer: &Tokenizer) -> Result<Question, DataError> {
        Ok(Question {
            cue: tokenizer.encode(&self.cue)?,
            answer: tokenizer.encode(&self.answer)?,
            close: tokenizer.encode(&self.close)?,
        })
    }
}

/// A question as tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Up to where the answer begins.
    pub cue: Vec<u32>,
    /// The answer.
    pub answer: Vec<u32>,
    /// The rest, line end included.
    pub close: Vec<u32>,
}

impl Question {
    /// Tokens of all three parts.
    pub fn num_tokens(&self) -> usize {
        self.cue.len() + self.answer.len() + self.close.len()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::data::generate::corpus::tests::TOKENIZER;

    /// Checks that context and questions, encoded part by part, are the tokens of the whole text.
    pub(in crate::data::generate) fn assert_seamless(context: &str, questions: &[QuestionText]) {
        let mut text = context.to_owned();
        let mut parts = TOKENIZER.encode(context).unwrap();
        for question in questions {
            for part in [&question.cue, &question.answer, &question.close] {
                text += part;
            }
            let tokens = question.encode(&TOKENIZER).unwrap();
            parts.extend([tokens.cue, tokens.answer, tokens.close].concat());
        }
        assert_eq!(parts, TOKENIZER.encode(&text).unwrap(), "{text}");
    }
}
