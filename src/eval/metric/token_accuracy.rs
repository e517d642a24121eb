//! How many tokens of the answer stand at their place.

use crate::eval::answered::Answered;
use crate::eval::scoring::{Pair, ScorePair};

/// Share of the answer's tokens that the output has at the same place, in [0, 1]; nothing where the answers are not known
/// as tokens.
pub fn score(answered: &Answered<'_>) -> Option<ScorePair> {
    let tokens = answered.tokens()?;
    Some(Pair::both(token_accuracy(tokens.output, tokens.answer)))
}

#[expect(clippy::cast_precision_loss, reason = "answers are short")]
fn token_accuracy(output: &[i64], answer: &[i64]) -> f64 {
    let right = answer.iter().zip(output).filter(|(a, o)| a == o).count();
    right as f64 / answer.len() as f64
}

#[cfg(test)]
mod tests {
    use super::token_accuracy;

    #[test]
    fn places_count_not_bags() {
        let check = |output: &[i64], expected: f64| {
            let found = token_accuracy(output, &[1, 2, 3, 4]);
            assert_eq!(found.to_bits(), expected.to_bits(), "{output:?}");
        };
        check(&[1, 2, 3, 4], 1.0);
        check(&[4, 3, 2, 1], 0.0);
        check(&[1, 9, 3], 0.5);
        check(&[], 0.0);
    }
}
