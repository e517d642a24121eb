//! `niah_single_2`: one key with its number in natural text.

use crate::eval::ruler::kind::{KeyKind, ValueKind};
use crate::eval::ruler::niah::{Hay, Niah};

/// The task.
pub const TASK: Niah = Niah {
    name: "niah_single_2",
    about: "the number of one key in held-out text, a stand-in for essays",
    haystack: Hay::Essay,
    keys: KeyKind::Words,
    values: ValueKind::Number,
    num_keys: 1,
    num_values: 1,
    num_queries: 1,
    limit: 50,
};
