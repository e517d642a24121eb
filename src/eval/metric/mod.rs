//! Scores of one answer, one file per metric; [`registry`] lists them all.

pub mod exact_match;
pub mod registry;
pub mod row_f1;
pub mod token_accuracy;
