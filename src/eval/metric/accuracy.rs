//! Whether a procedure ends right: the first score of LongProc.

use crate::eval::answered::Answered;
use crate::eval::procedure::verdict::verdict;
use crate::eval::scoring::ScorePair;

/// 1 if the route, trace, solution or plan is right as a whole, else 0; nothing where the right answer is none of these.
pub fn score(answered: &Answered<'_>) -> Option<ScorePair> {
    Some(verdict(answered)?.accuracy)
}
