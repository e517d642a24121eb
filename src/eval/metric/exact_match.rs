//! Whether the answer's text is right but for case, punctuation, articles and spaces.

use crate::eval::answered::Answered;
use crate::eval::gold::Gold;
use crate::eval::scoring::ScorePair;
use crate::eval::text::chars::trim;
use crate::eval::text::choice::letter;
use crate::eval::text::normalise::normalise;

/// 1 if the normal forms of both texts are the same, else 0. Strict: where nothing is left of the right answer's normal
/// form, the texts themselves must be the same in lower case.
///
/// Of a question with options, compat takes the right one's letter with its text anywhere, too; strict takes the text of
/// the right option as the answer's line, or its letter as the first there.
pub fn score(answered: &Answered<'_>) -> Option<ScorePair> {
    let gold = answered.gold();
    let scores = answered.best(&gold.answers()?, compat, strict);
    let (Gold::Choice { letter, text }, Some(option)) = (gold, gold.option()) else {
        return Some(scores);
    };
    let stands = has_option(answered.text(), &option);
    Some(ScorePair {
        compat: scores.compat.max(f64::from(stands)),
        strict: f64::from(names(answered.parsed(), *letter, text)),
    })
}

/// Whether an option's letter and text stand somewhere in `text`, in any case.
pub(super) fn has_option(text: &str, option: &str) -> bool {
    text.to_lowercase().contains(&option.to_lowercase())
}

fn names(line: &str, wanted: char, option_text: &str) -> bool {
    is_same(line, option_text) || letter(line) == Some(wanted)
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
