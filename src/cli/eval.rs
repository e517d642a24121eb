//! `prulong eval`.

use super::amounts::parse_share;
use super::eval_dry_run;
use super::eval_flags::AskArgs;
use super::eval_run::{self, Conduct};
use super::eval_tasks;
use super::output::{self, Output};
use crate::config::error::ConfigError;
use crate::config::eval::EvalFile;
use crate::config::load::{Loaded, load as load_file, load_as, resolve};
use crate::eval::forecast::Forecast;
use crate::eval::request::Request;
use crate::eval::results::Results;
use crate::eval::{brief, forecast_table, table};
use crate::fault::AnyFault;
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// Measure what a mask costs in answers and saves in memory.
///
/// Makes prompts that fill a length and have a known answer, and runs the model on them with real caches per kv head:
/// chunked prefill, greedy decoding. Full attention is always part of the run. What is printed about memory is counted
/// from the caches and checked against the closed formula. What is asked is spelt out in flags, or written in a file.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The evaluation's TOML file, instead of the flags that spell one out; its relative paths are relative to it.
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["AskArgs", "MethodArgs", "StreamingArgs", "TextArgs", "FileArgs", "ComputeArgs"]
    )]
    config: Option<PathBuf>,

    /// Replace one value of the file, e.g. `--set items_per_cell=1`; may be given several times. A relative path is
    /// relative to the working directory.
    #[arg(long = "set", value_name = "KEY=VALUE", requires = "config")]
    overrides: Vec<String>,

    /// List all tasks with what they measure, how they are scored and what they need, and do nothing else. Files are looked for
    /// in the folders named, for --lengths.
    #[arg(long)]
    list: bool,

    #[command(flatten)]
    ask: AskArgs,

    /// Folder that keeps every answer as it comes, and the results. The same command given again goes on where it
    /// ended, however it ended; another evaluation is refused.
    #[arg(long, value_name = "DIR")]
    run_dir: Option<PathBuf>,

    /// End at the first item that fails; else the others are run, and the failed ones listed.
    #[arg(long)]
    fail_fast: bool,

    /// Run the first N items of each task, length and seed only; those of every depth come before a second one of any. They are
    /// the same items as without a limit: in a run folder they are finished when the others follow. The results are of these items
    /// alone, though the folder may hold answers to others.
    #[arg(long, value_name = "N")]
    limit: Option<NonZeroUsize>,

    /// Print what would be run and what it would cost, and run and write nothing: items, those that --run-dir holds already,
    /// prompt tokens to read, tokens to write at most, KV footprint and bytes by formula.
    #[arg(long, conflicts_with_all = ["brief", "fail_under"])]
    dry_run: bool,

    #[command(flatten)]
    report: ReportArgs,

    /// Exit with 1 if the score of any task, by the metric it is judged by, is below this share: the lowest score of a
    /// mask if there is one, else of full attention.
    #[arg(long, value_name = "SHARE", value_parser = parse_share)]
    fail_under: Option<f64>,
}

/// What is printed.
#[derive(clap::Args, Debug)]
struct ReportArgs {
    /// Print one row per method, without depths, formulas and times.
    #[arg(long, conflicts_with = "json")]
    brief: bool,

    /// Print the results, or the list, as JSON instead of a table.
    #[arg(long)]
    json: bool,
}

/// Evaluates, prints the results, and judges them where asked to.
///
/// # Errors
/// If the model, the text or a setting is unusable, if items failed, or with `--fail-under` if the score is not reached.
pub fn run(args: Args) -> Result<(), AnyFault> {
    if args.list {
        let asked = match &args.config {
            Some(path) => load_file::<EvalFile>(path, &args.overrides)?.config,
            None => args.ask.file(),
        };
        return eval_tasks::list(args.report.json, &asked.files, &asked.lengths);
    }
    let loaded = load(&args)?;
    let conduct = Conduct {
        run_dir: args.run_dir.as_deref(),
        fail_fast: args.fail_fast,
        limit: args.limit.map(NonZeroUsize::get),
    };
    if args.dry_run {
        return print_forecast(
            args.report.json,
            &eval_dry_run::forecast(&loaded, &conduct)?,
        );
    }
    eval_run::run(&loaded, &conduct, |results| {
        print(&args.report, results)?;
        Ok(eval_tasks::judge(args.fail_under, results)?)
    })
}

fn load(args: &Args) -> Result<Loaded<Request>, ConfigError> {
    match &args.config {
        Some(path) => load_as(path, &args.overrides, Request::of),
        None => resolve(args.ask.file(), Request::of),
    }
}

fn print_forecast(json: bool, forecast: &Forecast) -> Result<(), AnyFault> {
    if json {
        output::json(forecast)?;
        return Ok(());
    }
    let mut out = Output::stdout();
    for line in forecast_table::lines(forecast) {
        out.line(line)?;
    }
    out.finish()?;
    Ok(())
}

fn print(report: &ReportArgs, results: &Results) -> Result<(), AnyFault> {
    if report.json {
        output::json(results)?;
        return Ok(());
    }
    let mut out = Output::stdout();
    let lines = if report.brief {
        brief::lines(results)
    } else {
        table::lines(results)
    };
    for line in lines {
        out.line(line)?;
    }
    out.finish()?;
    Ok(())
}
