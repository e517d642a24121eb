//! Scores of one answer, one file per metric.

pub mod exact_match;
pub mod token_accuracy;
