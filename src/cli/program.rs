//! The whole program: parse the command line, run one subcommand, turn its result into text and an exit code.

use crate::cli::failure::Failure;
use crate::cli::{bug, output};
use crate::fault::AnyFault;
use clap::Parser;
use std::ffi::OsString;
use std::process::ExitCode;

/// Finds which attention heads of a long-context Llama need the whole KV cache, and measures what the others save.
#[derive(Debug, Parser)]
#[command(
    name = "prulong",
    version,
    max_term_width = 100,
    after_help = "Exit codes: 0 done; 1 the answer is no; 2 usage, config or input file; 3 environment or device; \
                  4 storage or network; 5 numerical stop; 75 interrupted, checkpoint saved, submit again; 101 our bug"
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands, in the order of the help.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Pack text into rows of a fixed length for training
    Pack(super::pack::Args),
    /// Look into packed data and at generated sequences, or check whether data is sound
    Data(super::data::Args),
    /// Train gates on packed text: one per kv head, frozen weights by default.
    Train(super::train::Args),
    /// Score heads without training, and write a mask with their order.
    ScoreHeads(super::score_heads::Args),
    /// Turn a run's gates into a head mask and the files that other engines read.
    ExportMask(super::export_mask::Args),
    /// Look at a mask file, compare several, or check whether one fits a model.
    Mask(super::mask::Args),
    /// Publish a mask on the Hugging Face Hub.
    Push(super::push::Args),
    /// Download a mask from the Hugging Face Hub, or find masks for a model.
    Pull(super::pull::Args),
    /// Measure what a mask costs in answers and saves in memory.
    Eval(Box<super::eval::Args>),
    /// Score answers that are written down again, without a model.
    Rescore(super::rescore::Args),
    /// Find the least KV footprint that keeps a share of full attention's score.
    Critical(super::critical::Args),
    /// Turn a finished evaluation into one page for a browser.
    Report(super::report::Args),
    /// Write a finished evaluation in the layout of another harness.
    ExportResults(super::export_results::Args),
    /// Answer prompts, one at a time, and say what that cost in keys and values.
    Generate(super::generate::Args),
    /// Say what a method would cost in keys and values, without a model.
    Footprint(super::footprint::Args),
    /// Say what a training step needs, before it runs: bytes by part, FLOPs, and time at a given rate; of a file, the whole run's too.
    Estimate(super::estimate::Args),
    /// Measure how fast this machine trains.
    Bench(super::bench::Args),
    /// Compare ways to find masks: train, cut and evaluate every seed of each, and report.
    Study(super::study::Args),
    /// Negative log-likelihood of every token of a text, and its perplexity.
    Score(super::score::Args),
    /// Train a small Llama on text of this machine and generated documents.
    Pretrain(super::pretrain::Args),
    /// Train a byte-level BPE tokenizer on text found on this machine.
    TrainTokenizer(super::tokenizer::Args),
    /// Check and print configuration files, or describe them to an editor.
    Config(super::config::Args),
    /// Check what this machine offers to a run, and say how to mend what is missing.
    Doctor(super::doctor::Args),
}

impl Command {
    fn run(self) -> Result<(), AnyFault> {
        match self {
            Self::Pack(args) => super::pack::run(args),
            Self::Data(args) => super::data::run(args),
            Self::Train(args) => super::train::run(args),
            Self::ScoreHeads(args) => super::score_heads::run(args),
            Self::ExportMask(args) => super::export_mask::run(args),
            Self::Mask(args) => super::mask::run(args),
            Self::Push(args) => super::push::run(args),
            Self::Pull(args) => super::pull::run(args),
            Self::Eval(args) => super::eval::run(*args),
            Self::Rescore(args) => super::rescore::run(args),
            Self::Critical(args) => super::critical::run(args),
            Self::Report(args) => super::report::run(args),
            Self::ExportResults(args) => super::export_results::run(args),
            Self::Generate(args) => super::generate::run(args),
            Self::Footprint(args) => super::footprint::run(args),
            Self::Estimate(args) => super::estimate::run(args),
            Self::Bench(args) => super::bench::run(args),
            Self::Study(args) => super::study::run(args),
            Self::Score(args) => super::score::run(args),
            Self::Pretrain(args) => super::pretrain::run(args),
            Self::TrainTokenizer(args) => super::tokenizer::run(args),
            Self::Config(args) => super::config::run(args),
            Self::Doctor(args) => super::doctor::run(args),
        }
    }
}

/// Runs the program on the process's own arguments.
pub fn main() -> ExitCode {
    bug::guard(|| {
        let run = |cli: Cli| cli.command.run();
        ExitCode::from(call(std::env::args_os(), run))
    })
}

/// Parses a command line, runs it, says on standard error what went wrong, and returns the exit code.
pub fn call<A: Parser>(
    words: impl IntoIterator<Item = OsString>,
    run: impl FnOnce(A) -> Result<(), AnyFault>,
) -> u8 {
    let words: Vec<OsString> = words.into_iter().collect();
    let as_json = words.iter().any(|word| word == "--json");
    match A::try_parse_from(words) {
        Ok(args) => finish(run(args), as_json),
        Err(usage) => {
            // Help that nobody reads to the end is no failure.
            let _ = usage.print();
            u8::try_from(usage.exit_code()).unwrap_or(2)
        }
    }
}

fn finish(result: Result<(), AnyFault>, as_json: bool) -> u8 {
    let Some(failure) = result.err().as_ref().and_then(Failure::from_fault) else {
        return 0;
    };
    if as_json {
        output::note(failure.json().trim_end());
    } else {
        let _ = std::io::Write::write_all(&mut anstream::stderr(), failure.text().as_bytes());
    }
    failure.exit
}
