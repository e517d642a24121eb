//! One prompt with its answer.

use super::error::EvalError;
use super::files::error::FilesError;
use super::gold::Gold;
use super::parts::Parts;
use super::plan::Place;
use super::stop::Stop;

/// One prompt with its answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// Its name within its task, the same whichever other items are made.
    pub id: String,
    /// What is known of it beside what is asked.
    pub meta: Meta,
    /// Token ids of the prompt, begin token included.
    pub prompt: Vec<i64>,
    /// Which tokens of the prompt are what.
    pub parts: Parts,
    /// Text of the prompt's cue, where it begins the answer that is scored as text.
    pub cue: String,
    /// What a right answer is.
    pub gold: Gold,
    /// Token ids of a right answer, for the metrics that compare tokens; none where those say nothing.
    pub answer: Vec<i64>,
    /// Most tokens of an output.
    pub max_new_tokens: usize,
    /// What ends an output before that.
    pub stop: Stop,
    /// Where it was read, where it was not generated.
    pub origin: Option<Origin>,
}

/// Where an item was read, and what was done to it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Origin {
    /// Name of its file, and its line or place in the file's list.
    pub source: String,
    /// blake3 of the wording around it; nothing where the file holds whole prompts.
    pub template: Option<String>,
    /// Whether it is asked through the model's chat template.
    pub chat: bool,
    /// What was left out of it.
    pub truncated: Option<Truncated>,
}

/// What was left out of a prompt that was too long.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Truncated {
    /// The part that was cut at its end: always `context`.
    pub part: String,
    /// Tokens left out.
    pub tokens: usize,
    /// Letters left out.
    pub chars: usize,
    /// Whether no right answer stands in the context any more, while one did; nothing where that cannot be told.
    pub gold_lost: Option<bool>,
}

/// What is known of an item beside what is asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Meta {
    /// Length asked for: prompt and longest output together take as many tokens, or up to one unit of the task fewer.
    pub length: usize,
    /// Place in the depth grid.
    pub depth_index: usize,
    /// Place within its cell.
    pub index: usize,
    /// Seed of its random choices.
    pub seed: u64,
    /// Where the needle really stands, as a share of the text around it; nothing where there is none, or it is not known.
    pub depth: Option<f64>,
    /// Tokens from the last one of what the answer is read from to the prompt's last one, where it is known.
    pub needle_distance: Option<usize>,
    /// Pairs, lines, sentences or steps that the context is made of; nothing where it is not made of such.
    pub num_units: Option<usize>,
}

/// What a task fills a place with.
#[derive(Debug, Clone, PartialEq)]
pub struct Filling {
    /// See [`Meta::depth`].
    pub depth: f64,
    /// See [`Meta::needle_distance`].
    pub needle_distance: usize,
    /// See [`Meta::num_units`].
    pub num_units: Option<usize>,
    /// Prompt, begin token included.
    pub prompt: Vec<u32>,
    /// See [`Item::parts`].
    pub parts: Parts,
    /// See [`Item::cue`].
    pub cue: String,
    /// See [`Item::gold`].
    pub gold: Gold,
    /// See [`Item::answer`].
    pub answer: Vec<u32>,
    /// See [`Item::max_new_tokens`].
    pub max_new_tokens: usize,
}

impl Item {
    /// Tokens of prompt and longest output.
    pub fn max_len(&self) -> usize {
        self.prompt.len() + self.max_new_tokens
    }

    /// Refuses an item of a file that takes more tokens than its length.
    ///
    /// # Errors
    /// [`FilesError::Overflow`] if it does.
    pub fn check_len(&self) -> Result<(), EvalError> {
        match &self.origin {
            Some(origin) if self.max_len() > self.meta.length => {
                Err(EvalError::Files(FilesError::Overflow {
                    source_row: origin.source.clone(),
                    needed: self.max_len(),
                    length: self.meta.length,
                }))
            }
            _ => Ok(()),
        }
    }

    /// The item of a generated task at `place`.
    pub fn generated(place: &Place, filling: Filling) -> Self {
        Self {
            id: place.id(),
            meta: Meta {
                length: place.length,
                depth_index: place.depth_index,
                index: place.index,
                seed: place.seed,
                depth: Some(filling.depth),
                needle_distance: Some(filling.needle_distance),
                num_units: filling.num_units,
            },
            prompt: ids(&filling.prompt),
            parts: filling.parts,
            cue: filling.cue,
            gold: filling.gold,
            answer: ids(&filling.answer),
            max_new_tokens: filling.max_new_tokens,
            stop: Stop::End,
            origin: None,
        }
    }

    /// Ends the output at its first line end, where the answer is one line.
    pub fn stop_at_newline(&mut self) {
        if matches!(self.gold, Gold::Answers { .. } | Gold::Choice { .. }) {
            self.stop = Stop::Newline;
        }
    }
}

fn ids(tokens: &[u32]) -> Vec<i64> {
    tokens.iter().map(|id| i64::from(*id)).collect()
}
