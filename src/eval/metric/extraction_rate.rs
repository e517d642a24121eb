//! Whether there is anything to score: whether what a scorer reads was found in the text.

use super::row_f1;
use crate::eval::answered::Answered;
use crate::eval::procedure::verdict::verdict;
use crate::eval::scoring::ScorePair;

/// 1 if a table of the gold's width, a route, a solution or a plan was found, else 0; nothing for other right answers. Of
/// traces compat finds one everywhere, strict where a line begins as one.
pub fn score(answered: &Answered<'_>) -> Option<ScorePair> {
    row_f1::extraction(answered).or_else(|| Some(verdict(answered)?.extraction))
}
