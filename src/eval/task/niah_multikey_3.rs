//! `niah_multikey_3`: every line names a UUID and the one that belongs to it, and one of them is asked for.

use crate::eval::ruler::kind::{KeyKind, ValueKind};
use crate::eval::ruler::niah::{Hay, Niah};

/// The task.
pub const TASK: Niah = Niah {
    name: "niah_multikey_3",
    about: "the UUID that belongs to another one, in lines that each name such a pair",
    haystack: Hay::Needles,
    keys: KeyKind::Uuid,
    values: ValueKind::Uuid,
    num_keys: 1,
    num_values: 1,
    num_queries: 1,
    limit: 100,
};
