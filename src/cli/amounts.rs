//! Sizes, shares and settings' words as a command line writes them.

/// Parses `40MB`, `500kB`, `1GB` or plain bytes.
///
/// # Errors
/// What is wrong with the text.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor: u64 = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        _ => return Err("expected a number and `kB`, `MB` or `GB`".to_owned()),
    };
    let number: u64 = digits
        .parse()
        .map_err(|_| format!("`{digits}` is not a whole number"))?;
    number
        .checked_mul(factor)
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| "the size must be above zero and below 2^64 bytes".to_owned())
}

/// Parses a held-out share that leaves something to train on.
///
/// # Errors
/// What is wrong with the text.
pub fn parse_training_share(text: &str) -> Result<f64, String> {
    share(
        text,
        |share| (0.0..1.0).contains(&share),
        "at least 0 and below 1",
    )
}

/// Parses a held-out share that leaves something to measure on.
///
/// # Errors
/// What is wrong with the text.
pub fn parse_measuring_share(text: &str) -> Result<f64, String> {
    share(
        text,
        |share| share > 0.0 && share <= 1.0,
        "above 0 and at most 1",
    )
}

/// Parses a word that a file writes for the same choice.
///
/// # Errors
/// What words there are.
pub fn parse_word<T: serde::de::DeserializeOwned>(word: &str) -> Result<T, String> {
    serde_json::from_value(word.into()).map_err(|error| error.to_string())
}

/// Parses a finite number above zero.
///
/// # Errors
/// What is wrong with the text.
pub fn parse_positive(text: &str) -> Result<f64, String> {
    let number: f64 = text
        .parse()
        .map_err(|_| format!("`{text}` is not a number"))?;
    (number.is_finite() && number > 0.0)
        .then_some(number)
        .ok_or_else(|| "expected a number above 0".to_owned())
}

/// Parses a share of a whole.
///
/// # Errors
/// What is wrong with the text.
pub fn parse_share(text: &str) -> Result<f64, String> {
    share(
        text,
        |share| (0.0..=1.0).contains(&share),
        "at least 0 and at most 1",
    )
}

/// Parses a number that `fits` accepts; `range` says which those are.
fn share(text: &str, fits: fn(f64) -> bool, range: &str) -> Result<f64, String> {
    let share = text
        .parse()
        .map_err(|_| format!("`{text}` is not a number"))?;
    fits(share)
        .then_some(share)
        .ok_or_else(|| format!("a share is {range}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_a_thousand() {
        assert_eq!(parse_bytes("40MB"), Ok(40_000_000));
        assert_eq!(parse_bytes("1gb"), Ok(1_000_000_000));
        assert_eq!(parse_bytes("512"), Ok(512));
        for text in ["", "MB", "0", "1.5MB", "3TB", "99999999999GB", "-1"] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn shares_leave_something_to_train_on() {
        assert_eq!(parse_training_share("0"), Ok(0.0));
        assert_eq!(parse_training_share("0.05"), Ok(0.05));
        for text in ["", "x", "1", "-0.1", "nan", "inf"] {
            assert!(parse_training_share(text).is_err(), "{text}");
        }
    }

    #[test]
    fn shares_leave_something_to_measure_on() {
        assert_eq!(parse_measuring_share("1"), Ok(1.0));
        assert_eq!(parse_measuring_share("0.05"), Ok(0.05));
        for text in ["", "x", "0", "1.01", "-0.1", "nan", "inf"] {
            assert!(parse_measuring_share(text).is_err(), "{text}");
        }
    }

    #[test]
    fn positive_numbers_are_finite() {
        assert_eq!(parse_positive("141.5"), Ok(141.5));
        for text in ["", "x", "0", "-1", "nan", "inf"] {
            assert!(parse_positive(text).is_err(), "{text}");
        }
    }

    #[test]
    fn shares_of_a_whole_have_both_ends() {
        assert_eq!(parse_share("0"), Ok(0.0));
        assert_eq!(parse_share("1"), Ok(1.0));
        for text in ["", "x", "1.01", "-0.1", "nan", "inf"] {
            assert!(parse_share(text).is_err(), "{text}");
        }
    }
}
