//! `niah_single_1`: one key with its number among lines that all say the same.

use crate::eval::ruler::kind::{KeyKind, ValueKind};
use crate::eval::ruler::niah::{Hay, Niah};

/// The task.
pub const TASK: Niah = Niah {
    name: "niah_single_1",
    about: "the number of one key among lines that all say the same",
    haystack: Hay::Noise,
    keys: KeyKind::Words,
    values: ValueKind::Number,
    num_keys: 1,
    num_values: 1,
    num_queries: 1,
    limit: 50,
};
