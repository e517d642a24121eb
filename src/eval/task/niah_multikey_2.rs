//! `niah_multikey_2`: every line names a key and its number, and one of them is asked for.

use crate::eval::ruler::kind::{KeyKind, ValueKind};
use crate::eval::ruler::niah::{Hay, Niah};

/// The task.
pub const TASK: Niah = Niah {
    name: "niah_multikey_2",
    about: "the number of one key, in lines that each name a key and its number",
    haystack: Hay::Needles,
    keys: KeyKind::Words,
    values: ValueKind::Number,
    num_keys: 1,
    num_values: 1,
    num_queries: 1,
    limit: 50,
};
