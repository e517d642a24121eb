//! Which items of a data set are asked.

use super::key::Key;
use super::numpy::Numpy;
use super::python::Python;
use std::collections::BTreeSet;

/// The rows of up to `count` keys, in the order of the rows: a question stays together with its copies at other depths.
pub fn rows_of_sampled_keys(keys: &[Key], count: usize, seed: u64) -> Vec<usize> {
    let unique: BTreeSet<&Key> = keys.iter().collect();
    let sorted: Vec<&Key> = unique.into_iter().collect();
    let drawn = Python::new(seed).sample(sorted.len(), count.min(sorted.len()));
    let kept: BTreeSet<&Key> = drawn.into_iter().map(|index| sorted[index]).collect();
    let rows = keys
        .iter()
        .enumerate()
        .filter(|(_, key)| kept.contains(key));
    rows.map(|(row, _)| row).collect()
}

/// The first `count` of `len` rows in random order.
pub fn first_permuted(len: usize, count: usize, seed: u32) -> Vec<usize> {
    let mut order = Numpy::new(seed).permutation(len);
    order.truncate(count);
    order
}

/// [`first_permuted`] of what [`first_permuted`] chose, as the paper's code does for InfiniteBench.
pub fn first_permuted_twice(len: usize, count: usize, seed: u32) -> Vec<usize> {
    let once = first_permuted(len, count, seed);
    let again = first_permuted(once.len(), count, seed);
    again.into_iter().map(|index| once[index]).collect()
}

/// How many of `len` rows are the test set where a data set has none: a tenth, rounded up.
pub fn tenth(len: usize) -> usize {
    len.div_ceil(10)
}
