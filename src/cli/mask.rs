//! `prulong mask`: look at a mask file, compare several, check one, and go to and from the formats of other programs.

use crate::cli::{mask_convert, mask_diff, mask_import, mask_show, mask_verify, output};
use crate::fault::AnyFault;
use crate::mask::sidecar::schema;

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
    /// Check a mask file, and whether it fits a model.
    ///
    /// Prints every check in its order with what it found. Ends with 0 if the file is sound and fits, with 1 if it is sound and
    /// does not fit the model or the files beside it, and with 2 if it is not sound.
    Verify(mask_verify::VerifyArgs),
    /// Make a mask file of a mask or scores of another program.
    ///
    /// A decision (a file of 0 and 1) is taken as it is and never cut again; scores need `--sparsity` or `--num-retrieval`.
    /// Nothing is guessed: a file that does not have the model's shape is refused with both shapes.
    Import(mask_import::ImportArgs),
    /// Write a mask in the format of another program, or for a model with added tokens.
    Convert(mask_convert::ConvertArgs),
    /// Print the JSON schema of a mask file's metadata
    Schema,
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
        Action::Import(args) => mask_import::run(&args),
        Action::Convert(args) => mask_convert::run(&args),
        Action::Schema => Ok(output::line(schema::text().trim_end())?),
    }
}
