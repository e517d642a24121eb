//! `prulong critical`.

use super::amounts::parse_share;
use super::output::{self, Output};
use crate::eval::critical::lines::lines;
use crate::eval::critical::study::{KEEP, Study};
use crate::eval::saved_run;
use crate::fault::AnyFault;
use std::path::PathBuf;

/// Find the least KV footprint that keeps a share of full attention's score.
///
/// Reads what `prulong eval --run-dir` wrote. Methods that differ only in how much they keep are a curve of score over
/// footprint; its critical footprint is where it crosses the share of full attention's score, interpolated between the points
/// tried, from the smallest footprint that still reaches it. Intervals come of drawing items again, the same ones for every
/// method. A curve that falls below the line and recovers is marked with `~`, and its stricter figure printed too.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Run folder of a finished evaluation.
    #[arg(value_name = "RUN")]
    run: PathBuf,

    /// Share of full attention's score to be kept.
    #[arg(long, value_name = "SHARE", default_value_t = KEEP, value_parser = parse_share)]
    keep: f64,

    /// Print every curve with its points as one JSON object.
    #[arg(long)]
    json: bool,
}

/// Prints a table of methods and tasks.
///
/// # Errors
/// What is wrong with the run folder.
pub fn run(args: Args) -> Result<(), AnyFault> {
    let results = saved_run::read(&args.run)?;
    let study = Study::of(&results, args.keep)?;
    if args.json {
        output::json(&study)?;
        return Ok(());
    }
    let mut out = Output::stdout();
    for line in lines(&study) {
        out.line(line)?;
    }
    out.finish()?;
    Ok(())
}
