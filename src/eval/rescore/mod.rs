//! Scores of answers that were written down, computed again without a model. Start reading at [`report`].
//!
//! **Invariant:** one line is held at a time, and of every line before it no more than its scores and which item it
//! answers.

pub mod error;
pub mod line;
pub mod lines;
pub mod report;
