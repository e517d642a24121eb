//! Scores of whole outputs as HELMET's tasks compute them: the best of the text and the part read as the answer.

use super::registry::Metric;
use crate::eval::answered::Answered;
use crate::eval::gold::Gold;
use crate::eval::goldens::{assert_golden, goldens, texts};
use crate::eval::reading::Reading;
use crate::eval::scoring::ScorePair;
use crate::random::{below, stream};
use serde_json::Value;

/// The metrics of `calculate_metrics`.
const CALCULATED: [Metric; 7] = [
    Metric::ExactMatch,
    Metric::F1,
    Metric::SubstringExactMatch,
    Metric::RougeL,
    Metric::RougeLRecall,
    Metric::RougeLsum,
    Metric::RougeLsumRecall,
];

fn answers(case: &Value) -> Gold {
    Gold::Answers {
        answers: texts(&case["answer"]),
    }
}

/// A letter, and the letter with its text.
fn options(case: &Value) -> Gold {
    let answers = texts(&case["answer"]);
    let letter = answers[0].chars().next().unwrap();
    let text = answers[1].strip_prefix(&format!("{letter}. ")).unwrap();
    Gold::Choice {
        letter,
        text: text.to_owned(),
    }
}

fn check(key: &str, reading: Reading<'_>, gold: fn(&Value) -> Gold) {
    for case in goldens(key) {
        let gold = gold(&case);
        let output = case["output"].as_str().unwrap();
        let answered = Answered::new("", output, reading, &gold);
        assert_eq!(
            answered.parsed(),
            case["parsed"].as_str().unwrap(),
            "{case}"
        );
        for metric in CALCULATED {
            let found = metric.score(&answered).unwrap();
            assert_golden(found.compat, &case["metrics"], metric.name(), &case);
            let is_letter = metric == Metric::ExactMatch && gold.option().is_some();
            assert!(is_letter || found.strict <= found.compat, "{case}");
        }
    }
}

#[test]
fn outputs_are_scored_as_by_helmet() {
    check("post_default", Reading::ANSWER, answers);
    let prefix = "corresponding value:";
    check("post_json_kv", Reading::Either { prefix }, answers);
    check("post_choice", Reading::ANSWER, options);
}

#[test]
fn of_labels_the_line_behind_the_prefix_counts_alone() {
    let reading = Reading::Line { prefix: "label:" };
    for case in goldens("post_icl") {
        let gold = answers(&case);
        let output = case["output"].as_str().unwrap();
        let answered = Answered::new("", output, reading, &gold);
        assert_eq!(
            answered.parsed(),
            case["parsed"].as_str().unwrap(),
            "{case}"
        );
        let found = Metric::ExactMatch.score(&answered).unwrap();
        assert_golden(found.compat, &case, "exact_match", &case);
        assert!(found.strict <= found.compat, "{case}");
    }
}

#[test]
fn strict_reads_the_letter_before_articles_go() {
    let of = |metric: Metric, output: &str| {
        let gold = Gold::Choice {
            letter: 'A',
            text: "the lighthouse".to_owned(),
        };
        metric
            .score(&Answered::new("Answer:", output, Reading::ANSWER, &gold))
            .unwrap()
    };
    for (output, compat, strict) in [
        ("", 1.0, 0.0),
        (" The", 1.0, 0.0),
        (" A", 1.0, 1.0),
        (" (A)", 1.0, 1.0),
        (" B, or A. the lighthouse", 1.0, 0.0),
        (" It is A, surely", 0.0, 1.0),
        (" The lighthouse", 1.0, 1.0),
        (" B", 0.0, 0.0),
    ] {
        let found = of(Metric::ExactMatch, output);
        assert_eq!(found, ScorePair { compat, strict }, "{output:?}");
    }
    for (output, compat, strict) in [
        (" a. The Lighthouse!", 1.0, 1.0),
        (" A. the lighthouses", 1.0, 0.0),
        (" B\nA. the lighthouse", 1.0, 0.0),
        (" A", 0.0, 0.0),
    ] {
        let found = of(Metric::SubstringExactMatch, output);
        assert_eq!(found, ScorePair { compat, strict }, "{output:?}");
    }
}

#[test]
fn strict_is_at_most_compat_and_a_right_answer_is_right() {
    const PIECES: [&str; 12] = [
        "cat", "cats", "The", "a", "yes", "no", "1234567", "12345678", ".", "\n", "Answer:",
        "\u{301}",
    ];
    let mut rng = stream("scores of texts", &[]);
    let mut text = || -> String {
        let piece = |_| PIECES[usize::try_from(below(&mut rng, 12)).unwrap()];
        (0..4).map(piece).collect::<Vec<_>>().join(" ")
    };
    let metrics = [&CALCULATED[..], &[Metric::RulerRecall, Metric::RulerAny]].concat();
    for _ in 0..500 {
        let (output, answer) = (text(), text());
        let gold = Gold::answer(&answer);
        for reading in [Reading::Whole, Reading::ANSWER, Reading::FIRST_LINE] {
            let answered = Answered::new("", &output, reading, &gold);
            for metric in &metrics {
                let found = metric.score(&answered).unwrap();
                let range = 0.0..=1.0;
                assert!(range.contains(&found.compat) && range.contains(&found.strict));
                assert!(
                    found.strict <= found.compat,
                    "{metric:?} {output:?} {answer:?}"
                );
            }
        }
        let right = Answered::new("", &answer, Reading::Whole, &gold);
        for metric in [
            Metric::ExactMatch,
            Metric::SubstringExactMatch,
            Metric::RulerRecall,
        ] {
            let found = metric.score(&right).unwrap();
            assert_eq!(
                found.compat.to_bits(),
                1.0_f64.to_bits(),
                "{metric:?} {answer:?}"
            );
        }
        let found = Metric::ExactMatch.score(&right).unwrap();
        assert_eq!(found.strict.to_bits(), 1.0_f64.to_bits(), "{answer:?}");
    }
}
