//! `prulong train`.

use crate::attention::choose::choose;
use crate::checkpoint::identity::Identity;
use crate::cli::config_args::ConfigArgs;
use crate::cli::console::Console;
use crate::cli::train_setup::{self, Prepared};
use crate::cli::{output, run_setup};
use crate::config::train::TrainFile;
use crate::fault::AnyFault;
use crate::train::gate_loop::{self, resume, run as run_steps};
use crate::train::run_dir::{CONFIG_NAME, ENV_NAME, EXPORT_NAME, Resume, RunDir};
use crate::train::run_io::{Observer, RunIo};
use crate::train::signal::Interrupt;
use std::path::PathBuf;
use std::time::Instant;

/// Train one gate per kv head on packed text, with frozen weights by default.
///
/// Writes a run directory: resolved settings, metrics, TensorBoard events, checkpoints. The same command continues a run
/// that was interrupted; `prulong export-mask RUN` turns it into a mask.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    config: ConfigArgs,

    /// Directory of the run [default: `checkpoints/runs/NAME-OF-CONFIG`].
    #[arg(long, value_name = "DIR")]
    run_dir: Option<PathBuf>,

    /// Where to continue: `auto`, `never`, or a checkpoint folder.
    #[arg(long, value_name = "WHERE", default_value = "auto")]
    resume: Resume,

    /// Settings that may differ from those of the checkpoint.
    #[arg(long, value_name = "KEY", value_delimiter = ',')]
    allow_config_change: Vec<String>,

    /// Loads everything, runs one forward and backward pass, and writes nothing.
    #[arg(long)]
    dry_run: bool,
}

/// Trains until the last step.
///
/// # Errors
/// Wrong settings, model or data; 5 for a loss that is not finite; 75 after a signal, with a checkpoint saved.
pub fn run(args: Args) -> Result<(), AnyFault> {
    let loaded = args.config.load::<TrainFile>()?;
    let device = run_setup::device(loaded.config.run.device)?;
    crate::torch::threads::choose_threads(loaded.config.run.threads)?;
    let backend = choose(&loaded.config.attention.backend, device)?;
    let backend_name = backend.name();
    let mut prepared = train_setup::prepare(&loaded, device, backend)?;
    if args.dry_run {
        return dry_run(&mut prepared);
    }
    let dir = RunDir::open(args.run_dir.clone().unwrap_or_else(|| default_dir(&args)))?;
    let interrupt = Interrupt::install().map_err(run_setup::signals)?;
    let store = dir.store()?;
    let settings = run_setup::deciding_settings(&loaded.resolved);
    let identity = Identity::new(&settings, &prepared.model_id, prepared.loader.fingerprint());
    let checkpoint = dir.resume(&store, &args.resume, &identity, &args.allow_config_change)?;
    dir.record(CONFIG_NAME, &loaded.resolved)?;
    dir.record(ENV_NAME, &run_setup::environment(device, backend_name))?;
    dir.record(EXPORT_NAME, &prepared.provenance.to_json())?;
    let mut console = Console::new();
    console.log_to(dir.log()?);
    console.note(&prepared.summary);
    for note in prepared.loader.notes() {
        console.note(&note);
    }
    let mut start = 0;
    if let Some(checkpoint) = &checkpoint {
        for warning in &checkpoint.warnings {
            console.note(&warning.to_string());
        }
        resume(&mut prepared.trainer, &mut prepared.loader, checkpoint)?;
        start = checkpoint.step;
        console.note(&format!("continuing after step {start}"));
    }
    let checkpoint_settings = loaded.config.checkpoint.clone();
    let mut io = RunIo::open(
        dir,
        store,
        interrupt,
        (identity, checkpoint_settings),
        checkpoint.as_ref(),
    )?;
    let Prepared {
        trainer,
        loader,
        plan,
        ..
    } = &mut prepared;
    run_steps(trainer, loader, *plan, (&mut io, start), &mut console)?;
    let run = io.dir.path().display();
    output::line(format!(
        "run complete: {run}\nnext: prulong export-mask {run} -o MASK_DIR"
    ))?;
    Ok(())
}

/// `checkpoints/runs/NAME` for `configs/NAME.toml`.
fn default_dir(args: &Args) -> PathBuf {
    let name = args.config.config.file_stem().unwrap_or_default();
    PathBuf::from("checkpoints/runs").join(name)
}

/// One step that is thrown away: proves that everything fits together, and how long a run takes.
fn dry_run(prepared: &mut Prepared) -> Result<(), AnyFault> {
    let started = Instant::now();
    let rows = gate_loop::read_rows(
        &prepared.trainer.model,
        &mut prepared.loader,
        prepared.plan.rows_per_step,
    )?;
    let report = prepared.trainer.step(&rows, 0)?;
    let seconds = started.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "step counts are far below 2^52")]
    let total = seconds * prepared.plan.num_steps as f64;
    output::line(format!(
        "{}\none step: loss {:.4}, {seconds:.2} s; the whole run about {total:.0} s\nnothing was written",
        prepared.summary, report.loss
    ))?;
    Ok(())
}
