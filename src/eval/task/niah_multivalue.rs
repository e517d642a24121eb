//! `niah_multivalue`: one key with four numbers in natural text, all of them asked for.

use crate::eval::ruler::kind::{KeyKind, ValueKind};
use crate::eval::ruler::niah::{Hay, Niah};

/// The task.
pub const TASK: Niah = Niah {
    name: "niah_multivalue",
    about: "the four numbers of one key in held-out text, a stand-in for essays",
    haystack: Hay::Essay,
    keys: KeyKind::Words,
    values: ValueKind::Number,
    num_keys: 1,
    num_values: 4,
    num_queries: 1,
    limit: 50,
};
