//! `prulong critical`.

use super::amounts::parse_share;
use super::new_file::write_new;
use super::output::{self, Output};
use crate::eval::critical::choice::{Choice, only};
use crate::eval::critical::lines::lines;
use crate::eval::critical::study::{KEEP, Study};
use crate::eval::report::picture::picture;
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

    /// Draw score over KV footprint as a picture, too: the plot of the page that `prulong eval` writes. A run of several tasks,
    /// lengths or chunk lengths has several; the flags below choose one.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,

    /// Show this task alone.
    #[arg(long, value_name = "TASK")]
    task: Option<String>,

    /// Show this length alone.
    #[arg(long, value_name = "TOKENS")]
    length: Option<usize>,

    /// Show this chunk length alone.
    #[arg(long, value_name = "TOKENS")]
    chunk: Option<usize>,

    /// Show this model alone, by its name in the results.
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
}

/// Prints a table of methods and tasks.
///
/// # Errors
/// What is wrong with the run folder; nothing that fits the choice; a picture that cannot be written.
pub fn run(args: Args) -> Result<(), AnyFault> {
    let results = saved_run::read(&args.run)?;
    let study = Study::of(&results, args.keep)?;
    let choice = Choice {
        model: args.model,
        chunk_len: args.chunk,
        task: args.task,
        length: args.length,
    };
    let shown = choice.of(&study)?;
    if let Some(svg) = &args.svg {
        // Families keep the colours that they have on the page, beside all others.
        write_new(svg, picture(&study, only(&shown)?).as_bytes())?;
    }
    if args.json {
        output::json(&shown)?;
        return Ok(());
    }
    let mut out = Output::stdout();
    for line in lines(&shown) {
        out.line(line)?;
    }
    out.finish()?;
    Ok(())
}
