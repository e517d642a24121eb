//! `examples/lm_baselines.rs`: one report for several files; held-out documents teach it nothing; bad input is refused.

use crate::lm_baselines::{Args, Report, call, measure};
use clap::Parser;
use prulong::data::source::is_held_out;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

const TOKENIZER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/checkpoints/tiny");

/// Forty documents, each of lines of its own.
fn corpus(root: &Path) -> PathBuf {
    let folder = root.join("corpus");
    std::fs::create_dir(&folder).unwrap();
    for i in 0..40 {
        let line = format!(
            "pub fn number_{i}(x: u32) -> u32 {{ x * {i} + {} }}\n",
            i * i
        );
        std::fs::write(folder.join(format!("{i}.rs")), line.repeat(20)).unwrap();
    }
    folder
}

fn words(corpus: &Path, tests: &[&Path], more: &[&str]) -> Vec<OsString> {
    let source = format!("text={}", corpus.display());
    let fixed = [
        "lm_baselines",
        "--train-source",
        &source,
        "--held-out",
        "0.3",
        "--max-bytes",
        "1MB",
        "--seed",
        "1",
        "--tokenizer",
        TOKENIZER,
    ];
    let mut words: Vec<OsString> = fixed.iter().chain(more).map(OsString::from).collect();
    for test in tests {
        words.extend(["--test".into(), (*test).into()]);
    }
    words
}

#[test]
fn training_documents_are_known_and_held_out_ones_are_not() {
    let root = tempfile::tempdir().unwrap();
    let corpus = corpus(root.path());
    let first = |held_out: bool| {
        let name = (0..40).map(|i| format!("{i}.rs"));
        let mut names = name.filter(|name| is_held_out(name, 0.3) == held_out);
        corpus.join(names.next().unwrap())
    };
    let (seen, unseen) = (first(false), first(true));
    let args = Args::parse_from(words(&corpus, &[&seen, &unseen], &[]));
    let report: Report = measure(&args).unwrap();
    assert_eq!(report.num_grams.len(), 5);
    assert!(report.num_documents < 40 && report.num_documents > 20);
    let [seen, unseen] = &report.tests[..] else {
        panic!("{:?}", report.tests);
    };
    assert_eq!(seen.num_bytes, std::fs::read(&seen.file).unwrap().len());
    assert!(seen.ngram < 0.7 * unseen.ngram, "{seen:?} {unseen:?}");
    for test in [seen, unseen] {
        assert!(test.zstd_after_training_text < test.zstd, "{test:?}");
        assert!(test.gzip < 8.0 && test.ngram > 0.0, "{test:?}");
    }
}

#[test]
fn bad_input_ends_with_two() {
    let root = tempfile::tempdir().unwrap();
    let corpus = corpus(root.path());
    let file = |name: &str, bytes: &[u8]| {
        let path = root.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let (empty, binary, text) = (file("e", b""), file("b", b"\xff"), file("t", b"text"));
    let code = |test: &Path, more: &[&str]| call(words(&corpus, &[test], more));
    assert_eq!(code(&empty, &[]), 2);
    assert_eq!(code(&binary, &[]), 2);
    assert_eq!(code(&text, &["--order", "99"]), 2);
    assert_eq!(code(&text, &["--order", "0"]), 2);
    assert_eq!(code(&root.path().join("none"), &[]), 2);
    assert_eq!(code(&text, &["--json"]), 0);
}
