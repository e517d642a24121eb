//! Python's classes of characters where Rust's differ, and what is built on them.

use regex::Regex;
use std::sync::LazyLock;

/// Maximal runs of word characters: letters and numbers of any script, and `_`; combining marks are none.
pub static WORDS: LazyLock<Regex> = LazyLock::new(|| pattern(r"[\p{L}\p{N}_]+"));

/// A fixed pattern.
///
/// # Panics
/// If it is none: our defect.
pub fn pattern(text: &str) -> Regex {
    Regex::new(text).unwrap_or_else(|error| unreachable!("a fixed pattern: {error}"))
}

/// Whether `c` is a word character.
pub fn is_word(c: char) -> bool {
    WORDS.is_match(c.encode_utf8(&mut [0; 4]))
}

/// Whether Python counts `c` as space: Unicode's white space, and the four information separators.
pub fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// `text` without spaces at both ends.
pub fn trim(text: &str) -> &str {
    text.trim_matches(is_space)
}

/// The parts of `text` between spaces.
pub fn split(text: &str) -> impl Iterator<Item = &str> {
    text.split(is_space).filter(|part| !part.is_empty())
}

/// Whether `part` stands somewhere in `text` without a word character on either side of it. An empty part stands in
/// texts of spaces alone.
pub fn contains_whole(text: &str, part: &str) -> bool {
    if part.is_empty() {
        return trim(text).is_empty();
    }
    let mut from = 0;
    while let Some(found) = text[from..].find(part) {
        let start = from + found;
        let before = text[..start].chars().next_back();
        let after = text[start + part.len()..].chars().next();
        if !before.into_iter().chain(after).any(is_word) {
            return true;
        }
        from = start + text[start..].chars().next().map_or(1, char::len_utf8);
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_those_of_python() {
        for (c, word, space) in [
            ('a', true, false),
            ('_', true, false),
            ('\u{b2}', true, false),
            ('\u{e01}', true, false),
            ('\u{e31}', false, false),
            ('\u{301}', false, false),
            ('\u{24b6}', false, false),
            ('\u{200d}', false, false),
            ('\u{1c}', false, true),
            ('\u{1f}', false, true),
            ('\u{85}', false, true),
            ('\u{3000}', false, true),
            ('\u{200b}', false, false),
            ('-', false, false),
        ] {
            assert_eq!((is_word(c), is_space(c)), (word, space), "{c:?}");
        }
    }

    #[test]
    fn a_part_is_whole_if_no_word_goes_on_beside_it() {
        for (text, part, whole) in [
            ("it is 1234567.", "1234567", true),
            ("it is 12345678.", "1234567", false),
            ("81234567 1234567", "1234567", true),
            ("x7004311y", "7004311", false),
            ("a a a ab", "a ab", true),
            ("1 1 1x", "1 1", true),
            ("x1 1 1", "1 1", true),
            ("\u{e9}t\u{e9}", "t", false),
            ("cost: $5!", "$5", true),
            (" \n", "", true),
            ("x", "", false),
        ] {
            assert_eq!(contains_whole(text, part), whole, "{part:?} in {text:?}");
        }
    }
}
