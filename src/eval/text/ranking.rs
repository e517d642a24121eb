//! The ranking of passages in the text that a model wrote.

use super::chars::{pattern, trim};
use regex::Regex;
use std::collections::BTreeSet;
use std::sync::LazyLock;

/// Numbers with `>` between them, blanks and line ends around those left aside.
static RUNS: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"\d+(?:[\s\x1c-\x1f]*>[\s\x1c-\x1f]*\d+)*"));

/// Ids in their order, as HELMET reads them: of the ranking with the most characters, the first of several. Ids may repeat. A
/// text without numbers is its own only id.
pub fn with_most_characters(text: &str) -> Vec<String> {
    chosen(text, |run| run.chars().count())
}

/// The same of the ranking with the most ids.
pub fn with_most_ids(text: &str) -> Vec<String> {
    chosen(text, |run| {
        ids(run).into_iter().collect::<BTreeSet<_>>().len()
    })
}

fn chosen(text: &str, size: impl Fn(&str) -> usize) -> Vec<String> {
    let text = text.replace(['[', ']', ':'], "").to_lowercase();
    let text = text.replace("id", "");
    let mut best: Option<(usize, &str)> = None;
    for run in RUNS.find_iter(&text) {
        let size = size(run.as_str());
        if best.is_none_or(|(most, _)| size > most) {
            best = Some((size, run.as_str()));
        }
    }
    let found = best.map(|(_, run)| ids(run).into_iter().map(str::to_owned).collect());
    found.unwrap_or_else(|| vec![text.clone()])
}

fn ids(run: &str) -> Vec<&str> {
    run.split('>').map(trim).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::goldens::goldens;
    use serde_json::{Map, Value};

    #[test]
    fn rankings_are_those_of_the_python_scorer() {
        for case in goldens("parse_rankings") {
            let ids = with_most_characters(case[0].as_str().unwrap());
            let mut scores = Map::new();
            for (place, id) in ids.iter().enumerate() {
                let score = ids.len() - place;
                scores.entry(id.clone()).or_insert(score.into());
            }
            assert_eq!(Value::Object(scores), case[1], "{case}");
        }
    }

    #[test]
    fn strict_takes_the_most_ids() {
        let text = "Query 123456789: [ID: 4] > [ID: 2]";
        assert_eq!(with_most_characters(text), ["123456789"]);
        assert_eq!(with_most_ids(text), ["4", "2"]);
        assert_eq!(with_most_ids("1 > 1 > 1, or 3 > 2"), ["3", "2"]);
        assert_eq!(with_most_ids("none"), ["none"]);
    }

    #[test]
    fn the_first_of_equal_rankings_counts() {
        let text = "1 > 2 or 3 > 4";
        assert_eq!(with_most_characters(text), ["1", "2"]);
        assert_eq!(with_most_ids(text), ["1", "2"]);
    }
}
