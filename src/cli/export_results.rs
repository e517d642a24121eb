//! `prulong export-results`.

use super::output;
use super::publish::{self, Overwrite, Product};
use crate::eval::error::EvalError;
use crate::eval::export::layout::Layout;
use crate::eval::results::FILE_NAME;
use crate::eval::saved_run;
use crate::fault::AnyFault;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Write a finished evaluation in the layout of another harness.
///
/// Reads what `prulong eval --run-dir` wrote, and writes files that HELMET's plots, lm-evaluation-harness's tables or kvpress's
/// leaderboard read. Every method and chunk length is a run of its own there. Repeating it does nothing; other content is never
/// overwritten without `--force`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Run folder of a finished evaluation.
    #[arg(value_name = "RUN")]
    run: PathBuf,

    /// Whose layout.
    #[arg(long, value_name = "LAYOUT", value_parser = parser())]
    to: Layout,

    /// Folder to write.
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,

    /// Replace files of other content.
    #[arg(long)]
    force: bool,
}

fn parser() -> impl TypedValueParser<Value = Layout> {
    let values = Layout::ALL.map(|layout| PossibleValue::new(layout.name()).help(layout.about()));
    PossibleValuesParser::new(values).try_map(|name| {
        let mut layouts = Layout::ALL.into_iter();
        layouts
            .find(|layout| layout.name() == name)
            .ok_or("it is not registered")
    })
}

/// Writes the files and prints their paths.
///
/// # Errors
/// What is wrong with the run folder; a file of other content that is there already; a failed write.
pub fn run(args: Args) -> Result<(), AnyFault> {
    let results = saved_run::read(&args.run)?;
    let files = args
        .to
        .files(&results, written_s(&args.run.join(FILE_NAME))?);
    let overwrite = Overwrite::if_asked(args.force);
    publish::check(&args.output, &files, overwrite, Product::Results)?;
    publish::write(&args.output, &files)?;
    let mut out = output::Output::stdout();
    for file in files {
        out.line(args.output.join(file.name).display())?;
    }
    out.finish()?;
    Ok(())
}

/// When `path` was last written, in seconds since 1970.
fn written_s(path: &Path) -> Result<u64, EvalError> {
    let time = path.metadata().and_then(|metadata| metadata.modified());
    let time = time.map_err(EvalError::file("read", path))?;
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    Ok(since.map_or(0, |since| since.as_secs()))
}
