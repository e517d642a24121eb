//! Whether any right answer appears in what was written: RULER's score of its question answering tasks.

use crate::eval::answered::Answered;
use crate::eval::scoring::ScorePair;
use crate::eval::text::chars::contains_whole;

/// 1 if a right answer stands in the text or its cue, in any case, else 0. Strict: no word may go on beside it.
pub fn score(answered: &Answered<'_>) -> Option<ScorePair> {
    let answers = answered.gold().answers()?;
    let text = answered.text().to_lowercase();
    let any = |contains: fn(&str, &str) -> bool| {
        let mut answers = answers.iter();
        f64::from(answers.any(|answer| contains(&text, &answer.to_lowercase())))
    };
    Some(ScorePair {
        compat: any(|text, answer| text.contains(answer)),
        strict: any(contains_whole),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::gold::Gold;
    use crate::eval::reading::Reading;

    #[test]
    fn one_of_them_is_enough() {
        let gold = Gold::Answers {
            answers: ["Rome", "the capital"].map(str::to_owned).to_vec(),
        };
        for (output, compat, strict) in [
            ("It is ROME.", 1.0, 1.0),
            ("the capitals", 1.0, 0.0),
            ("Oslo", 0.0, 0.0),
        ] {
            let found = score(&Answered::new("", output, Reading::Whole, &gold)).unwrap();
            assert_eq!(found, ScorePair { compat, strict }, "{output}");
        }
    }
}
