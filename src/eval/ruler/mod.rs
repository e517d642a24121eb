//! What RULER's tasks (arXiv 2404.06654) share: needles and what they are hidden in, written in words of this project.
//!
//! Structure, counts and limits are RULER's as HELMET runs them; sentences, keys and draws are ours, so scores are near the
//! published ones and not equal to them. Each task is a file in [`crate::eval::task`].
//!
//! **Invariant:** an item has one right answer: its keys are distinct, and no value stands in another or elsewhere in the
//! prompt.

pub mod coded;
mod essay;
pub mod kind;
pub mod needle;
pub mod niah;
pub mod noise;
pub mod spread;

#[cfg(test)]
pub(super) mod tests;
