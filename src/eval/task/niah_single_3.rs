//! `niah_single_3`: one key with its UUID in natural text.

use crate::eval::ruler::kind::{KeyKind, ValueKind};
use crate::eval::ruler::niah::{Hay, Niah};

/// The task.
pub const TASK: Niah = Niah {
    name: "niah_single_3",
    about: "the UUID of one key in held-out text, a stand-in for essays",
    haystack: Hay::Essay,
    keys: KeyKind::Words,
    values: ValueKind::Uuid,
    num_keys: 1,
    num_values: 1,
    num_queries: 1,
    limit: 50,
};
