//! Which items are made: lengths x depths x items per cell, each place with random numbers of its own.
//!
//! # Decisions
//! Depths are the middles of equal parts, not 0 and 1: at the very end the needle stands in the window of every streaming
//! head, and all heads streaming then answer as well as full attention does.

use super::error::EvalError;
use super::item::Item;
use super::material::Material;
use super::task::Task;
use crate::random;
use rand_chacha::ChaCha8Rng;

/// What is asked for, whatever the task.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Names every random choice, with the task, the cell and the index.
    pub seed: u64,
    /// Prompt and answer together, in tokens.
    pub lengths: Vec<usize>,
    /// Depths: the middles of that many equal parts of the text.
    pub num_depths: usize,
    /// Items per length and depth.
    pub items_per_cell: usize,
}

/// Where an item stands in the plan.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Place {
    /// The plan's seed.
    pub seed: u64,
    /// Prompt and answer together, in tokens.
    pub length: usize,
    /// Place in the depth grid.
    pub depth_index: usize,
    /// The depth of that place, in (0, 1).
    pub depth: f64,
    /// Place within the cell.
    pub index: usize,
}

impl Plan {
    /// Checks every length against the positions of the model.
    ///
    /// # Errors
    /// [`EvalError::TooLong`] for the first that has more tokens.
    pub fn check(&self, max_positions: usize) -> Result<(), EvalError> {
        let too_long = self.lengths.iter().find(|length| **length > max_positions);
        too_long.map_or(Ok(()), |&length| {
            let max = max_positions;
            Err(EvalError::TooLong { length, max })
        })
    }

    /// Makes every item of `task`, by length, depth and index.
    ///
    /// # Errors
    /// As [`Task::items`].
    pub fn items(&self, task: &dyn Task, material: &Material<'_>) -> Result<Vec<Item>, EvalError> {
        Ok(task
            .items(material, std::slice::from_ref(self), None)?
            .items)
    }

    /// All places, or `limit` of every length: those of every depth before a second one of any.
    pub fn first_places(&self, limit: Option<usize>) -> Vec<Place> {
        let limit = limit.unwrap_or(usize::MAX);
        let is_first = |place: &Place| place.index * self.num_depths + place.depth_index < limit;
        let mut places = self.places();
        places.retain(is_first);
        places
    }

    /// Places in all.
    pub fn num_places(&self) -> usize {
        self.lengths.len() * self.num_depths * self.items_per_cell
    }

    /// The depths of the grid, each in (0, 1).
    pub fn depths(&self) -> Vec<f64> {
        (0..self.num_depths)
            .map(|index| self.depth(index))
            .collect()
    }

    #[expect(clippy::cast_precision_loss, reason = "grids have few places")]
    fn depth(&self, depth_index: usize) -> f64 {
        (depth_index as f64 + 0.5) / self.num_depths as f64
    }

    fn places(&self) -> Vec<Place> {
        let mut places = Vec::new();
        for &length in &self.lengths {
            for depth_index in 0..self.num_depths {
                places.extend((0..self.items_per_cell).map(|index| Place {
                    seed: self.seed,
                    length,
                    depth_index,
                    depth: self.depth(depth_index),
                    index,
                }));
            }
        }
        places
    }
}

impl Place {
    /// The name of its item within a task.
    pub fn id(&self) -> String {
        let (length, depth, index) = (self.length, self.depth_index, self.index);
        format!("{length}-{depth}-{index}-s{}", self.seed)
    }

    /// Opens the stream of this place for `purpose`, a task's name or a part of it.
    pub fn stream(&self, purpose: &str) -> ChaCha8Rng {
        let at = [self.length, self.depth_index, self.index].map(|at| at as u64);
        let at = [&[self.seed], &at[..]].concat();
        random::stream(&format!("eval {purpose} item"), &at)
    }

    /// The index nearest to the place's depth among `len` things in a row; 0 for none.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a depth in (0, 1) of fewer than 2^52 things"
    )]
    pub fn index_among(&self, len: usize) -> usize {
        (self.depth * len.saturating_sub(1) as f64).round() as usize
    }
}

/// `index` as a share of the way through `len` things in a row, in [0, 1]; 0 for the only one.
#[expect(clippy::cast_precision_loss, reason = "fewer than 2^52 things")]
pub fn depth_of(index: usize, len: usize) -> f64 {
    index as f64 / len.saturating_sub(1).max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Coded;

    #[test]
    fn lengths_beyond_the_model_are_refused() {
        let plan = Plan {
            seed: 0,
            lengths: vec![160, 321],
            num_depths: 1,
            items_per_cell: 1,
        };
        assert_eq!(plan.check(320).unwrap_err().code(), "eval.lengths");
        plan.check(321).unwrap();
    }
}
