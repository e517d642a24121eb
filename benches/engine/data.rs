//! The packer on text made here, and the loader on the rows it made.

use super::{Amount, Measured};
use prulong::config::data::StreamSpec;
use prulong::data::loader::{Loader, LoaderSettings};
use prulong::data::mds::writer::WriteOptions;
use prulong::data::pack::PackProgress;
use prulong::data::pack::run::{PackJob, pack};
use prulong::data::pack::settings::PackSettings;
use prulong::data::source::Source;
use prulong::data::source::text::{Text, TextSettings};
use prulong::data::tokenizer::Tokenizer;
use prulong::random;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Tokens of one row.
const ROW_LEN: u64 = 4096;
/// Parts of words; words recur, as in real text, so that a tokenizer's cache has something to do.
const SYLLABLES: [&str; 12] = [
    "ta", "re", "con", "in", "lo", "put", "er", "map", "key", "val", "st", "fn",
];

/// Says nothing to anybody.
struct Silent;

impl PackProgress for Silent {
    fn advance(&self, _: u64, _: u64) {}
}

/// Generated text, and what packs it.
struct Corpus {
    folder: tempfile::TempDir,
    tokenizer: Tokenizer,
    sources: Vec<Box<dyn Source>>,
    num_bytes: usize,
}

impl Corpus {
    /// # Panics
    /// If it cannot be written: this is a benchmark.
    fn new(quick: bool) -> Self {
        let num_documents = if quick { 4 } else { 400 };
        let tiny = Path::new(env!("CARGO_MANIFEST_DIR")).join("checkpoints/tiny");
        let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
        let texts = folder.path().join("texts");
        std::fs::create_dir(&texts).unwrap_or_else(|error| panic!("{error}"));
        let mut num_bytes = 0;
        for number in 0..num_documents {
            let text = document(number);
            num_bytes += text.len();
            std::fs::write(texts.join(format!("{number:04}.rs")), text)
                .unwrap_or_else(|error| panic!("{error}"));
        }
        let source = Text::scan(&texts, &TextSettings::default());
        Self {
            tokenizer: Tokenizer::from_file(&tiny).unwrap_or_else(|error| panic!("{error}")),
            sources: vec![Box::new(source.unwrap_or_else(|error| panic!("{error}")))],
            folder,
            num_bytes,
        }
    }

    /// Packs everything into a new folder; returns it and the tokens read.
    fn pack(&self, number: usize) -> (PathBuf, usize) {
        let target = self.folder.path().join(format!("packed-{number}"));
        let job = PackJob {
            sources: &self.sources,
            tokenizer: &self.tokenizer,
            settings: PackSettings::new(ROW_LEN),
            held_out: 0.0,
            max_documents: None,
            write: WriteOptions::default(),
        };
        let packed = pack(&job, &target, &Silent).unwrap_or_else(|error| panic!("{error}"));
        let tokens: u64 = packed.iter().map(|split| split.report.tokens_read).sum();
        (target, usize::try_from(tokens).unwrap_or(usize::MAX))
    }
}

/// Lines of words and numbers, 20 to 80 KB.
fn document(number: u64) -> String {
    let mut rng = random::stream("bench text", &[number]);
    let mut text = String::new();
    for line in 0..500 + random::below(&mut rng, 1500) {
        for _ in 0..=random::below(&mut rng, 8) {
            for _ in 0..=random::below(&mut rng, 3) {
                let part = random::below(&mut rng, SYLLABLES.len() as u64);
                text.push_str(SYLLABLES[usize::try_from(part).unwrap_or(0)]);
            }
            text.push(' ');
        }
        let _ = writeln!(text, "= {};", line * 31 % 1000);
    }
    text
}

/// Text to rows on disk: reading, tokenizing, packing, writing.
pub(crate) fn pack_text(quick: bool, repeat: usize) -> Measured {
    let corpus = Corpus::new(quick);
    let mut number = 0;
    Measured::new("pack".to_owned(), repeat, None, || {
        number += 1;
        let (folder, tokens) = corpus.pack(number);
        let _ = std::fs::remove_dir_all(folder);
        let bytes = Some(corpus.num_bytes);
        Amount { tokens, bytes }
    })
}

/// Rows on disk to micro-batches, one epoch in shuffled order.
///
/// # Panics
/// If the rows cannot be read: this is a benchmark.
pub(crate) fn load_rows(quick: bool, repeat: usize) -> Measured {
    let corpus = Corpus::new(quick);
    let (folder, _) = corpus.pack(0);
    let streams = [StreamSpec::parse(&folder.to_string_lossy())];
    Measured::new("load".to_owned(), repeat, None, || {
        let loader = Loader::open(&streams, &LoaderSettings::default());
        let mut loader = loader.unwrap_or_else(|error| panic!("{error}"));
        let rows = 0..loader.epoch_rows();
        let tokens = rows.map(|_| {
            let row = loader.next_row();
            row.unwrap_or_else(|error| panic!("{error}")).ids.len()
        });
        let tokens = tokens.sum();
        Amount {
            tokens,
            bytes: None,
        }
    })
}
