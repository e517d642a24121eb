//! How high the relevant passages were ranked: NDCG of the first ten.

use crate::eval::answered::Answered;
use crate::eval::gold::Gold;
use crate::eval::scoring::ScorePair;
use crate::eval::text::ranking::{with_most_characters, with_most_ids};
use std::collections::{BTreeMap, BTreeSet};

/// Ranks that count.
const NUM_RANKS: usize = 10;

/// Digits that HELMET keeps.
const NUM_DIGITS: usize = 5;

/// Gain of the ranking written over that of the best one, in [0, 1]: relevance over log2(rank + 1), added up. 0 where nothing
/// is relevant. Of several rankings, strict reads the one with the most ids instead of the one with the most characters, and
/// does not round.
pub fn score(answered: &Answered<'_>) -> Option<ScorePair> {
    let Gold::Grades { grades } = answered.gold() else {
        return None;
    };
    let text = answered.text();
    Some(ScorePair {
        compat: rounded(ndcg(&with_most_characters(text), grades, NUM_RANKS)),
        strict: ndcg(&with_most_ids(text), grades, NUM_RANKS),
    })
}

/// Each id counts where it stands first.
fn ndcg(ids: &[String], grades: &BTreeMap<String, u32>, num_ranks: usize) -> f64 {
    let mut seen = BTreeSet::new();
    let distinct = ids.iter().filter(|id| seen.insert(*id));
    let found = distinct.map(|id| grades.get(id).copied().unwrap_or(0));
    let mut best: Vec<u32> = grades.values().copied().collect();
    best.sort_unstable_by(|a, b| b.cmp(a));
    let ideal = gain(best.into_iter().take(num_ranks));
    if ideal == 0.0 {
        return 0.0;
    }
    gain(found.take(num_ranks)) / ideal
}

fn gain(grades: impl Iterator<Item = u32>) -> f64 {
    let ranked = grades.zip(1_u32..);
    ranked
        .map(|(grade, rank)| f64::from(grade) / f64::from(rank + 1).log2())
        .sum()
}

fn rounded(value: f64) -> f64 {
    let text = format!("{value:.NUM_DIGITS$}");
    text.parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::goldens::goldens;
    use crate::eval::reading::Reading;

    fn of(output: &str, grades: &BTreeMap<String, u32>) -> ScorePair {
        let gold = Gold::Grades {
            grades: grades.clone(),
        };
        score(&Answered::new("Ranking:", output, Reading::Whole, &gold)).unwrap()
    }

    fn close(found: f64, wanted: f64) -> bool {
        (found - wanted).abs() < 1e-9
    }

    #[test]
    fn compat_is_that_of_the_python_scorer() {
        for case in goldens("retrieval") {
            let scores: BTreeMap<String, i64> =
                serde_json::from_value(case["results"].clone()).unwrap();
            let grades = serde_json::from_value(case["qrels"].clone()).unwrap();
            let mut ids: Vec<String> = scores.keys().cloned().collect();
            ids.sort_by_key(|id| -scores[id]);
            for num_ranks in [1, 5, 10, 20, 50, 100] {
                let found = rounded(ndcg(&ids, &grades, num_ranks));
                let wanted = &case["metrics"][format!("NDCG@{num_ranks}")];
                assert!(close(found, wanted.as_f64().unwrap()), "{found}: {case}");
            }
            let found = of(&ids.join(" > "), &grades);
            assert!((found.compat - found.strict).abs() < 1e-5, "{case}");
        }
    }

    #[test]
    fn order_and_the_first_place_of_an_id_count() {
        let grades: BTreeMap<String, u32> = [("7", 2), ("8", 1), ("9", 0)]
            .map(|(id, grade)| (id.to_owned(), grade))
            .into();
        let ideal = 2.0 + 1.0 / 3_f64.log2();
        for (output, wanted) in [
            (" [ID: 7] > [ID: 8] > [ID: 9]", 1.0),
            (" 7 > 7 > 8", 1.0),
            (" 8 > 7", (1.0 + 2.0 / 3_f64.log2()) / ideal),
            (" 5 > 6 > 7", 1.0 / ideal),
            ("", 0.0),
        ] {
            let found = of(output, &grades);
            assert!(close(found.strict, wanted), "{output}: {found:?}");
            assert!((found.compat - wanted).abs() <= 5e-6, "{output}: {found:?}");
        }
        assert_eq!(of("7", &BTreeMap::new()), ScorePair::default());
    }
}
