//! Whole files: groups, means and comparisons.

use super::*;
use crate::eval::item_result::ItemResult;
use crate::eval::item_result::samples::{failed, result};
use crate::fault::{Coded, Kind};
use std::path::PathBuf;

/// A file of `lines` in a folder that lives as long as the first part.
fn written(lines: &[String]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("predictions.jsonl");
    std::fs::write(&path, lines.join("\n")).unwrap();
    (folder, path)
}

fn of(lines: &[String], metrics: &[Metric]) -> Result<Report, RescoreError> {
    let (folder, _) = written(lines);
    report(&mut Lines::open(folder.path())?, metrics, None)
}

fn foreign(output: &str, answers: &str) -> String {
    format!(r#"{{"output": "{output}", "answers": {answers}}}"#)
}

/// A prediction that says `output` where `c` is right, with `compat` as its stored exact match.
fn prediction(method: &str, id: &str, output: &str, compat: f64) -> String {
    let pair = ScorePair {
        compat,
        strict: compat,
    };
    let prediction = ItemResult {
        method: method.to_owned(),
        output: output.to_owned(),
        scores: Scores::from([(Metric::ExactMatch, pair)]),
        ..result(id)
    };
    serde_json::to_string(&prediction).unwrap()
}

#[test]
fn lines_without_a_task_have_one_mean() {
    let lines = [
        foreign("1234567", r#""1234567""#),
        String::new(),
        foreign("12345678", r#"["1234567", "x"]"#),
    ];
    let report = of(&lines, &[Metric::SubstringExactMatch]).unwrap();
    let [group] = &report.groups[..] else {
        panic!("{report:?}");
    };
    assert_eq!((&group.of, group.num_items), (&None, 2));
    let mean = group.scores[&Metric::SubstringExactMatch];
    assert!((mean.compat.mean - 1.0).abs() < 1e-12);
    assert!((mean.strict.mean - 0.5).abs() < 1e-12);
    assert_eq!((mean.num_items, report.num_compared), (2, 0));
    report.judge().unwrap();
}

#[test]
fn methods_have_means_of_their_own_and_stored_scores_are_checked() {
    let mut lines = vec![
        prediction("full", "1", "c", 1.0),
        prediction("mask", "1", "x", 0.0),
        prediction("full", "2", "C.", 1.0),
        serde_json::to_string(&failed("3")).unwrap(),
    ];
    let report = of(&lines, &[]).unwrap();
    report.judge().unwrap();
    assert_eq!(report.num_compared, 3);
    let [full, mask] = &report.groups[..] else {
        panic!("{report:?}");
    };
    assert_eq!((full.num_items, full.num_failed), (2, 1));
    assert_eq!(full.of.as_ref().unwrap().method, "full");
    assert!((full.scores[&Metric::ExactMatch].strict.mean - 1.0).abs() < 1e-12);
    assert!(mask.scores[&Metric::ExactMatch].strict.mean.abs() < 1e-12);

    lines.push(prediction("mask", "2", "x", 1.0));
    let error = of(&lines, &[]).unwrap().judge().unwrap_err();
    assert_eq!(
        (error.code(), error.kind()),
        ("rescore.differ", Kind::Answer)
    );
    let text = error.to_string();
    assert!(
        text.contains("1 of 4") && text.contains("predictions.jsonl:5: exact_match"),
        "{text}"
    );
    let other = of(&lines, &[Metric::F1]).unwrap();
    assert_eq!(other.num_compared, 0);
    other.judge().unwrap();
}

#[test]
fn errors_name_file_and_line() {
    let good = foreign("a", r#""b""#);
    for (lines, part) in [
        (
            vec![good.clone(), String::new(), "{".to_owned()],
            ".jsonl:3: cut off JSON",
        ),
        (vec![good.clone(), foreign("a", "[]")], ".jsonl:2: its list"),
        (
            vec![prediction("full", "1", "c", 1.0); 2],
            ".jsonl:2: line 1 holds the same item",
        ),
        (vec![], "holds no answers"),
    ] {
        let error = of(&lines, &[]).unwrap_err();
        assert_eq!(error.kind(), Kind::Input);
        assert!(error.to_string().contains(part), "{error}");
    }
    let error = of(&[good], &[Metric::RowF1]).unwrap_err();
    assert!(
        error.to_string().contains(".jsonl:1: `row_f1` cannot"),
        "{error}"
    );
    let (folder, path) = written(&[]);
    std::fs::remove_file(path).unwrap();
    let code = |path| Lines::open(path).unwrap_err().code();
    assert_eq!(code(folder.path()), "rescore.no_predictions");
    assert_eq!(
        code(&folder.path().join("none.jsonl")),
        "rescore.unreadable"
    );
}
