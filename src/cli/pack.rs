//! `prulong pack`.

use crate::cli::amounts::parse_word;
use crate::cli::output;
use crate::cli::pack_generated::{GenerateArgs, Made};
use crate::cli::sources::{SourceSpec, open_sources};
use crate::data::mds::writer::WriteOptions;
use crate::data::pack::PackProgress;
use crate::data::pack::run::{PackJob, Packed, documents, pack, thread_pool};
use crate::data::pack::settings::{BosMode, PackMode, PackSettings};
use crate::data::source::held_out::DEFAULT_SHARE;
use crate::data::source::select::{Selected, Split};
use crate::data::tokenizer::Tokenizer;
use crate::fault::AnyFault;
use indicatif::{ProgressBar, ProgressStyle};
use std::fmt::Write;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Pack text into rows of a fixed length for training.
///
/// Long documents fill rows of their own, short ones share rows; every row says where its documents begin and end. The
/// result is an MDS dataset with a manifest, readable by Python's `streaming` too; with `--held-out` above 0, one in
/// `train/` and one in `val/`. With `--generate`, rows of documents made by rules, and one dataset.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Corpus: `crates`, `rust-books`, `text=PATH` or `text-dirs=PATH`; may be repeated.
    #[arg(
        long = "source",
        value_name = "SOURCE",
        required_unless_present = "kinds"
    )]
    sources: Vec<SourceSpec>,

    /// `tokenizer.json`, or the folder that holds one.
    #[arg(long, value_name = "PATH")]
    tokenizer: PathBuf,

    /// Tokens per row.
    #[arg(long, value_name = "N")]
    row_len: u64,

    /// New folder of the dataset.
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,

    /// What rows are made of: `long-first`, `long-only` or `concat`.
    #[arg(long, value_name = "MODE", default_value = "long-first", value_parser = parse_word::<PackMode>)]
    mode: PackMode,

    /// Documents, and remainders of long ones, below this many tokens are dropped.
    #[arg(long, value_name = "N", default_value_t = 256)]
    min_doc: u64,

    /// Rows that one document may fill.
    #[arg(long, value_name = "N", default_value_t = 16)]
    max_rows_per_doc: u64,

    /// Where a begin token stands: at every `span`, at every `document`, or `none`.
    #[arg(long, value_name = "WHERE", default_value = "span", value_parser = parse_word::<BosMode>)]
    bos: BosMode,

    /// Rows of short documents with a smaller share of real tokens are dropped.
    #[arg(long, value_name = "SHARE", default_value_t = 0.5)]
    min_fill: f64,

    /// Share of documents that go to `val/`; 0 for one dataset without splits.
    #[arg(long, value_name = "SHARE", default_value_t = DEFAULT_SHARE)]
    held_out: f64,

    /// Order of rows, and of equally long documents.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,

    /// Most documents of each split, chosen by a hash of their names.
    #[arg(long, value_name = "N")]
    max_documents: Option<usize>,

    /// Compress shards: `zstd` or `zstd:LEVEL`.
    #[arg(long, value_name = "CODEC", value_parser = parse_codec)]
    compress: Option<i32>,

    /// Threads [default: all cores].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,

    /// Print the report as JSON.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    generate: GenerateArgs,
}

/// Packs the corpora and prints what became of every token.
///
/// # Errors
/// A corpus that is missing or empty, a target that exists, settings from which no row results.
pub fn run(args: Args) -> Result<(), AnyFault> {
    let sources = open_sources(&args.sources)?;
    let tokenizer = Tokenizer::from_file(&args.tokenizer)?;
    let write = WriteOptions {
        zstd_level: args.compress,
        ..WriteOptions::default()
    };
    let pool = thread_pool(args.threads.map(usize::from))?;
    if !args.generate.kinds.is_empty() {
        let made = Made {
            sources: &sources,
            tokenizer,
            row_len: args.row_len,
            held_out: args.held_out,
            seed: args.seed,
            write,
        };
        let report = pool.install(|| args.generate.run(made, &args.output))?;
        let split = None;
        return print(&args, &[Packed { split, report }]);
    }
    let settings = PackSettings {
        mode: args.mode,
        min_doc: args.min_doc,
        max_rows_per_doc: args.max_rows_per_doc,
        bos: args.bos,
        min_fill: args.min_fill,
        seed: args.seed,
        ..PackSettings::new(args.row_len)
    };
    let job = PackJob {
        sources: &sources,
        tokenizer: &tokenizer,
        settings,
        held_out: args.held_out,
        max_documents: args.max_documents,
        write,
    };
    let bar = Bar::new(total_bytes(&job));
    let packed = pool.install(|| pack(&job, &args.output, &bar))?;
    bar.finish();
    print(&args, &packed)
}

