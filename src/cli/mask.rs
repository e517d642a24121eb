//! `prulong mask`: look at a mask file, or check it.

use crate::cli::{mask_show, mask_verify};
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
    /// Check a mask file, and whether it fits a model
    Verify(mask_verify::VerifyArgs),
}

/// Runs `prulong mask`.
///
/// # Errors
/// What is wrong with the file, or that it does not fit the model.
pub fn run(args: Args) -> Result<(), AnyFault> {
    match args.action {
        Action::Show(args) => mask_show::show(&args),
        Action::Verify(args) => mask_verify::verify(&args),
    }
}
