//! Whether a right answer stands somewhere in what was written.

use super::exact_match::{has_option, is_same};
use crate::eval::answered::Answered;
use crate::eval::scoring::ScorePair;
use crate::eval::text::chars::contains_whole;
use crate::eval::text::normalise::normalise;

/// 1 if the normal form of a right answer is part of the text's, else 0. Strict: no word may go on beside it, as
/// `12345678` is not `1234567`; where nothing is left of its normal form, the texts themselves must be the same.
///
/// Of a question with options, only the right one's letter with its text counts, in any case.
pub fn score(answered: &Answered<'_>) -> Option<ScorePair> {
    let answers = answered.gold().answers()?;
    let Some(option) = answered.gold().option() else {
        return Some(answered.best(&answers, compat, strict));
    };
    let line = answered.parsed().to_lowercase();
    Some(ScorePair {
        compat: f64::from(has_option(answered.text(), &option)),
        strict: f64::from(contains_whole(&line, &option.to_lowercase())),
    })
}

fn compat(text: &str, answer: &str) -> f64 {
    f64::from(normalise(text).contains(&normalise(answer)))
}

fn strict(text: &str, answer: &str) -> f64 {
    let part = normalise(answer);
    f64::from(if part.is_empty() {
        is_same(text, answer)
    } else {
        contains_whole(&normalise(text), &part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::goldens::assert_calculated;

    #[test]
    fn compat_is_that_of_the_python_scorer() {
        assert_calculated("substring_exact_match", compat);
    }

    #[test]
    fn strict_wants_whole_words() {
        for (text, answer, loose, whole) in [
            ("it is 12345678", "1234567", 1.0, 0.0),
            ("it is 1234567!", "1234567", 1.0, 1.0),
            ("It is Paris, France.", "paris", 1.0, 1.0),
            ("anything", "the", 1.0, 0.0),
            ("The ", "the", 1.0, 1.0),
            ("anything", "", 1.0, 0.0),
            ("", "", 1.0, 1.0),
        ] {
            let found = [compat(text, answer), strict(text, answer)];
            assert_eq!(
                found.map(f64::to_bits),
                [loose, whole].map(f64::to_bits),
                "{answer:?} in {text:?}"
            );
        }
    }
}
