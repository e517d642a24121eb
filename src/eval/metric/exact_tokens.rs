//! Whether the answer is right to the last token.

use crate::eval::answered::Answered;
use crate::eval::scoring::{Pair, ScorePair};

/// 1 if both answers are the same tokens, else 0; nothing where they are not known as tokens.
pub fn score(answered: &Answered<'_>) -> Option<ScorePair> {
    let tokens = answered.tokens()?;
    Some(Pair::both(exact(tokens.output, tokens.answer)))
}

fn exact(output: &[i64], answer: &[i64]) -> f64 {
    if output == answer { 1.0 } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::exact;

    #[test]
    fn every_token_counts() {
        let check = |output: &[i64], expected: f64| {
            assert_eq!(exact(output, &[1, 2, 3]).to_bits(), expected.to_bits());
        };
        check(&[1, 2, 3], 1.0);
        check(&[1, 2], 0.0);
        check(&[1, 2, 4], 0.0);
        check(&[1, 2, 3, 4], 0.0);
        check(&[], 0.0);
    }
}
