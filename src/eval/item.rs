//! One prompt with its answer.

use super::gold::Gold;
use super::plan::Place;

/// One prompt with its answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// Length asked for: prompt and answer together take as many tokens, or up to one unit of the task fewer.
    pub length: usize,
    /// Place in the depth grid.
    pub depth_index: usize,
    /// Place within its cell.
    pub index: usize,
    /// Seed of its random choices.
    pub seed: u64,
    /// Where the needle really stands, as a share of the text around it.
    pub depth: f64,
    /// Tokens from the last one of what the answer is read from to the prompt's last one.
    pub needle_distance: usize,
    /// Token ids of the prompt, begin token included.
    pub prompt: Vec<i64>,
    /// Token ids of the answer.
    pub answer: Vec<i64>,
    /// Last words of the prompt, where they begin the answer that is scored as text.
    pub cue: String,
    /// What a right answer is.
    pub gold: Gold,
}

impl Item {
    /// Its name within its task, the same whichever other items are made.
    pub fn id(&self) -> String {
        let (length, depth) = (self.length, self.depth_index);
        format!("{length}-{depth}-{}-s{}", self.index, self.seed)
    }
}

/// What a task fills a place with.
#[derive(Debug, Clone, PartialEq)]
pub struct Filling {
    /// See [`Item::depth`].
    pub depth: f64,
    /// See [`Item::needle_distance`].
    pub needle_distance: usize,
    /// Prompt, begin token included.
    pub prompt: Vec<u32>,
    /// Answer.
    pub answer: Vec<u32>,
    /// See [`Item::cue`].
    pub cue: String,
    /// See [`Item::gold`].
    pub gold: Gold,
}

impl Filling {
    /// The item at `place`.
    pub fn at(self, place: &Place) -> Item {
        Item {
            length: place.length,
            depth_index: place.depth_index,
            index: place.index,
            seed: place.seed,
            depth: self.depth,
            needle_distance: self.needle_distance,
            prompt: ids(&self.prompt),
            answer: ids(&self.answer),
            cue: self.cue,
            gold: self.gold,
        }
    }
}

fn ids(tokens: &[u32]) -> Vec<i64> {
    tokens.iter().map(|id| i64::from(*id)).collect()
}
