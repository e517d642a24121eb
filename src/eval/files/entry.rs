//! An item of a file, as text.

use crate::eval::gold::Gold;

/// An item of a file, as text: instruction, context, question and cue stand one behind the other.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Its row, from 1: with the length it names the item.
    pub row: usize,
    /// Name of its file, and its row.
    pub source: String,
    /// Where what is asked for stands in the context, in [0, 1], where the file says so.
    pub depth: Option<f64>,
    /// What stands before the context: never cut.
    pub instruction: String,
    /// The long part.
    pub context: String,
    /// Whether the end of the context may be left out.
    pub can_cut: bool,
    /// What is asked; empty where the context asks by itself.
    pub question: String,
    /// The start of the answer; empty where the question ends the prompt.
    pub cue: String,
    /// What a right answer is.
    pub gold: Gold,
    /// Most tokens of an output.
    pub max_new_tokens: usize,
    /// Whether it was published as a chat.
    pub is_chat: bool,
    /// Id of the wording; nothing where the file holds whole prompts.
    pub template: Option<String>,
}

impl Entry {
    /// A whole prompt, none of which may be left out.
    pub fn whole(
        row: usize,
        source: String,
        prompt: String,
        gold: Gold,
        max_new_tokens: usize,
    ) -> Self {
        Self {
            row,
            source,
            depth: None,
            instruction: String::new(),
            context: prompt,
            can_cut: false,
            question: String::new(),
            cue: String::new(),
            gold,
            max_new_tokens,
            is_chat: true,
            template: None,
        }
    }
}
