//! The line in which an answer stands.

use super::chars::trim;
use regex::Regex;

/// The rest of the line behind the first `prefix` of `text`, in any case, without spaces at its ends and without one more
/// copy of the prefix; of a text without the prefix, its first line.
pub fn parse<'a>(text: &'a str, prefix: &str) -> &'a str {
    let prefix = any_case(prefix);
    let start = prefix.find(text).map_or(0, |found| found.end());
    let line = text[start..].split('\n').next().unwrap_or_default();
    let line = trim(line);
    match prefix.find(line) {
        Some(again) if again.start() == 0 => trim(&line[again.end()..]),
        _ => line,
    }
}

fn any_case(text: &str) -> Regex {
    Regex::new(&format!("(?i){}", regex::escape(text)))
        .unwrap_or_else(|error| unreachable!("an escaped text is a pattern: {error}"))
}

#[cfg(test)]
mod tests {
    use super::parse;
    use crate::eval::goldens::goldens;

    #[test]
    fn it_finds_what_the_python_scorers_find() {
        for case in goldens("parse_output") {
            let text = |key: &str| case[key].as_str().unwrap();
            let found = parse(text("output"), text("prefix"));
            assert_eq!(found, text("parsed"), "{case}");
        }
    }

    #[test]
    fn without_a_prefix_it_is_the_first_line() {
        assert_eq!(parse(" one \ntwo", ""), "one");
        assert_eq!(parse("", ""), "");
    }
}
