//! `niah_multikey_1`: four keys with a number each in natural text, of which one is asked for.

use crate::eval::ruler::kind::{KeyKind, ValueKind};
use crate::eval::ruler::niah::{Hay, Niah};

/// The task.
pub const TASK: Niah = Niah {
    name: "niah_multikey_1",
    about: "the number of one of four keys in held-out text, a stand-in for essays",
    haystack: Hay::Essay,
    keys: KeyKind::Words,
    values: ValueKind::Number,
    num_keys: 4,
    num_values: 1,
    num_queries: 1,
    limit: 50,
};
