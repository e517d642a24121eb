//! Which of several lettered options a line names.

use super::chars::{is_word, trim};
use std::ops::RangeInclusive;

/// The letters of options.
pub const LETTERS: RangeInclusive<char> = 'A'..='D';

/// The first of the capitals A to D that stands alone; where there is none, the one letter that is all of the line but for
/// punctuation. Articles are no letters, so that an answer of nothing is none.
pub fn letter(line: &str) -> Option<char> {
    let is_option = |letter: &char| LETTERS.contains(letter);
    let mut before = None;
    let mut rest = line.chars();
    while let Some(c) = rest.next() {
        let after = rest.clone().next();
        if is_option(&c) && !before.into_iter().chain(after).any(is_word) {
            return Some(c);
        }
        before = Some(c);
    }
    let mut bare = trim(line).chars().filter(|c| is_word(*c));
    let only = bare.next().map(|c| c.to_ascii_uppercase());
    only.filter(|c| is_option(c) && bare.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::letter;

    #[test]
    fn letters_stand_alone() {
        for (line, expected) in [
            ("B", Some('B')),
            ("(b)", Some('B')),
            ("C. a boat", Some('C')),
            ("I think D, not A", Some('D')),
            ("BAD: C", Some('C')),
            ("a boat", None),
            ("E", None),
            ("The", None),
            ("", None),
        ] {
            assert_eq!(letter(line), expected, "{line:?}");
        }
    }
}
