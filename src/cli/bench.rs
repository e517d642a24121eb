//! `prulong bench`: how fast this machine is.

use crate::cli::{bench_infer, bench_train};
use crate::fault::AnyFault;

/// What to measure.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Measure a training step: seconds, FLOPs per second, memory, and where the time goes
    Train(Box<bench_train::Args>),
    /// Measure inference: prefill, decode, memory, keys and values, by method, beside what the device allows at best
    Infer(Box<bench_infer::Args>),
}

/// Runs `prulong bench`.
///
/// # Errors
/// What is wrong with the model, a length or the device.
pub fn run(args: Args) -> Result<(), AnyFault> {
    match args.action {
        Action::Train(args) => bench_train::run(&args),
        Action::Infer(args) => bench_infer::run(&args),
    }
}
