//! `prulong config`: check and print settings, or describe them to an editor.

use crate::cli::config_args::ConfigArgs;
use crate::cli::output;
use crate::config::eval::EvalFile;
use crate::config::pretrain::PretrainFile;
use crate::config::study::StudyFile;
use crate::config::train::TrainFile;
use crate::eval::request::Request;
use crate::fault::AnyFault;

/// What to do with a configuration.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Check a file and print it resolved: every value, defaults included, as a valid file
    Show(ShowArgs),
    /// Print the JSON schema of a kind of file, for editors
    Schema(SchemaArgs),
}

#[derive(Debug, clap::Args)]
struct ShowArgs {
    #[command(flatten)]
    config: ConfigArgs,

    /// The command that the file is for
    #[arg(long = "for", value_name = "COMMAND", default_value = "train")]
    purpose: Purpose,
}

#[derive(Debug, clap::Args)]
struct SchemaArgs {
    /// The command that the file is for
    purpose: Purpose,
}

/// A command that runs from a configuration.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Purpose {
    Train,
    Pretrain,
    Eval,
    Study,
}

/// Runs `prulong config`.
///
/// # Errors
/// What is wrong with the file, or standard output refusing bytes.
pub fn run(args: Args) -> Result<(), AnyFault> {
    match args.action {
        Action::Show(args) => show(&args),
        Action::Schema(args) => schema(args.purpose),
    }
}

fn show(args: &ShowArgs) -> Result<(), AnyFault> {
    let resolved = match args.purpose {
        Purpose::Train => args.config.load::<TrainFile>()?.resolved,
        Purpose::Pretrain => args.config.load::<PretrainFile>()?.resolved,
        Purpose::Eval => args.config.load_as(Request::of)?.resolved,
        Purpose::Study => args.config.load::<StudyFile>()?.resolved,
    };
    output::line(resolved.trim_end())?;
    Ok(())
}

fn schema(purpose: Purpose) -> Result<(), AnyFault> {
    let schema = match purpose {
        Purpose::Train => schemars::schema_for!(TrainFile),
        Purpose::Pretrain => schemars::schema_for!(PretrainFile),
        Purpose::Eval => schemars::schema_for!(EvalFile),
        Purpose::Study => schemars::schema_for!(StudyFile),
    };
    output::json(&schema)?;
    Ok(())
}
