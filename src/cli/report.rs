//! `prulong report`.

use super::new_file::write_new;
use super::output;
use crate::eval::critical::study::{KEEP, Study};
use crate::eval::report::page::page;
use crate::eval::run_folder::write_report;
use crate::eval::saved_run;
use crate::fault::AnyFault;
use std::path::PathBuf;

/// Turn a finished evaluation into one page for a browser.
///
/// Reads what `prulong eval --run-dir` wrote, which has such a page already: this writes it again. The page is one file that
/// needs no network and no script: score over KV footprint with every critical footprint and its interval, memory over time,
/// score by length and depth, masks, all results and the run card; every figure has its numbers below it. The same results
/// give the same bytes.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Run folder of a finished evaluation.
    #[arg(value_name = "RUN")]
    run: PathBuf,

    /// Where to write, instead of `report.html` in the run folder; another file that is there already is left alone.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Writes the page and prints its path.
///
/// # Errors
/// What is wrong with the run folder, or if the file cannot be written.
pub fn run(args: Args) -> Result<(), AnyFault> {
    let results = saved_run::read(&args.run)?;
    let html = page(&results, &Study::of(&results, KEEP)?);
    let path = match args.output {
        Some(path) => {
            write_new(&path, html.as_bytes())?;
            path
        }
        None => write_report(&args.run, &html)?,
    };
    output::line(path.display())?;
    Ok(())
}
