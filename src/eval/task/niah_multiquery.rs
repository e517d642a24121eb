//! `niah_multiquery`: four keys with a number each in natural text, all of them asked for.

use crate::eval::ruler::kind::{KeyKind, ValueKind};
use crate::eval::ruler::niah::{Hay, Niah};

/// The task.
pub const TASK: Niah = Niah {
    name: "niah_multiquery",
    about: "the numbers of four keys in held-out text, a stand-in for essays",
    haystack: Hay::Essay,
    keys: KeyKind::Words,
    values: ValueKind::Number,
    num_keys: 4,
    num_values: 1,
    num_queries: 4,
    limit: 100,
};
