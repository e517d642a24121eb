//! How noisy are the gradients that train gates, where the noise comes from, and what coupling its draws saves.
//!
//! ```text
//! cargo run --release --example gate_noise -- --model checkpoints/tiny --data data/packed/quickstart/train \
//!     --run checkpoints/runs/quickstart --sink 16 --window 128 --block 1
//! ```
//!
//! For each of some rows of text the gradient of the loss by every log_alpha is taken under several draws of the gates' noise. With
//! `g[row, draw]` of one gate: its mean over everything is the signal; the variance of its rows' means is what the text adds, the
//! variance of draws within a row what the gates' noise adds. Antithetic pairs and strata of draws are taken on the same rows: their
//! means' variance beside that of as many independent draws. Prints a JSON array, one report for each run and step.

use clap::Parser;
use prulong::attention::gated::GatedAttention;
use prulong::checkpoint::store::{CheckpointStore, DIR_NAME};
use prulong::cli::compute::ComputeArgs;
use prulong::cli::output;
use prulong::cli::program;
use prulong::cli::run_setup::pass_settings;
use prulong::config::data::{StreamSpec, StreamWeight};
use prulong::config::gates::GateInit;
use prulong::config::loss::{LossSettings, MemorySettings};
use prulong::data::loader::{Loader, LoaderSettings};
use prulong::fault::{AnyFault, Coded, Kind};
use prulong::gate::bank::GateBank;
use prulong::gate::noise::{Coupling, NoiseKey};
use prulong::model::llama::Llama;
use prulong::model::train_pass::{Row, TrainPass};
use prulong::shape::AttentionShape;
use prulong::span::Span;
use prulong::train::gate_init::initial_gates;
use std::ffi::OsString;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::process::ExitCode;

/// Draws of one group of strata.
const GROUP: u64 = 8;
/// Draws on each row: two groups, whose means can be compared.
const DRAWS: u64 = 2 * GROUP;

/// Signal and noise of the gates' gradients.
#[derive(Debug, Parser)]
#[command(name = "gate_noise", max_term_width = 100)]
struct Args {
    /// Folder of the model.
    #[arg(long, value_name = "DIR")]
    model: PathBuf,

    /// Folder of packed rows.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,

    /// Training runs; their gates at `--steps` are where gradients are taken.
    #[arg(long = "run", value_name = "DIR", required = true, num_args = 1..)]
    runs: Vec<PathBuf>,

    /// Steps whose checkpoints to take; default: the newest of each run.
    #[arg(long, value_name = "N", value_delimiter = ',')]
    steps: Vec<u64>,

    /// Leading tokens that a streaming head sees.
    #[arg(long, value_name = "TOKENS")]
    sink: usize,

    /// Most recent tokens that it sees, the query's own included.
    #[arg(long, value_name = "TOKENS")]
    window: usize,

    /// Granularity of the streaming pattern.
    #[arg(long, value_name = "TOKENS", default_value_t = 1)]
    block: usize,

    /// Rows of text; sixteen draws of every coupling are taken on each.
    #[arg(long, value_name = "N", default_value = "8")]
    rows: NonZeroU64,

    /// Seed of rows and noise.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,

    #[command(flatten)]
    compute: ComputeArgs,
}

/// A run without gates.
#[derive(Debug, thiserror::Error)]
#[error("`{run}` has no checkpoint with gates")]
struct NoGates {
    run: PathBuf,
}

impl Coded for NoGates {
    fn code(&self) -> &'static str {
        "run.no_gates"
    }
    fn kind(&self) -> Kind {
        Kind::Input
    }
}

