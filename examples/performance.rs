//! What was measured, as tables: README's performance section from `benches/results/`, and one table of a `make bench`.
//!
//! ```text
//! cargo run --example performance -- readme [--write]     the tables between the markers of README.md
//! cargo run --example performance -- table FILE           ours, roofline share and stored ratio to peers, a line per case
//! ```

use clap::Parser;
use prulong::cli::{output, program};
use prulong::fault::{AnyFault, Coded, Kind};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[path = "performance/attention.rs"]
pub(crate) mod attention;
#[path = "performance/readme.rs"]
pub(crate) mod readme;
#[path = "performance/results.rs"]
pub(crate) mod results;
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
    /// Print the tables that stand between the markers of README.md.
    Readme {
        /// Put them there instead.
        #[arg(long)]
        write: bool,

        /// The file.
        #[arg(long, value_name = "FILE", default_value = "README.md")]
        readme: PathBuf,
    },
    /// Print one table of what `cargo bench --bench engine` printed.
    Table {
        /// A JSON object per line.
        file: PathBuf,
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
            Self::Markers { .. } => "performance.markers",
        }
    }
    fn kind(&self) -> Kind {
        match self {
            Self::Io { .. } => Kind::Storage,
            Self::Json { .. } | Self::Markers { .. } => Kind::Input,
        }
    }
}

impl TableError {
    /// Wraps the operating system's answer about `path`.
    pub(crate) fn io(path: &Path, source: std::io::Error) -> Self {
        let path = path.to_path_buf();
        Self::Io { path, source }
    }
}

/// Runs one command line and returns the process's exit code.
pub(crate) fn call(words: impl IntoIterator<Item = OsString>) -> u8 {
    program::call(words, run)
}

fn run(args: Args) -> Result<(), AnyFault> {
    let stored = results::load(&args.results)?;
    match args.action {
        Action::Readme { write: false, .. } => output::line(readme::tables(&stored))?,
        Action::Readme {
            write: true,
            readme: path,
        } => {
            let text =
                std::fs::read_to_string(&path).map_err(|error| TableError::io(&path, error))?;
            let text = readme::replaced(&path, &text, &stored)?;
            std::fs::write(&path, text).map_err(|error| TableError::io(&path, error))?;
        }
        Action::Table { file } => output::line(table::table(&results::cases(&file)?, &stored))?,
    }
    Ok(())
}

fn main() -> ExitCode {
    ExitCode::from(call(std::env::args_os()))
}
