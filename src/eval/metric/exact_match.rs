//! Whether the answer's text is right but for case, punctuation, articles and spaces.

use crate::eval::answered::Answered;
use crate::eval::scoring::ScorePair;
use crate::eval::text::chars::trim;
use crate::eval::text::normalise::normalise;

/// 1 if the normal forms of both texts are the same, else 0. Strict: where nothing is left of the right answer's normal
/// form, the texts themselves must be the same in lower case.
pub fn score(answered: &Answered<'_>) -> Option<ScorePair> {
    let answers = answered.gold().answers()?;
    Some(answered.best(&answers, compat, strict))
}

/// HELMET's score.
pub(super) fn compat(text: &str, answer: &str) -> f64 {
    f64::from(normalise(text) == normalise(answer))
}

fn strict(text: &str, answer: &str) -> f64 {
    if normalise(answer).is_empty() {
        f64::from(is_same(text, answer))
    } else {
        compat(text, answer)
    }
}

/// Whether two texts are the same but for case and outer spaces.
pub(super) fn is_same(text: &str, answer: &str) -> bool {
    trim(text).to_lowercase() == trim(answer).to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::goldens::assert_calculated;

    #[test]
    fn compat_is_that_of_the_python_scorer() {
        assert_calculated("exact_match", compat);
    }

    #[test]
    fn nothing_is_not_an_article() {
        for (text, answer, loose, exact) in [
            ("", "A", 1.0, 0.0),
            ("The", "A", 1.0, 0.0),
            ("a", "A", 1.0, 1.0),
            ("the cat", "Cat.", 1.0, 1.0),
            ("cats", "cat", 0.0, 0.0),
        ] {
            let found = [compat(text, answer), strict(text, answer)];
            assert_eq!(
                found.map(f64::to_bits),
                [loose, exact].map(f64::to_bits),
                "{text:?}"
            );
        }
    }
}
