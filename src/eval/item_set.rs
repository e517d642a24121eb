//! The items of one task.

use super::item::Item;
use super::results::OwnItems;

/// The items of one task.
#[derive(Debug, Clone, PartialEq)]
pub struct ItemSet {
    /// Those to be asked.
    pub items: Vec<Item>,
    /// How many the settings name, more than there are here if only some are asked.
    pub num_expected: usize,
    /// Depths of its own, in rising order, which its items' places count; nothing where they count the grid's.
    pub depths: Option<Vec<f64>>,
    /// blake3 over the files and wordings that decide its items; nothing where those are made.
    pub fingerprint: Option<String>,
    /// What readers of its results should know.
    pub notes: Vec<String>,
}

impl ItemSet {
    /// What results say about items that are not those of the grid.
    pub fn own(&self) -> Option<OwnItems> {
        Some(OwnItems {
            depths: self.depths.clone()?,
            ids: self.items.iter().map(|item| item.id.clone()).collect(),
        })
    }
}
