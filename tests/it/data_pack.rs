//! Packing real text: tokens conserved, equal bytes for any number of threads, splits, manifests, and refusals.

use crate::mds_reader::open;
use prulong::config::instruct_mask::InstructMask;
use prulong::data::collate::{CollateSettings, collate};
use prulong::data::manifest;
use prulong::data::mds::writer::WriteOptions;
use prulong::data::pack::PackProgress;
use prulong::data::pack::error::PackError;
use prulong::data::pack::run::{PackJob, Packed, pack, thread_pool};
use prulong::data::pack::settings::{PackMode, PackSettings};
use prulong::data::rows::{RowNeeds, read_row};
use prulong::data::source::text::{Text, TextSettings};
use prulong::data::source::{Source, is_held_out};
use prulong::data::tokenizer::Tokenizer;
use prulong::data::tokenizer::train::train_bpe;
use prulong::fault::Coded;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts what it is told.
#[derive(Default)]
struct Counter {
    bytes: AtomicU64,
    tokens: AtomicU64,
}

impl PackProgress for Counter {
    fn advance(&self, bytes: u64, tokens: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.tokens.fetch_add(tokens, Ordering::Relaxed);
    }
}

/// A folder of texts of very different lengths, and a tokenizer for them.
struct Corpus {
    folder: tempfile::TempDir,
    tokenizer: Tokenizer,
    sources: Vec<Box<dyn Source>>,
}

impl Corpus {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let texts = folder.path().join("texts");
        std::fs::create_dir(&texts).unwrap();
        for number in 0..60_usize {
            let lines = (number * number * 7) % 211 + 1;
            let text: Vec<String> = (0..lines)
                .map(|line| format!("let value_{number} = compute({line}, {});\n", line * number))
                .collect();
            std::fs::write(texts.join(format!("doc-{number:02}.rs")), text.concat()).unwrap();
        }
        let sample = "let value_12 = compute(34, 5678);\n".repeat(20);
        let json = train_bpe([sample].into_iter(), 264).unwrap();
        std::fs::write(folder.path().join("tokenizer.json"), json).unwrap();
        Self {
            tokenizer: Tokenizer::from_file(folder.path()).unwrap(),
            sources: vec![Box::new(
                Text::scan(&texts, &TextSettings::default()).unwrap(),
            )],
            folder,
        }
    }

    fn job(&self, settings: PackSettings) -> PackJob<'_> {
        PackJob {
            sources: &self.sources,
            tokenizer: &self.tokenizer,
            settings,
            held_out: 0.0,
            max_documents: None,
            write: WriteOptions {
                size_limit: Some(20_000),
                ..WriteOptions::default()
            },
        }
    }

    fn target(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

fn run(job: &PackJob<'_>, target: &Path) -> Result<Vec<Packed>, PackError> {
    pack(job, target, &Counter::default())
}

fn small() -> PackSettings {
    PackSettings {
        min_doc: 40,
        max_rows_per_doc: 3,
        ..PackSettings::new(512)
    }
}

/// Every file below `dir` and its bytes.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.insert(path.clone(), std::fs::read(&path).unwrap());
        }
    }
    found
}

