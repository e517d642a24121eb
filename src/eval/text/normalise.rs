//! The normal form of answers of question answering sets.

use super::chars::{WORDS, split};
use regex::Captures;

/// `text` in lower case, without ASCII punctuation, articles and surplus spaces, in that order: `a-day` becomes `aday`.
pub fn normalise(text: &str) -> String {
    let bare: String = text
        .to_lowercase()
        .chars()
        .filter(|c| !c.is_ascii_punctuation())
        .collect();
    let without_articles = WORDS.replace_all(&bare, |found: &Captures<'_>| match &found[0] {
        "a" | "an" | "the" => " ".to_owned(),
        word => word.to_owned(),
    });
    split(&without_articles).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::normalise;
    use crate::eval::goldens::goldens;

    #[test]
    fn it_is_that_of_the_python_scorers() {
        for case in goldens("normalize_answer") {
            let text = case[0].as_str().unwrap();
            assert_eq!(normalise(text), case[1].as_str().unwrap(), "{text:?}");
        }
    }
}
