//! Demonstrations before an item, from the rows of a file.

use super::NUM_DEMOS;
use crate::eval::choice::demo::choose;
use crate::eval::choice::key::Key;
use crate::eval::files::error::FilesError;
use serde::de::{Deserialize, Error};
use std::path::Path;

/// The rows of the demonstrations of one item, of those that `may_show` allows.
///
/// # Errors
/// [`FilesError::Format`] if `path` has too few.
pub(super) fn pick(
    path: &Path,
    keys: &[Key],
    may_show: impl Fn(&Key) -> bool,
    seed: u32,
) -> Result<Vec<usize>, FilesError> {
    let rows: Vec<usize> = (0..keys.len())
        .filter(|row| may_show(&keys[*row]))
        .collect();
    let picked = choose(keys, &rows, seed, NUM_DEMOS);
    if picked.len() < NUM_DEMOS {
        return Err(FilesError::Format {
            path: path.to_owned(),
            reason: format!(
                "has {} demonstrations for an item, {NUM_DEMOS} are shown",
                picked.len()
            ),
        });
    }
    Ok(picked)
}

/// Reads a key: a number or a text.
pub(super) fn key<'a, D: serde::Deserializer<'a>>(deserializer: D) -> Result<Key, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    let number = value.as_i64().map(Key::Number);
    let key = number.or_else(|| Some(Key::Text(value.as_str()?.to_owned())));
    key.ok_or_else(|| D::Error::custom("neither a text nor a whole number"))
}
