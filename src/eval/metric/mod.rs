//! Scores of one answer, one file per metric; [`registry`] lists them all.
//!
//! A metric is a function from [`Answered`](super::answered::Answered) to a pair of scores, each in [0, 1], or to nothing
//! where it cannot read the right answer.

pub mod accuracy;
pub mod exact_match;
pub mod exact_tokens;
pub mod extraction_rate;
pub mod f1;
pub mod ndcg;
pub mod partial_accuracy;
pub mod registry;
pub mod rouge_l;
pub mod rouge_lsum;
pub mod row_f1;
pub mod ruler_any;
pub mod ruler_recall;
pub mod substring_exact_match;
pub mod token_accuracy;

#[cfg(test)]
mod tests;
