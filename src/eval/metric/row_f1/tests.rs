//! Rows against the Python scorer, and against crossing out by hand.

use super::*;
use crate::eval::goldens::{assert_golden, goldens};
use crate::eval::reading::Reading;
use crate::random::{below, stream};

type Score = fn(&Answered<'_>) -> Option<ScorePair>;

fn of_lines(output: &str, answer: &str) -> ScorePair {
    let gold = Gold::Rows {
        text: answer.to_owned(),
    };
    score(&Answered::new("", output, Reading::Whole, &gold)).unwrap()
}

#[test]
fn tables_are_scored_as_by_the_python_scorer() {
    for case in goldens("html_to_tsv") {
        let gold = Gold::Table {
            tsv: case["reference"].as_str().unwrap().to_owned(),
        };
        let output = case["prediction"].as_str().unwrap();
        let answered = Answered::new("", output, Reading::Whole, &gold);
        let metrics: [(&str, Score); 4] = [
            ("f1", score),
            ("precision", precision),
            ("recall", recall),
            ("extraction_rate", extraction),
        ];
        for (name, metric) in metrics {
            let found = metric(&answered).unwrap();
            assert_golden(found.compat, &case["metrics"], name, &case);
            assert!(found.strict <= found.compat, "{name}: {case}");
        }
    }
}

#[test]
fn copies_of_a_row_count_in_compat_alone() {
    let found = of_lines("a\na\na\n", "a\nb\n");
    // Precision 1 and 1/3, recall 1/2.
    assert!((found.compat - 2.0 / 3.0).abs() < 1e-12, "{found:?}");
    assert!((found.strict - 2.0 / 5.0).abs() < 1e-12, "{found:?}");
}

#[test]
fn lines_count_wherever_they_stand() {
    let check = |output: &str, answer: &str, expected: f64| {
        let found = of_lines(output, answer).strict;
        assert!((found - expected).abs() < 1e-12, "{output:?}: {found}");
    };
    check("a\nb\n", "a\nb\n", 1.0);
    check("b\n\n  \na", "a\nb\n", 1.0);
    check("a\n", "a\nb\n", 2.0 / 3.0);
    check("a\nb\nc\nd\n", "a\nb\n", 2.0 / 3.0);
    check("a\na\n", "a\na\n", 1.0);
    check("a \n", "a\n", 0.0);
    check("", "a\n", 0.0);
    check("a\n", "", 0.0);
    check("", "\n", 1.0);
}

/// Precision and recall by crossing out.
fn slow(output: &str, answer: &str) -> f64 {
    let lines = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| !line.is_empty());
        lines.map(str::to_owned).collect()
    };
    let (output, mut left) = (lines(output), lines(answer));
    let num_wanted = left.len();
    let mut shared = 0;
    for line in &output {
        if let Some(at) = left.iter().position(|other| other == line) {
            left.remove(at);
            shared += 1;
        }
    }
    if shared == 0 {
        return f64::from(output.is_empty() && num_wanted == 0);
    }
    let share = |of: usize| f64::from(shared) / f64::from(u32::try_from(of).unwrap());
    let (precision, recall) = (share(output.len()), share(num_wanted));
    2.0 * precision * recall / (precision + recall)
}

#[test]
fn strict_is_the_harmonic_mean_and_symmetric_and_at_most_compat() {
    let mut rng = stream("row f1", &[]);
    for _ in 0..500 {
        let mut text = || -> String {
            let num_lines = below(&mut rng, 6);
            let letter =
                |_| ["a\n", "b\n", "c\n", "\n"][usize::try_from(below(&mut rng, 4)).unwrap()];
            (0..num_lines).map(letter).collect()
        };
        let (a, b) = (text(), text());
        let found = of_lines(&a, &b);
        assert!((found.strict - slow(&a, &b)).abs() < 1e-12, "{a:?} {b:?}");
        assert!((found.strict - of_lines(&b, &a).strict).abs() < 1e-12);
        assert!(found.strict <= found.compat + 1e-12, "{a:?} {b:?}");
    }
}
