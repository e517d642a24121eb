//! Which demonstrations stand before an item.

use super::key::Key;
use super::numpy::Numpy;
use std::collections::BTreeSet;

/// Up to `count` of the rows in random order, no two of the same key.
///
/// `rows` are the indices into `keys` that may be used; the seed is the item's own, so its demonstrations do not depend on
/// which other items are asked.
pub fn choose(keys: &[Key], rows: &[usize], seed: u32, count: usize) -> Vec<usize> {
    let order = Numpy::new(seed).permutation(rows.len());
    let mut seen = BTreeSet::new();
    let fresh = order.into_iter().map(|index| rows[index]);
    let unique = fresh.filter(|row| seen.insert(&keys[*row]));
    unique.take(count).collect()
}
