//! How far a procedure is right: the second score of LongProc.

use crate::eval::answered::Answered;
use crate::eval::procedure::verdict::verdict;
use crate::eval::scoring::ScorePair;

/// Share of the gold's lines before the first wrong one, in [0, 1], as its kind counts them; 1 for a right answer; nothing
/// where the right answer is no procedure.
pub fn score(answered: &Answered<'_>) -> Option<ScorePair> {
    Some(verdict(answered)?.partial)
}