/// What is printed of a run's gates at a step. Medians are over the gates with any signal and noise at all.
#[derive(Debug, serde::Serialize)]
struct Report {
    run: PathBuf,
    step: u64,
    num_rows: u64,
    draws_per_row: u64,
    num_gates: usize,
    /// Gates whose gradient was not 0 in every draw.
    num_live_gates: usize,
    /// |mean| over the standard deviation of a single sample: one row, one draw.
    median_signal_to_noise: f64,
    /// Share of a sample's variance that is the gates' noise; the rest is the text's.
    median_noise_share: f64,
    /// Variance of the mean of two mirrored draws on a row, over that of two independent ones.
    median_antithetic_ratio: f64,
    /// The same for eight stratified draws, over eight independent ones.
    median_stratified_ratio: f64,
}

/// A run and a step of it.
type Place = (PathBuf, u64);

/// Moments of one gate over rows and draws.
#[derive(Debug, Clone, Copy, Default)]
struct Moments {
    mean: f64,
    of_rows: f64,
    within: f64,
    of_pairs: f64,
    of_strata: f64,
}

pub(crate) fn call(words: impl IntoIterator<Item = OsString>) -> u8 {
    program::call(words, |args| run(&args))
}

fn main() -> ExitCode {
    ExitCode::from(call(std::env::args_os()))
}

fn run(args: &Args) -> Result<(), AnyFault> {
    let compute = args.compute.choose()?;
    let model = Llama::load(&args.model, compute.dtype.kind(), compute.device)?;
    compute.check(&model.config().shape)?;
    let span = Span::new(args.sink, args.window, args.block)?;
    let banks = all_gates(args, model.config().shape)?;
    let pass = TrainPass {
        model: &model,
        attention: GatedAttention {
            backend: &*compute.backend,
            span: Some(&span),
        },
        settings: pass_settings(
            &MemorySettings::default(),
            &LossSettings::default(),
            compute.device,
        )?,
    };
    let rows = rows(args, &model)?;
    let couplings = [
        Coupling::Independent,
        Coupling::Antithetic { per_step: DRAWS },
        Coupling::Stratified {
            per_step: DRAWS,
            num_strata: GROUP,
        },
    ];
    let of_bank = |(at, bank): (Place, GateBank)| {
        let grads = |coupling| all_grads(&pass, &bank, &rows, (args.seed, coupling));
        report(args, at, &couplings.map(grads))
    };
    let reports: Vec<Report> = banks.into_iter().map(of_bank).collect();
    output::json(&reports)?;
    Ok(())
}

/// Gates of every run at every step, read before the first gradient is taken.
fn all_gates(args: &Args, shape: AttentionShape) -> Result<Vec<(Place, GateBank)>, AnyFault> {
    let mut banks = Vec::new();
    for run in &args.runs {
        let store = CheckpointStore::read_only(run.join(DIR_NAME));
        let newest = store.steps()?.into_iter().max();
        let newest = newest.ok_or_else(|| NoGates { run: run.clone() })?;
        let steps = match &*args.steps {
            [] => &[newest],
            steps => steps,
        };
        for step in steps {
            let path = store.dir().join(format!("step-{step}"));
            let bank = initial_gates(&GateInit::Checkpoint { path }, shape, args.seed)?;
            banks.push(((run.clone(), *step), bank));
        }
    }
    Ok(banks)
}

fn rows(args: &Args, model: &Llama) -> Result<Vec<Row>, AnyFault> {
    let stream = StreamSpec {
        path: args.data.clone(),
        weight: StreamWeight::Repeat(1.0),
    };
    let settings = LoaderSettings {
        seed: args.seed,
        vocab_size: Some(model.config().vocab_size as u64),
        ..LoaderSettings::default()
    };
    let mut loader = Loader::open(&[stream], &settings)?;
    let mut row = |_| {
        let row = loader.next_row()?;
        Ok(Row::new(model, &row.ids, &row.labels, &row.doc_lens))
    };
    (0..args.rows.get()).map(&mut row).collect()
}

