//! Range checks of single values, phrased once.

use crate::config::error::{Bad, Problem};
use std::fmt::Display;

fn range(key: &str, value: &impl ToString, expected: &str) -> Bad {
    let (value, expected) = (value.to_string(), expected.to_owned());
    Bad::new(key, Problem::Range { value, expected })
}

pub(super) fn positive(key: &str, value: f64) -> Result<(), Bad> {
    if value > 0.0 && value.is_finite() {
        return Ok(());
    }
    Err(range(key, &value, "above 0"))
}

pub(super) fn not_negative(key: &str, value: f64) -> Result<(), Bad> {
    if value >= 0.0 && value.is_finite() {
        return Ok(());
    }
    Err(range(key, &value, "0 or above"))
}

/// Checks that `value` lies in [0, 1].
pub(super) fn share(key: &str, value: f64) -> Result<(), Bad> {
    if (0.0..=1.0).contains(&value) {
        return Ok(());
    }
    Err(range(key, &value, "between 0 and 1"))
}

/// Checks that `value` lies in [0, 1).
pub(super) fn share_below_one(key: &str, value: f64) -> Result<(), Bad> {
    if (0.0..1.0).contains(&value) {
        return Ok(());
    }
    Err(range(key, &value, "at least 0 and below 1"))
}

pub(super) fn count(key: &str, value: u64) -> Result<(), Bad> {
    if value > 0 {
        return Ok(());
    }
    Err(range(key, &value, "at least 1"))
}

pub(super) fn len(key: &str, value: usize) -> Result<(), Bad> {
    count(key, value as u64)
}

/// Checks that `low..=high`, two neighbouring keys, is a range that starts at 1 or later.
pub(super) fn ordered(keys: (&str, &str), low: usize, high: usize) -> Result<(), Bad> {
    len(keys.0, low)?;
    if low <= high {
        return Ok(());
    }
    Err(range(
        keys.1,
        &high,
        &format!("at least {low}, the value of `{}`", keys.0),
    ))
}

pub(super) fn at_most(key: &str, value: u64, largest: u64, what: &str) -> Result<(), Bad> {
    if value <= largest {
        return Ok(());
    }
    Err(range(key, &value, &format!("at most {largest}, {what}")))
}

/// Checks Adam's two decay rates.
pub(super) fn betas(key: &str, betas: [f64; 2]) -> Result<(), Bad> {
    share_below_one(&format!("{key}.0"), betas[0])?;
    share_below_one(&format!("{key}.1"), betas[1])
}

/// Refuses a combination of settings.
pub(super) fn conflict(key: &str, reason: &str) -> Bad {
    let reason = reason.to_owned();
    Bad::new(key, Problem::Conflict { reason })
}

/// Takes a value that this combination of settings needs.
pub(super) fn needed<T>(key: &str, value: Option<T>, when: &str) -> Result<T, Bad> {
    value.ok_or_else(|| conflict(key, &format!("is needed {when}")))
}

/// Refuses a value that would have no effect.
pub(super) fn unused<T>(key: &str, value: Option<&T>, when: &str) -> Result<(), Bad> {
    match value {
        None => Ok(()),
        Some(_) => Err(conflict(
            key,
            &format!("has no effect {when}: leave it out"),
        )),
    }
}

/// Refuses a list that is empty, or names a value twice.
pub(super) fn distinct<T: Display>(key: &str, values: &[T]) -> Result<(), Bad> {
    if values.is_empty() {
        return Err(conflict(key, "is empty"));
    }
    each_once(key, values)
}

/// Refuses a list that names a value twice; it may be empty.
pub(super) fn each_once<T: Display>(key: &str, values: &[T]) -> Result<(), Bad> {
    let values: Vec<String> = values.iter().map(ToString::to_string).collect();
    for (at, value) in values.iter().enumerate() {
        if values[..at].contains(value) {
            let reason = format!("names `{value}` a second time");
            return Err(conflict(&format!("{key}.{at}"), &reason));
        }
    }
    Ok(())
}