#[test]
fn rows_hold_documents_of_the_source_between_begin_and_end_tokens() {
    let corpus = Corpus::new();
    let target = corpus.target("packed");
    let progress = Counter::default();
    let packed = pack(&corpus.job(small()), &target, &progress).unwrap();
    let report = &packed[0].report;
    let dataset = open(&target).unwrap();
    assert_eq!(dataset.num_rows(), report.rows.total);
    assert!(
        report.rows.full > 10 && report.rows.best_fit > 2,
        "{report:?}"
    );
    assert!(report.dropped.contains_key("short") && report.dropped.contains_key("capped"));
    assert_eq!(report.tokens_read, progress.tokens.into_inner());
    assert_eq!(report.bytes_read, progress.bytes.into_inner());
    let texts: String = (0..corpus.sources[0].num_documents())
        .map(|index| corpus.sources[0].read(index).unwrap().text + "\u{0}")
        .collect();
    let (bos, eos) = (
        i64::from(corpus.tokenizer.bos()),
        i64::from(corpus.tokenizer.eos()),
    );
    let mut num_spanned = 0;
    for row in 0..dataset.num_rows() {
        let needs = RowNeeds {
            vocab_size: Some(264),
            instruct_mask: InstructMask::Ignored,
        };
        let row = read_row(&dataset, row, needs).unwrap();
        assert_eq!(row.ids.len(), 512);
        assert_eq!(row.domain.as_deref(), Some("text"));
        for span in &row.spans {
            let ids = &row.ids[span.clone()];
            assert_eq!(ids[0], bos);
            let inner: Vec<u32> = ids[1..]
                .iter()
                .filter(|id| **id != eos)
                .map(|id| u32::try_from(*id).unwrap())
                .collect();
            assert!(texts.contains(&corpus.tokenizer.decode(&inner).unwrap()));
            num_spanned += span.len() as u64;
        }
        let end = row.spans.last().unwrap().end;
        assert!(row.ids[end..].iter().all(|id| *id == eos));
        assert_eq!(collate(&[row], CollateSettings::default()).num_clipped, 0);
    }
    assert_eq!(num_spanned, report.tokens_written);
}

#[test]
fn output_does_not_depend_on_threads_and_is_not_overwritten() {
    let corpus = Corpus::new();
    for mode in [PackMode::LongFirst, PackMode::LongOnly, PackMode::Concat] {
        let job = corpus.job(PackSettings { mode, ..small() });
        let packed = |threads: usize| {
            let target = corpus.target("same");
            thread_pool(Some(threads))
                .unwrap()
                .install(|| run(&job, &target))
                .unwrap();
            let files = files(&target);
            assert_eq!(run(&job, &target).unwrap_err().code(), "mds.exists");
            std::fs::remove_dir_all(&target).unwrap();
            files
        };
        let (one, eight) = (packed(1), packed(8));
        assert_eq!(
            one.keys().collect::<Vec<_>>(),
            eight.keys().collect::<Vec<_>>()
        );
        assert!(one == eight, "{mode:?}");
    }
}

#[test]
fn the_manifest_says_where_rows_come_from() {
    let corpus = Corpus::new();
    let target = corpus.target("packed");
    let packed = run(&corpus.job(small()), &target).unwrap();
    let manifest = manifest::load(&target).unwrap().unwrap();
    assert_eq!(manifest.head.report, packed[0].report);
    assert_eq!(manifest.head.settings, small());
    assert_eq!(manifest.head.tokenizer.vocab_size, 264);
    assert_eq!(manifest.documents.len(), 60);
    let tokens: u64 = manifest
        .documents
        .iter()
        .map(|document| document.tokens)
        .sum();
    assert_eq!(tokens, packed[0].report.tokens_read);
    let document = manifest
        .documents
        .iter()
        .find(|document| document.source.id == "doc-01.rs")
        .unwrap();
    let text = b"let value_1 = compute(0, 0);\n".len();
    assert!(document.source.files[0].bytes >= text as u64);
    let text = std::fs::read_to_string(target.join("manifest.json")).unwrap();
    assert!(!text.contains(corpus.folder.path().to_str().unwrap()));
}

#[test]
fn held_out_documents_go_to_val_only() {
    let corpus = Corpus::new();
    let target = corpus.target("packed");
    let job = PackJob {
        held_out: 0.3,
        ..corpus.job(small())
    };
    let packed = run(&job, &target).unwrap();
    assert_eq!(
        packed.iter().map(|p| p.split).collect::<Vec<_>>(),
        [Some("train"), Some("val")]
    );
    let mut ids = Vec::new();
    for (split, is_val) in [("train", false), ("val", true)] {
        open(&target.join(split)).unwrap().check_rows().unwrap();
        let manifest = manifest::load(&target.join(split)).unwrap().unwrap();
        assert_eq!(manifest.head.split.as_deref(), Some(split));
        for document in manifest.documents {
            assert_eq!(
                is_held_out(&document.source.id, 0.3),
                is_val,
                "{}",
                document.source.id
            );
            ids.push(document.source.id);
        }
    }
    assert_eq!(ids.len(), 60);
}

