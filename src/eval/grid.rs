//! Which items every generated task has: one for every combination of seed, length, depth and place in a cell.

use super::plan::Plan;
use std::collections::BTreeSet;

/// Which items each task has: one for every combination.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Grid {
    /// Each names all random choices of its items.
    pub seeds: Vec<u64>,
    /// Prompt and answer together, in tokens.
    pub lengths: Vec<usize>,
    /// Places of the depth grid, in [0, 1].
    pub depths: Vec<f64>,
    /// Items per seed, length and depth.
    pub items_per_cell: usize,
    /// Items of each task, length and seed that were run, where a limit was set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

impl Grid {
    /// Items of one task.
    pub fn num_items(&self) -> usize {
        let of_length = self.depths.len() * self.items_per_cell;
        let of_length = self.limit.map_or(of_length, |limit| limit.min(of_length));
        self.seeds.len() * self.lengths.len() * of_length
    }

    /// Names of the items that were run, the same in every task.
    pub fn ids(&self) -> BTreeSet<String> {
        let plan = |seed: &u64| Plan {
            seed: *seed,
            lengths: self.lengths.clone(),
            num_depths: self.depths.len(),
            items_per_cell: self.items_per_cell,
        };
        let places = self
            .seeds
            .iter()
            .flat_map(|seed| plan(seed).first_places(self.limit));
        places.map(|place| place.id()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_names_items_of_every_depth_before_a_second_one_of_any() {
        let grid = |limit| Grid {
            seeds: vec![1, 2],
            lengths: vec![64],
            depths: vec![0.25, 0.75],
            items_per_cell: 2,
            limit,
        };
        for limit in [None, Some(1), Some(3), Some(9)] {
            let grid = grid(limit);
            assert_eq!(grid.ids().len(), grid.num_items(), "{limit:?}");
        }
        let ids: Vec<String> = grid(Some(3)).ids().into_iter().collect();
        let expected = [
            "64-0-0-s1",
            "64-0-0-s2",
            "64-0-1-s1",
            "64-0-1-s2",
            "64-1-0-s1",
            "64-1-0-s2",
        ];
        assert_eq!(ids, expected);
    }
}
