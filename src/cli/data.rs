//! `prulong data`: look into MDS datasets, ours or those of other tools, and at what is generated for pretraining.

use crate::cli::{data_inspect, data_sample, data_stats, output};
use crate::data::mds::dataset::{Dataset, ReadOptions, Verify};
use crate::fault::AnyFault;
use std::path::PathBuf;

/// What to look at.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Count rows, documents and tokens, by domain and by length
    Stats(data_stats::Args),
    /// Print rows: their documents as text, or every column as JSON
    Inspect(data_inspect::Args),
    /// Show what `prulong pretrain` trains on: sequences of one kind
    Sample(data_sample::Args),
    /// Check every hash, every row and every column of a dataset
    Verify(VerifyArgs),
}

#[derive(Debug, clap::Args)]
struct VerifyArgs {
    /// MDS folder
    dir: PathBuf,
}

/// Runs `prulong data`.
///
/// # Errors
/// What is wrong with the dataset, or standard output refusing bytes.
pub fn run(args: Args) -> Result<(), AnyFault> {
    match args.action {
        Action::Stats(args) => data_stats::run(&args),
        Action::Inspect(args) => data_inspect::run(&args),
        Action::Sample(args) => data_sample::run(&args),
        Action::Verify(args) => verify(&args),
    }
}

fn verify(args: &VerifyArgs) -> Result<(), AnyFault> {
    let options = ReadOptions {
        verify: Verify::All,
        ..ReadOptions::default()
    };
    let dataset = Dataset::open(&args.dir, options)?;
    dataset.check_rows()?;
    output::line(format!(
        "{}: {} rows in {} shards are sound",
        args.dir.display(),
        dataset.num_rows(),
        dataset.shards().len()
    ))?;
    Ok(())
}
