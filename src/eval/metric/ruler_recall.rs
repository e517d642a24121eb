//! How many of the values asked for appear in what was written: RULER's score.

use crate::eval::answered::Answered;
use crate::eval::scoring::ScorePair;
use crate::eval::summary::mean;
use crate::eval::text::chars::contains_whole;

/// Share of the right answers that stand in the text or its cue, in any case, in [0, 1]. Strict: no word may go on beside
/// them, as `12345678` is not `1234567`, and an empty one stands in an empty text alone.
pub fn score(answered: &Answered<'_>) -> Option<ScorePair> {
    let answers = answered.gold().answers()?;
    let text = answered.text().to_lowercase();
    let share = |contains: fn(&str, &str) -> bool| {
        let answers = answers.iter();
        mean(answers.map(|answer| f64::from(contains(&text, &answer.to_lowercase()))))
    };
    Some(ScorePair {
        compat: share(|text, answer| text.contains(answer)),
        strict: share(contains_whole),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::gold::Gold;
    use crate::eval::goldens::{assert_golden, goldens, texts};
    use crate::eval::reading::Reading;

    fn of(cue: &str, output: &str, answers: &[String]) -> ScorePair {
        let gold = Gold::Answers {
            answers: answers.to_vec(),
        };
        score(&Answered::new(cue, output, Reading::Whole, &gold)).unwrap()
    }

    #[test]
    fn compat_is_that_of_the_python_scorer() {
        for case in goldens("ruler_recall") {
            let found = of(
                "",
                case["output"].as_str().unwrap(),
                &texts(&case["answer"]),
            );
            assert_golden(found.compat, &case, "ruler_recall", &case);
            assert!(found.strict <= found.compat, "{case}");
        }
    }

    #[test]
    fn the_cue_counts_and_longer_numbers_do_not() {
        let answers = ["Seven", "1234567"].map(str::to_owned);
        let found = of("it is seven", ": 12345678", &answers);
        assert_eq!(found.compat.to_bits(), 1.0_f64.to_bits());
        assert_eq!(found.strict.to_bits(), 0.5_f64.to_bits());
    }
}
