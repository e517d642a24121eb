//! How much of a right text of several lines was written, in any order of its lines: ROUGE-Lsum.

use crate::eval::answered::Answered;
use crate::eval::scoring::ScorePair;
use crate::eval::text::rouge::{Overlap, by_lines};

/// F1 over the stems that the lines of both texts have in common, in [0, 1]. Strict reads the answer's line alone, where
/// one is marked.
pub fn score(answered: &Answered<'_>) -> Option<ScorePair> {
    of(answered, Overlap::f1)
}

/// Share of the right text's stems that some line written has in common with their line, in [0, 1]. Strict as above.
pub fn recall(answered: &Answered<'_>) -> Option<ScorePair> {
    of(answered, Overlap::recall)
}

fn of(answered: &Answered<'_>, share: fn(&Overlap) -> f64) -> Option<ScorePair> {
    let answers = answered.gold().answers()?;
    let score = |text: &str, answer: &str| share(&by_lines(text, answer));
    Some(answered.best(&answers, score, score))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::goldens::assert_calculated;

    #[test]
    fn both_are_those_of_the_python_scorer() {
        assert_calculated("rougeLsum_f1", |text, answer| by_lines(text, answer).f1());
        assert_calculated("rougeLsum_recall", |text, answer| {
            by_lines(text, answer).recall()
        });
    }
}
