//! What simple models make of a text: bits per byte of a 5-gram model, gzip and zstd, to hold a language model's against.
//!
//! ```text
//! prulong score --model DIR --source crates --held-out 0.1 --max-bytes 1MB --dump code.txt
//! cargo run --release --example lm_baselines -- --train-source crates --train-source rust-books --held-out 0.1 \
//!     --max-bytes 67108864 --seed 1 --tokenizer DIR --test code.txt
//! ```
//!
//! The first command scores held-out documents with a model and writes their bytes; the second one measures the same bytes.
//! The n-gram model sees the tokens and the training text of `prulong pretrain` with the same `[corpus]` settings.

use clap::Parser;
use prulong::cli::amounts::{parse_bytes, parse_training_share};
use prulong::cli::output::{self, Output};
use prulong::cli::program;
use prulong::cli::sources::{SourceSpec, open_sources};
use prulong::data::error::DataError;
use prulong::data::generate::TokenCorpus;
use prulong::data::generate::corpus::MemoryCorpus;
use prulong::data::source::Source;
use prulong::data::source::select::{Selection, Split, select};
use prulong::data::source::text::read_utf8;
use prulong::data::tokenizer::Tokenizer;
use prulong::fault::{AnyFault, Coded, Kind};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[path = "lm_baselines/compress.rs"]
mod compress;
#[path = "lm_baselines/grams.rs"]
mod grams;
#[path = "lm_baselines/kneser_ney.rs"]
mod kneser_ney;

use kneser_ney::KneserNey;

/// Level of zstd.
const ZSTD_LEVEL: i32 = 19;

/// Bits per byte of an n-gram model, gzip and zstd on the bytes of test files.
///
/// The n-gram model is an interpolated modified Kneser-Ney model over the tokens of training documents that are not held
/// out. A test file is one text to it: every token is paid for, and it does not learn from the test. gzip -9 and zstd -19
/// compress the file alone; zstd is tried again with the training text to look back into (128 MiB at most).
#[derive(Debug, Parser)]
#[command(name = "lm_baselines", max_term_width = 100)]
pub(crate) struct Args {
    /// Training text: `crates`, `rust-books`, `text=PATH` or `text-dirs=PATH`; may be repeated.
    #[arg(long = "train-source", value_name = "SOURCE", required = true)]
    sources: Vec<SourceSpec>,

    /// Share of documents held out of training.
    #[arg(long, value_name = "SHARE", value_parser = parse_training_share)]
    held_out: f64,

    /// Most bytes of training text, e.g. `64MB` (powers of 1000), chosen as pretraining does.
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    max_bytes: u64,

    /// Seed of the choice of training documents.
    #[arg(long, value_name = "N")]
    seed: u64,

    /// `tokenizer.json`, or the folder that holds one.
    #[arg(long, value_name = "PATH")]
    tokenizer: PathBuf,

    /// A file of UTF-8 text to measure; may be repeated.
    #[arg(long = "test", value_name = "FILE", required = true)]
    tests: Vec<PathBuf>,

    /// Tokens that an n-gram spans.
    #[arg(long, value_name = "N", default_value_t = 5)]
    order: usize,

    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// What cannot be measured.
#[derive(Debug, thiserror::Error)]
enum BaselineError {
    /// n-grams that do not fit into an integer.
    #[error(
        "{order}-grams of a vocabulary of {vocab_size} do not fit into 128 bits, or have no token"
    )]
    Order {
        /// Tokens of an n-gram.
        order: usize,
        /// Size of the vocabulary.
        vocab_size: usize,
    },
    /// A compressor failed.
    #[error("cannot compress `{path}`")]
    Compress {
        /// The file.
        path: PathBuf,
        /// The encoder's answer.
        source: std::io::Error,
    },
}

impl Coded for BaselineError {
    fn code(&self) -> &'static str {
        match self {
            Self::Order { .. } => "baselines.order",
            Self::Compress { .. } => "baselines.compress",
        }
    }
    fn kind(&self) -> Kind {
        match self {
            Self::Compress { .. } => Kind::Environment,
            Self::Order { .. } => Kind::Input,
        }
    }
    fn hint(&self) -> Option<String> {
        matches!(self, Self::Order { .. }).then(|| "use --order 5".to_owned())
    }
}

/// What was found.
#[derive(Debug, serde::Serialize)]
pub(crate) struct Report {
    /// Training documents.
    pub(crate) num_documents: usize,
    /// Bytes of training text.
    pub(crate) num_bytes: u64,
    /// Tokens of training text.
    pub(crate) num_tokens: usize,
    /// Tokens that an n-gram spans.
    pub(crate) order: usize,
    /// Different n-grams of each order.
    pub(crate) num_grams: Vec<usize>,
    /// D1, D2, D3+ of each order.
    pub(crate) discounts: Vec<[f64; 3]>,
    /// Each test file.
    pub(crate) tests: Vec<Measured>,
}

/// One test file, in bits per byte.
#[derive(Debug, serde::Serialize)]
pub(crate) struct Measured {
    /// The file.
    pub(crate) file: PathBuf,
    /// blake3 of its bytes, hex.
    pub(crate) blake3: String,
    /// Its bytes.
    pub(crate) num_bytes: usize,
    /// Its tokens.
    pub(crate) num_tokens: usize,
    /// The n-gram model.
    pub(crate) ngram: f64,
    /// `gzip -9`.
    pub(crate) gzip: f64,
    /// `zstd -19`.
    pub(crate) zstd: f64,
    /// `zstd -19 --long=27` with the training text to look back into.
    pub(crate) zstd_after_training_text: f64,
}

