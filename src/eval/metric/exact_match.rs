//! Whether the answer is right to the last token.

/// 1 if `output` is `answer`, else 0.
pub fn exact_match(output: &[i64], answer: &[i64]) -> f64 {
    if output == answer { 1.0 } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::exact_match;

    #[test]
    fn every_token_counts() {
        let check = |output: &[i64], expected: f64| {
            assert_eq!(
                exact_match(output, &[1, 2, 3]).to_bits(),
                expected.to_bits()
            );
        };
        check(&[1, 2, 3], 1.0);
        check(&[1, 2], 0.0);
        check(&[1, 2, 4], 0.0);
        check(&[1, 2, 3, 4], 0.0);
        check(&[], 0.0);
    }
}