/// Gradient by every log_alpha, `[row][draw][gate]`, in nats per target.
fn all_grads(
    pass: &TrainPass<'_>,
    bank: &GateBank,
    rows: &[Row],
    (seed, coupling): (u64, Coupling),
) -> Vec<Vec<Vec<f64>>> {
    let of_row = |(step, row): (u64, &Row)| {
        let of_draw = |micro_batch| {
            let key = NoiseKey {
                seed,
                step,
                micro_batch,
            };
            grads(pass, bank, row, (key, coupling))
        };
        (0..DRAWS).map(of_draw).collect()
    };
    (0..).zip(rows).map(of_row).collect()
}

#[expect(clippy::cast_precision_loss, reason = "targets of a row")]
fn grads(
    pass: &TrainPass<'_>,
    bank: &GateBank,
    row: &Row,
    (key, coupling): (NoiseKey, Coupling),
) -> Vec<f64> {
    let sample = bank.sample(key, coupling);
    let z: Vec<Vec<f64>> = (0..bank.num_layers())
        .map(|layer| sample.layer(layer))
        .collect();
    let weight = 1.0 / row.targets.num_valid().max(1) as f64;
    let dz = pass.run(row, &z, weight, None).dz;
    dz.iter()
        .zip(sample.samples())
        .map(|(dz, sample)| dz * sample.slope)
        .collect()
}

fn report(args: &Args, (run, step): Place, grads: &[Vec<Vec<Vec<f64>>>; 3]) -> Report {
    let num_gates = grads[0][0][0].len();
    let moments = (0..num_gates).map(|gate| moments(grads, gate));
    let live: Vec<Moments> = moments.filter(|found| found.within > 0.0).collect();
    let median_of = |value: &dyn Fn(&Moments) -> f64| median(live.iter().map(value).collect());
    Report {
        run,
        step,
        num_rows: args.rows.get(),
        draws_per_row: DRAWS,
        num_gates,
        num_live_gates: live.len(),
        median_signal_to_noise: median_of(&|of| of.mean.abs() / (of.within + of.of_rows).sqrt()),
        median_noise_share: median_of(&|of| of.within / (of.within + of.of_rows)),
        median_antithetic_ratio: median_of(&|of| of.of_pairs / (of.within / 2.0)),
        median_stratified_ratio: median_of(&|of| of.of_strata / (of.within / real(GROUP))),
    }
}

/// Moments of `gate`.
fn moments(grads: &[Vec<Vec<Vec<f64>>>; 3], gate: usize) -> Moments {
    let draws = |coupling: usize| {
        grads[coupling]
            .iter()
            .map(move |row| row.iter().map(|draw| draw[gate]).collect::<Vec<f64>>())
    };
    let within = mean(&draws(0).map(|row| variance(&row)).collect::<Vec<_>>());
    let row_means: Vec<f64> = draws(0).map(|row| mean(&row)).collect();
    let of_rows = (variance(&row_means) - within / real(DRAWS)).max(0.0);
    // Of the means of neighbouring draws on the same row.
    let of_groups = |coupling, len| {
        let of_row = |row: Vec<f64>| {
            let groups: Vec<f64> = row.chunks(len).map(mean).collect();
            variance(&groups)
        };
        mean(&draws(coupling).map(of_row).collect::<Vec<_>>())
    };
    Moments {
        mean: mean(&row_means),
        of_rows,
        within,
        of_pairs: of_groups(1, 2),
        of_strata: of_groups(2, usize::try_from(GROUP).unwrap_or(1)),
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / count(values)
}

/// Of a sample.
fn variance(values: &[f64]) -> f64 {
    let centre = mean(values);
    let squares = values.iter().map(|value| (value - centre).powi(2));
    squares.sum::<f64>() / (count(values) - 1.0).max(1.0)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[expect(clippy::cast_precision_loss, reason = "a handful of numbers")]
fn count(values: &[f64]) -> f64 {
    values.len() as f64
}

#[expect(clippy::cast_precision_loss, reason = "a handful of numbers")]
fn real(count: u64) -> f64 {
    count as f64
}