/// Runs one command line and returns the process's exit code.
pub(crate) fn call(words: impl IntoIterator<Item = OsString>) -> u8 {
    program::call(words, |args: Args| print(&measure(&args)?, args.json))
}

fn main() -> ExitCode {
    ExitCode::from(call(std::env::args_os()))
}

/// Trains the n-gram model and measures every test file.
///
/// # Errors
/// If a source, the tokenizer or a test file is unusable.
pub(crate) fn measure(args: &Args) -> Result<Report, AnyFault> {
    let tokenizer = Tokenizer::from_file(&args.tokenizer)?;
    let texts = args
        .tests
        .iter()
        .map(|path| read_test(path))
        .collect::<Result<Vec<_>, _>>()?;
    let sources = open_sources(&args.sources)?;
    let selection = Selection {
        split: Split::Train,
        held_out_share: args.held_out,
        max_bytes: Some(args.max_bytes),
        seed: args.seed,
    };
    let corpus = MemoryCorpus::build(&sources, &selection, &tokenizer)?;
    let model = train(&corpus, args.order, &tokenizer)?;
    let known = training_text(&sources, &selection)?;
    let tests = args.tests.iter().zip(&texts).map(|(path, text)| {
        let losses = model.losses(&tokenizer.encode(text)?);
        measured(path, text, &losses, &known)
    });
    Ok(Report {
        num_documents: corpus.num_documents(),
        num_bytes: corpus.num_bytes(),
        num_tokens: corpus.num_tokens(),
        order: model.order(),
        num_grams: model.num_grams(),
        discounts: model.discounts(),
        tests: tests.collect::<Result<_, AnyFault>>()?,
    })
}

fn train(
    corpus: &MemoryCorpus,
    order: usize,
    tokenizer: &Tokenizer,
) -> Result<KneserNey, BaselineError> {
    let vocab_size = tokenizer.vocab_size();
    let documents = (0..corpus.num_documents()).map(|index| corpus.document(index));
    KneserNey::train(documents, order, tokenizer.bos(), vocab_size)
        .ok_or(BaselineError::Order { order, vocab_size })
}

fn training_text(sources: &[Box<dyn Source>], selection: &Selection) -> Result<Vec<u8>, DataError> {
    let mut text = Vec::new();
    for document in select(sources, selection) {
        text.extend_from_slice(document.read()?.text.as_bytes());
    }
    Ok(text)
}

fn read_test(path: &Path) -> Result<String, DataError> {
    let text = read_utf8(path)?;
    if text.is_empty() {
        return Err(DataError::Empty {
            path: path.to_path_buf(),
            reason: "the file is empty".to_owned(),
        });
    }
    Ok(text)
}

#[expect(clippy::cast_precision_loss, reason = "no text here has 2^52 bytes")]
fn measured(path: &Path, text: &str, losses: &[f64], known: &[u8]) -> Result<Measured, AnyFault> {
    let bytes = text.as_bytes();
    let per_byte = |bits: f64| bits / bytes.len() as f64;
    let packed = |found: std::io::Result<u64>| {
        found
            .map(|size| per_byte(8.0 * size as f64))
            .map_err(|source| BaselineError::Compress {
                path: path.to_path_buf(),
                source,
            })
    };
    Ok(Measured {
        file: path.to_path_buf(),
        blake3: blake3::hash(bytes).to_hex().to_string(),
        num_bytes: bytes.len(),
        num_tokens: losses.len(),
        ngram: per_byte(losses.iter().sum::<f64>() / std::f64::consts::LN_2),
        gzip: packed(compress::gzip_bytes(bytes))?,
        zstd: packed(compress::zstd_bytes(bytes, ZSTD_LEVEL))?,
        zstd_after_training_text: packed(compress::zstd_bytes_after(known, bytes, ZSTD_LEVEL))?,
    })
}

fn print(report: &Report, as_json: bool) -> Result<(), AnyFault> {
    if as_json {
        return Ok(output::json(report)?);
    }
    let Report {
        num_documents,
        num_bytes,
        num_tokens,
        order,
        num_grams,
        ..
    } = report;
    let mut out = Output::stdout();
    out.line(format!(
        "trained on {num_documents} documents, {num_bytes} bytes, {num_tokens} tokens; n-grams of 1 to {order} tokens: {num_grams:?}"
    ))?;
    let name = format!("{order}-gram");
    out.line(format!(
        "bits/byte: {name:>8} {:>8} {:>8} {:>8}      bytes  file",
        "gzip -9", "zstd -19", "+known"
    ))?;
    for test in &report.tests {
        out.line(format!(
            "           {:>8.4} {:>8.4} {:>8.4} {:>8.4} {:>10}  {}",
            test.ngram,
            test.gzip,
            test.zstd,
            test.zstd_after_training_text,
            test.num_bytes,
            test.file.display()
        ))?;
    }
    out.line("+known: zstd with the training text to look back into")?;
    out.finish()?;
    Ok(())
}
