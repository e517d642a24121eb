//! `prulong mask`: look at a mask file, compare several, or check one.

use crate::cli::{mask_diff, mask_show, mask_verify};
use crate::fault::AnyFault;

/// What to do with a mask file.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand, Debug)]
enum Action {
    /// Print the mask as a grid, with everything the file says about it
    Show(mask_show::ShowArgs),
    /// Compare masks of one architecture: shared retrieval heads, their order, and the heads that differ.
    ///
    /// Ends with 0 if all keep the same heads with the same span, with 1 if not, and with 2 if they cannot be compared.
    /// `both`, `only 1st`, `only 2nd` and `neither` count kv heads by which of the two masks keeps the whole cache for them;
    /// two random masks of these sizes would share as many as `by chance` says. Jaccard is the share of the retrieval heads
    /// that both have; Spearman compares the order of all heads, from -1 to 1.
    Diff(mask_diff::DiffArgs),
    /// Check a mask file, and whether it fits a model
    Verify(mask_verify::VerifyArgs),
}

/// Runs `prulong mask`.
///
/// # Errors
/// What is wrong with a file, that it does not fit the model, or that masks differ.
pub fn run(args: Args) -> Result<(), AnyFault> {
    match args.action {
        Action::Show(args) => mask_show::show(&args),
        Action::Diff(args) => mask_diff::diff(&args),
        Action::Verify(args) => mask_verify::verify(&args),
    }
}