#[test]
fn nothing_to_pack_is_one_clear_error_and_leaves_nothing() {
    let corpus = Corpus::new();
    let check = |job: &PackJob<'_>, code: &str, hint: &str| {
        let target = corpus.target("none");
        let error = run(job, &target).unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert!(
            error.hint().unwrap_or_default().contains(hint),
            "{:?}",
            error.hint()
        );
        let left: Vec<_> = std::fs::read_dir(corpus.folder.path())
            .unwrap()
            .flatten()
            .collect();
        assert_eq!(left.len(), 2, "{left:?}");
    };
    let long_only = PackSettings {
        mode: PackMode::LongOnly,
        ..PackSettings::new(1 << 20)
    };
    check(&corpus.job(long_only), "pack.no_rows", "--row-len");
    let huge = PackSettings {
        min_doc: 1 << 30,
        ..small()
    };
    check(&corpus.job(huge), "pack.no_rows", "--min-doc");
    check(&corpus.job(PackSettings::new(4)), "pack.setting", "");
    let share = PackJob {
        held_out: 1.0,
        ..corpus.job(small())
    };
    check(&share, "pack.setting", "");
    let none = PackJob {
        max_documents: Some(0),
        ..corpus.job(small())
    };
    check(&none, "data.empty", "");
}

#[test]
fn the_row_length_named_by_the_error_works() {
    let corpus = Corpus::new();
    let settings = |row_len| PackSettings {
        mode: PackMode::LongOnly,
        ..PackSettings::new(row_len)
    };
    let target = corpus.target("rows");
    let error = run(&corpus.job(settings(1 << 20)), &target).unwrap_err();
    let PackError::NoRows {
        would_work: Some(row_len),
        ..
    } = error
    else {
        panic!("{error}")
    };
    let packed = run(&corpus.job(settings(row_len)), &target).unwrap();
    assert_eq!(packed[0].report.rows.full, 1);
}

#[test]
fn an_interrupted_run_can_be_started_again() {
    let corpus = Corpus::new();
    let partial = corpus.target(".packed.partial");
    std::fs::create_dir(&partial).unwrap();
    std::fs::write(partial.join("prulong-pack.lock"), "").unwrap();
    std::fs::write(partial.join("tokens"), "half").unwrap();
    std::fs::create_dir(partial.join("output")).unwrap();
    std::fs::write(partial.join("output").join("shard.00000.mds"), "half").unwrap();
    run(&corpus.job(small()), &corpus.target("packed")).unwrap();
    open(&corpus.target("packed"))
        .unwrap()
        .check_rows()
        .unwrap();
    assert!(!partial.exists());
}

#[test]
fn two_runs_into_one_target_exclude_each_other_and_strangers_are_safe() {
    let corpus = Corpus::new();
    let partial = corpus.target(".packed.partial");
    std::fs::create_dir(&partial).unwrap();
    let lock = std::fs::File::create(partial.join("prulong-pack.lock")).unwrap();
    lock.lock().unwrap();
    let error = run(&corpus.job(small()), &corpus.target("packed")).unwrap_err();
    assert_eq!(error.code(), "pack.busy");
    let stranger = corpus.target(".other.partial");
    std::fs::create_dir(&stranger).unwrap();
    std::fs::write(stranger.join("thesis.txt"), "mine").unwrap();
    let error = run(&corpus.job(small()), &corpus.target("other")).unwrap_err();
    assert_eq!(error.code(), "mds.exists");
    assert!(stranger.join("thesis.txt").exists());
}
