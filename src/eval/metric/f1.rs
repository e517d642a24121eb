//! How many words the answer shares with a right one.

use crate::eval::answered::Answered;
use crate::eval::scoring::ScorePair;
use crate::eval::text::normalise::normalise;
use std::collections::BTreeMap;

/// Answers that are right as a whole or not at all.
const WHOLE: [&str; 3] = ["yes", "no", "noanswer"];

/// F1 over the bags of words of both normal forms, in [0, 1]; 0 if the texts differ and either is `yes`, `no` or
/// `noanswer`, and 0 without a word in common. Strict reads the answer's line alone.
pub fn score(answered: &Answered<'_>) -> Option<ScorePair> {
    let answers = answered.gold().answers()?;
    Some(answered.best(&answers, f1, f1))
}

#[expect(clippy::cast_precision_loss, reason = "texts have few words")]
fn f1(text: &str, answer: &str) -> f64 {
    let (text, answer) = (normalise(text), normalise(answer));
    if text != answer
        && [&text, &answer]
            .into_iter()
            .any(|of| WHOLE.contains(&of.as_str()))
    {
        return 0.0;
    }
    let (found, wanted) = (bag(&text), bag(&answer));
    let shared: usize = wanted
        .iter()
        .map(|(word, count)| found.get(word).map_or(0, |of| *of.min(count)))
        .sum();
    let size = |bag: &BTreeMap<&str, usize>| bag.values().sum::<usize>();
    if shared == 0 {
        return 0.0;
    }
    2.0 * shared as f64 / (size(&found) + size(&wanted)) as f64
}

fn bag(text: &str) -> BTreeMap<&str, usize> {
    let mut bag = BTreeMap::new();
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        *bag.entry(word).or_default() += 1;
    }
    bag
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::goldens::{assert_golden, goldens, texts};

    #[test]
    fn it_is_that_of_the_python_scorer_and_symmetric() {
        for case in goldens("calculate_metrics") {
            let prediction = case["prediction"].as_str().unwrap();
            let mut best = 0.0_f64;
            for answer in texts(&case["answers"]) {
                let found = f1(prediction, &answer);
                assert_eq!(found.to_bits(), f1(&answer, prediction).to_bits(), "{case}");
                best = best.max(found);
            }
            assert_golden(best, &case["metrics"], "f1", &case);
        }
    }
}