fn print(args: &Args, packed: &[Packed]) -> Result<(), AnyFault> {
    if args.json {
        output::json(&packed)?;
    } else {
        output::line(report(&args.output, packed))?;
    }
    Ok(())
}

/// Approximate bytes of all documents of the job, both splits.
fn total_bytes(job: &PackJob<'_>) -> u64 {
    let held_out = if job.held_out > 0.0 {
        documents(job, Split::HeldOut)
    } else {
        Vec::new()
    };
    documents(job, Split::Train)
        .iter()
        .chain(&held_out)
        .map(Selected::bytes)
        .sum()
}

/// MB/s and tokens/s on a terminal, nothing elsewhere.
struct Bar {
    bar: ProgressBar,
    tokens: AtomicU64,
    started: Instant,
}

impl Bar {
    fn new(bytes: u64) -> Self {
        let bar = if std::io::stderr().is_terminal() {
            ProgressBar::new(bytes)
        } else {
            ProgressBar::hidden()
        };
        let template = "{bar:40} {bytes}/{total_bytes} {bytes_per_sec} {msg} ETA {eta}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self {
            bar,
            tokens: AtomicU64::new(0),
            started: Instant::now(),
        }
    }

    fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl PackProgress for Bar {
    #[expect(clippy::cast_precision_loss, reason = "shown, not computed with")]
    fn advance(&self, bytes: u64, tokens: u64) {
        let tokens = self.tokens.fetch_add(tokens, Ordering::Relaxed) + tokens;
        let rate = tokens as f64 / self.started.elapsed().as_secs_f64().max(1e-9);
        self.bar.set_message(format!("{rate:.0} tokens/s"));
        self.bar.inc(bytes);
    }
}

/// The report for people: rows, tokens, and everything that was dropped.
fn report(target: &Path, packed: &[Packed]) -> String {
    let mut text = String::new();
    for part in packed {
        let report = &part.report;
        let folder = part
            .split
            .map_or_else(|| target.to_path_buf(), |split| target.join(split));
        if report.rows.generated > 0 {
            let _ = writeln!(
                text,
                "{}: {} rows of one generated document each, {} tokens, {:.1} % padding",
                folder.display(),
                report.rows.generated,
                report.tokens_written,
                100.0 * report.padding_share,
            );
            continue;
        }
        let _ = writeln!(
            text,
            "{}: {} rows ({} full, {} of short documents), {} documents of {}, {} tokens, {:.1} % padding",
            folder.display(),
            report.rows.total,
            report.rows.full,
            report.rows.best_fit,
            report.documents_kept,
            report.documents_read,
            report.tokens_written,
            100.0 * report.padding_share,
        );
        for (reason, dropped) in &report.dropped {
            let _ = writeln!(
                text,
                "  dropped, {reason}: {} tokens of {} documents",
                dropped.tokens, dropped.documents
            );
        }
        for (source, reasons) in &report.dropped_files {
            let reasons: Vec<String> = reasons
                .iter()
                .map(|(reason, count)| format!("{count} by {reason}"))
                .collect();
            let _ = writeln!(text, "  left out of {source}: {}", reasons.join(", "));
        }
    }
    text.truncate(text.trim_end().len());
    text
}

/// Parses `zstd` or `zstd:LEVEL`.
fn parse_codec(text: &str) -> Result<i32, String> {
    match text.split_once(':') {
        None if text == "zstd" => Ok(3),
        Some(("zstd", level)) => level
            .parse()
            .ok()
            .filter(|level| (1..=22).contains(level))
            .ok_or_else(|| format!("`{level}` is no level from 1 to 22")),
        _ => Err("expected `zstd` or `zstd:LEVEL`".to_owned()),
    }
}
