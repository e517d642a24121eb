//! How much of a right text was written, in its order: ROUGE-L.

use crate::eval::answered::Answered;
use crate::eval::scoring::ScorePair;
use crate::eval::text::rouge::{Overlap, whole};

/// F1 over the stems of a longest common subsequence, in [0, 1]. Strict reads the answer's line alone.
pub fn score(answered: &Answered<'_>) -> Option<ScorePair> {
    of(answered, Overlap::f1)
}

/// Share of the right text's stems in a longest common subsequence, in [0, 1]. Strict reads the answer's line alone.
pub fn recall(answered: &Answered<'_>) -> Option<ScorePair> {
    of(answered, Overlap::recall)
}

fn of(answered: &Answered<'_>, share: fn(&Overlap) -> f64) -> Option<ScorePair> {
    let answers = answered.gold().answers()?;
    let score = |text: &str, answer: &str| share(&whole(text, answer));
    Some(answered.best(&answers, score, score))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::goldens::assert_calculated;

    #[test]
    fn both_are_those_of_the_python_scorer() {
        assert_calculated("rougeL_f1", |text, answer| whole(text, answer).f1());
        assert_calculated("rougeL_recall", |text, answer| whole(text, answer).recall());
    }
}
