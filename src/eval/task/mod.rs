//! Tasks: prompts with known answers, one file per task.

pub mod recall;

/// One prompt with its answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// Length asked for: prompt and answer together, in tokens.
    pub length: usize,
    /// Place in the depth grid.
    pub depth_index: usize,
    /// Place within its cell.
    pub index: usize,
    /// Where the needle really stands, as a share of the text around it.
    pub depth: f64,
    /// Tokens from the needle's last one to the prompt's last one.
    pub needle_distance: usize,
    /// Token ids of the prompt, begin token included.
    pub prompt: Vec<i64>,
    /// Token ids of the answer.
    pub answer: Vec<i64>,
}
