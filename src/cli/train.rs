//! `prulong train`.

use crate::attention::choose::{Case, choose};
use crate::checkpoint::identity::Identity;
use crate::checkpoint::store::Loaded;
use crate::cli::config_args::ConfigArgs;
use crate::cli::console::Console;
use crate::cli::train_setup::{self, Prepared};
use crate::cli::{kernels, output, run_setup};
use crate::config::load::Loaded as LoadedConfig;
use crate::config::train::{TrainConfig, TrainFile};
use crate::fault::AnyFault;
use crate::profile::trace_file::TraceFile;
use crate::torch::memory;
use crate::train::error::TrainError;
use crate::train::gate_loop::{self, resume, run as run_steps};
use crate::train::profile::Profile;
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

    /// Record where the time of three steps after one warm-up step goes, by operation and direction: a table on standard error,
    /// and a Chrome trace in this new file. On CUDA every span waits for the device, so recorded steps are slower.
    #[arg(long, value_name = "FILE", conflicts_with = "dry_run")]
    profile: Option<PathBuf>,

    /// Loads everything, runs one forward and backward pass, and writes nothing.
    #[arg(long)]
    dry_run: bool,
}

/// What to do when memory runs out.
const WAY_OUT: &str = "the last checkpoint is intact; `prulong estimate --config FILE --gpu-memory-gb GB` says what to change: \
                       `memory.saving`, `memory.offload`, `memory.mlp_chunk_len`, `loss.chunk_len`, or shorter rows";

/// Trains until the last step.
///
/// # Errors
/// Wrong settings, model or data; 5 for a loss that is not finite; 75 after a signal, with a checkpoint saved.
pub fn run(args: Args) -> Result<(), AnyFault> {
    let loaded = args.config.load::<TrainFile>()?;
    if let Some(path) = &args.profile {
        TraceFile::refuse_taken(path)?;
    }
    let device = run_setup::device(loaded.config.run.device)?;
    run_setup::keep_freed_memory(device);
    let run = &loaded.config.run;
    run_setup::arithmetic(device, run.threads, run.products)?;
    let request = loaded.config.model.dtype;
    let (loaded, dtype) =
        run_setup::settle_dtype::<TrainFile>(&args.config.config, loaded, request, device)?;
    let kind = dtype.dtype.kind();
    let choice = choose(&loaded.config.attention.backend, Case { device, kind })?;
    let (backend_name, reason) = (choice.backend.name(), choice.reason.clone());
    let kernels = kernels::choose(loaded.config.run.kernels, device, kind)?;
    let mut prepared = train_setup::prepare(&loaded, (device, dtype), choice, &kernels)?;
    if args.dry_run {
        return memory::guard(exhausted, || dry_run(&mut prepared));
    }
    let environment = run_setup::environment(device, (backend_name, &reason), kernels.name);
    carry_out(&args, &loaded, &mut prepared, (device, &environment))
}

fn exhausted(detail: String) -> TrainError {
    let way_out = WAY_OUT;
    TrainError::OutOfMemory { detail, way_out }
}

/// Opens the run directory, begins or goes on, and trains.
fn carry_out(
    args: &Args,
    loaded: &LoadedConfig<TrainConfig>,
    prepared: &mut Prepared,
    (device, environment): (tch::Device, &str),
) -> Result<(), AnyFault> {
    let dir = RunDir::open(args.run_dir.clone().unwrap_or_else(|| default_dir(args)))?;
    let interrupt = Interrupt::install().map_err(run_setup::signals)?;
    let store = dir.store()?;
    let settings = run_setup::deciding_settings(&loaded.resolved);
    let identity = Identity::new(&settings, &prepared.model_id, prepared.loader.fingerprint());
    let checkpoint = dir.resume(&store, &args.resume, &identity, &args.allow_config_change)?;
    dir.record(CONFIG_NAME, &loaded.resolved)?;
    let is_elsewhere = dir.record(ENV_NAME, environment)?;
    dir.record(EXPORT_NAME, &prepared.provenance.to_json())?;
    let mut console = Console::new();
    console.log_to(dir.log()?);
    console.note(&prepared.summary);
    for note in prepared.loader.notes() {
        console.note(&note);
    }
    let start = match &checkpoint {
        Some(checkpoint) => go_on(checkpoint, prepared, &mut console, is_elsewhere)?,
        None => 0,
    };
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
        validation,
        plan,
        ..
    } = prepared;
    if let Some(path) = &args.profile {
        let profile = Profile::new(path, device, start..plan.num_steps)?;
        console.note(&profile.plan());
        io.record_steps(profile);
    }
    memory::guard(exhausted, || {
        let validation = validation.as_mut();
        run_steps(
            trainer,
            loader,
            validation,
            *plan,
            (&mut io, start),
            &mut console,
        )
    })?;
    let run = io.dir.path().display();
    output::line(format!(
        "run complete: {run}\nnext: prulong export-mask {run} -o MASK_DIR"
    ))?;
    Ok(())
}

/// Puts everything where `checkpoint` left it; returns its step.
fn go_on(
    checkpoint: &Loaded,
    prepared: &mut Prepared,
    console: &mut Console,
    is_elsewhere: bool,
) -> Result<u64, AnyFault> {
    for warning in &checkpoint.warnings {
        console.note(&warning.to_string());
    }
    if is_elsewhere {
        console.note(
            "warning: this machine computes otherwise than the run's before did (env.json, env.json.1): its numbers differ in \
             their last digits",
        );
    }
    resume(&mut prepared.trainer, &mut prepared.loader, checkpoint)?;
    let start = checkpoint.step;
    console.note(&format!("continuing after step {start}"));
    Ok(start)
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
