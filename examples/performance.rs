//! What was measured, stored and as tables: those of README.md and `kernels/README.md` from `benches/results/`, one of a `make bench`.
//!
//! ```text
//! cargo run --example performance -- readme [--write]     the tables between the markers of README.md and kernels/README.md
//! cargo run --example performance -- table FILE           ours, roofline share and ratio to peers, a line per case
//! cargo run --example performance -- store FILE           what `cargo bench --bench engine` printed, into benches/results/
//! ```

use chrono::{DateTime, Utc};
use clap::Parser;
use prulong::cli::{output, program};
use prulong::fault::{AnyFault, Coded, Kind};
use serde::de::DeserializeOwned;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[path = "performance/attention.rs"]
pub(crate) mod attention;
#[path = "performance/kernels.rs"]
pub(crate) mod kernels;
#[path = "performance/machine.rs"]
pub(crate) mod machine;
#[path = "performance/readme.rs"]
pub(crate) mod readme;
#[path = "performance/results.rs"]
pub(crate) mod results;
#[path = "performance/store.rs"]
pub(crate) mod store;
#[path = "performance/table.rs"]
pub(crate) mod table;

/// Tables of what was measured.
#[derive(Debug, Parser)]
#[command(name = "performance", max_term_width = 100)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,

    /// Folder of stored results.
    #[arg(
        long,
        value_name = "DIR",
        default_value = "benches/results",
        global = true
    )]
    results: PathBuf,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Print the tables that stand between the markers of README.md and of kernels/README.md.
    Readme {
        /// Put them there instead.
        #[arg(long)]
        write: bool,

        /// The file.
        #[arg(long, value_name = "FILE", default_value = "README.md")]
        readme: PathBuf,

        /// The file with the table of kernels.
        #[arg(long, value_name = "FILE", default_value = "kernels/README.md")]
        kernels: PathBuf,
    },
    /// Print one table of what `cargo bench --bench engine` printed.
    Table {
        /// A JSON object per line.
        file: PathBuf,
    },
    /// Add what `cargo bench --bench engine` printed to the stored results, as one run: at once, and from the same commit.
    Store {
        /// A JSON object per line.
        file: PathBuf,

        /// What printed it.
        #[arg(
            long,
            value_name = "COMMAND",
            default_value = "cargo bench --bench engine"
        )]
        command: String,
    },
}

/// Why there is no table.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TableError {
    /// A file cannot be read or written.
    #[error("cannot use `{path}`")]
    Io {
        /// The file.
        path: PathBuf,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// A file holds no results.
    #[error("`{path}` holds no results")]
    Json {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// A file is empty.
    #[error("`{path}` holds no case")]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// Lines that are older than the commit.
    #[error(
        "`{path}` was written before the commit `{commit}`: measure that, and store it at once"
    )]
    Stale {
        /// The file.
        path: PathBuf,
        /// The commit.
        commit: String,
    },
    /// Results that are stored already.
    #[error("`{path}` holds these results already")]
    Stored {
        /// The file.
        path: PathBuf,
    },
    /// A document without the two markers.
    #[error("`{path}` has no pair of markers `{begin}` and `{end}`")]
    Markers {
        /// The file.
        path: PathBuf,
        /// Before the tables.
        begin: &'static str,
        /// Behind them.
        end: &'static str,
    },
}

impl Coded for TableError {
    fn code(&self) -> &'static str {
        match self {
            Self::Io { .. } => "performance.io",
            Self::Json { .. } => "performance.json",
            Self::Empty { .. } => "performance.empty",
            Self::Stale { .. } => "performance.stale",
            Self::Stored { .. } => "performance.stored",
            Self::Markers { .. } => "performance.markers",
        }
    }
    fn kind(&self) -> Kind {
        match self {
            Self::Io { .. } => Kind::Storage,
            Self::Json { .. }
            | Self::Empty { .. }
            | Self::Stale { .. }
            | Self::Stored { .. }
            | Self::Markers { .. } => Kind::Input,
        }
    }
}

impl TableError {
    /// Wraps the operating system's answer about `path`.
    pub(crate) fn io(path: &Path, source: std::io::Error) -> Self {
        let path = path.to_path_buf();
        Self::Io { path, source }
    }

    /// Wraps what is wrong with the JSON of `path`.
    pub(crate) fn json(path: &Path, source: serde_json::Error) -> Self {
        let path = path.to_path_buf();
        Self::Json { path, source }
    }

    /// Reads `text`, a part of `path`, or says what is wrong with it.
    pub(crate) fn parse<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T, Self> {
        serde_json::from_str(text).map_err(|source| Self::json(path, source))
    }
}

/// Runs one command line and returns the process's exit code.
pub(crate) fn call(words: impl IntoIterator<Item = OsString>) -> u8 {
    program::call(words, run)
}

fn run(args: Args) -> Result<(), AnyFault> {
    let stored = || results::load(&args.results);
    match args.action {
        Action::Readme {
            write,
            readme: path,
            kernels: kernels_path,
        } => {
            let stored = stored()?;
            for (path, tables) in [
                (&path, readme::tables(&stored)),
                (&kernels_path, kernels::table(&stored.kernels)),
            ] {
                if write {
                    rewrite(path, &tables)?;
                } else {
                    output::line(tables)?;
                }
            }
        }
        Action::Table { file } => output::line(table::table(&results::cases(&file)?, &stored()?))?,
        Action::Store { file, command } => {
            for path in store_all(&file, &command, &args.results)? {
                output::line(path.display())?;
            }
        }
    }
    Ok(())
}

/// Puts `tables` between the markers of the file `path`.
fn rewrite(path: &Path, tables: &str) -> Result<(), TableError> {
    let text = std::fs::read_to_string(path).map_err(|error| TableError::io(path, error))?;
    let text = readme::replaced(path, &text, tables)?;
    std::fs::write(path, text).map_err(|error| TableError::io(path, error))
}

/// Stores the lines of `file` in `folder`; returns the files that got some.
fn store_all(file: &Path, command: &str, folder: &Path) -> Result<Vec<PathBuf>, TableError> {
    let lines = std::fs::read_to_string(file).map_err(|error| TableError::io(file, error))?;
    let written = file.metadata().and_then(|metadata| metadata.modified());
    let written = written.map_err(|error| TableError::io(file, error))?;
    let source = machine::Source::of(folder);
    source.check(file, written)?;
    let run = store::Run {
        source: &source,
        command,
        date: DateTime::<Utc>::from(written).format("%F").to_string(),
        processor: &machine::Processor::here(),
    };
    run.store((file, &lines), folder)
}

fn main() -> ExitCode {
    ExitCode::from(call(std::env::args_os()))
}
