//! `prulong bench train`.

use crate::attention::gated::GatedAttention;
use crate::cli::amounts::{parse_positive, parse_share, parse_word};
use crate::cli::bench_error::BenchError;
use crate::cli::bench_gates::BenchGates;
use crate::cli::bench_report::{Case, Report};
use crate::cli::compute::{Compute, ComputeArgs};
use crate::cli::output::{self, Output};
use crate::cli::plan_args::{PlanArgs, PlanError, PlannedModel};
use crate::cli::process_memory::Watch;
use crate::cli::run_setup::{self, pass_settings};
use crate::estimate::flops::Flops;
use crate::estimate::memory::Memory;
use crate::estimate::plan::{Gates, Plan};
use crate::fault::AnyFault;
use crate::mask::gate_method::GateMethod;
use crate::model::block::pair::OpenEnd;
use crate::model::distill_pass::DistillPass;
use crate::model::llama::Llama;
use crate::model::random_weights::hashed_tensors;
use crate::model::train_pass::{PassSettings, Row, TrainPass};
use crate::model::watch::Watch as GradWatch;
use crate::profile::measure::quantile;
use crate::profile::recorder;
use crate::profile::span::{Part, Pass, Span, append};
use crate::profile::summary::Summary;
use crate::profile::trace_file::TraceFile;
use crate::random;
use crate::real::real;
use crate::shape::AttentionShape;
use crate::torch::{device, memory};
use serde_json::json;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Instant;

/// What the help says below the flags.
const NOTES: &str = "\
A step is one row of random tokens, forward and backward, with frozen weights. A share of the gates is at 0 and the others at 1, as \
at the end of training, once for each of `--sparsities`; `--between 0.3` puts three tenths of them between 0 and 1, as in the middle of \
training: their heads run both branches, and `--sparsities 0 --between 1` is the largest step there is. DuoAttention's step is that of \
its teacher and its student, whatever its gates. Timed steps follow one that is not timed; one more step is recorded span by span, which \
on CUDA waits for the device at every span, so its shares count and not its sum. Memory is that of tensors on CUDA, else \
the process's resident memory without mapped files; with MALLOC_MMAP_THRESHOLD_=65536 in the environment that is what tensors hold.";

/// What to try where memory runs out.
const WAY_OUT: &str = "use a shorter `--seq` or a smaller `--shape`; `prulong estimate` with the same flags and `--gpu-memory-gb GB` says \
                       what else helps";

/// Measure a training step: seconds a row, useful FLOPs per second, memory, and where the time goes.
#[derive(clap::Args, Debug)]
#[command(after_long_help = NOTES)]
pub(super) struct Args {
    #[command(flatten)]
    plan: PlanArgs,

    /// Do not load weights: make random ones on the device. `--shape` has no others.
    #[arg(long)]
    random_weights: bool,

    /// Shares of gates at 0, separated by commas.
    #[arg(long, value_name = "SHARES", value_delimiter = ',', default_value = "0,0.35,0.7", value_parser = parse_share)]
    sparsities: Vec<f64>,

    /// Share of gates between 0 and 1, beside those at 0; the rest is at 1.
    #[arg(long, value_name = "SHARE", default_value = "0", value_parser = parse_share)]
    between: f64,

    /// Whose step: `prulong` or `duo-attention`.
    #[arg(long, value_name = "NAME", default_value = "prulong", value_parser = parse_word::<GateMethod>)]
    method: GateMethod,

    /// Timed steps of each share.
    #[arg(long, value_name = "TIMES", default_value = "3")]
    steps: NonZeroUsize,

    /// The device's peak, in units of 10^12 FLOP/s, of which MFU is the useful share.
    #[arg(long, value_name = "RATE", value_parser = parse_positive)]
    peak_tflops: Option<f64>,

    /// Write the recorded steps as a Chrome trace into this new file.
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,

    /// Attention kernel, as `attention.backend` of a training file names it.
    #[arg(long, value_name = "NAME", default_value = "auto")]
    backend: String,

    #[command(flatten)]
    compute: ComputeArgs,

    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Measures every share.
///
/// # Errors
/// What is wrong with the model, a length or the device; 5 for a loss or gradient that is no number.
pub(super) fn run(args: &Args) -> Result<(), AnyFault> {
    let model = args.plan.planned_model()?.ok_or(PlanError::NoModel)?;
    if args.plan.model.is_none() && !args.random_weights {
        return Err(BenchError::NoWeights.into());
    }
    let mut compute = args.compute.choose()?;
    run_setup::keep_freed_memory(compute.device);
    compute.attend_with(&args.backend)?;
    compute.check(&model.config.shape)?;
    let plan = args
        .plan
        .plan(&model.config, compute.dtype, Gates::Between)?;
    let settings = pass_settings(&plan.memory, &plan.loss, compute.device)?;
    let cases = args.gates(model.config.shape)?;
    let file = args.profile.as_deref().map(TraceFile::new).transpose()?;
    let exhausted = |detail| BenchError::OutOfMemory {
        detail,
        way_out: WAY_OUT,
    };
    let (report, spans) = memory::guard(exhausted, || {
        measure(args, model, &cases, (plan, settings, compute))
    })?;
    if let Some(file) = file {
        file.publish(
            &spans,
            &json!({ "sparsities": args.sparsities, "between": args.between }),
        )?;
    }
    print(&report, args.json)
}

impl Args {
    /// The gates of every case.
    fn gates(&self, shape: AttentionShape) -> Result<Vec<BenchGates>, BenchError> {
        let cases = self.sparsities.iter();
        cases
            .map(|sparsity| BenchGates::new(shape, *sparsity, self.between))
            .collect()
    }
}

/// Makes the model and measures every share.
fn measure(
    args: &Args,
    model: PlannedModel,
    cases: &[BenchGates],
    (plan, settings, compute): (Plan, PassSettings, Compute),
) -> Result<(Report, Vec<Span>), AnyFault> {
    let PlannedModel { name, config } = model;
    let (kind, device) = (compute.dtype.kind(), compute.device);
    let weights = match &args.plan.model {
        Some(folder) if !args.random_weights => Llama::load(folder, kind, device)?,
        _ => Llama::from_tensors(config.clone(), hashed_tensors(&config, kind, device))?,
    };
    let ids = random_ids(config.vocab_size, plan.num_tokens);
    let mut labels = ids.clone();
    labels[0] = -100;
    let bench = Bench {
        row: Row::new(&weights, &ids, &labels, &[ids.len()]),
        model: weights,
        settings,
        plan,
        compute,
    };
    let mut report = Report::new(name, bench.plan.clone(), &bench.compute, args.peak_tflops);
    let mut spans = Vec::new();
    for gates in cases {
        let (case, recorded) = bench.measure(gates, args)?;
        report.cases.push(case);
        append(&mut spans, recorded);
    }
    Ok((report, spans))
}

fn print(report: &Report, as_json: bool) -> Result<(), AnyFault> {
    if as_json {
        output::json(&report.object())?;
        return Ok(());
    }
    let mut out = Output::stdout();
    for line in report.lines() {
        out.line(line)?;
    }
    Ok(out.finish()?)
}

/// A model and a row to step on.
struct Bench {
    model: Llama,
    row: Row,
    plan: Plan,
    settings: PassSettings,
    compute: Compute,
}

impl Bench {
    /// One warm-up, the timed steps, and a recorded one.
    fn measure(&self, gates: &BenchGates, args: &Args) -> Result<(Case, Vec<Span>), AnyFault> {
        let watch = Watch::start(self.compute.device)?;
        let step = || self.step(&gates.z, args.method);
        step()?;
        let mut samples_s = Vec::with_capacity(args.steps.get());
        for _ in 0..args.steps.get() {
            let start = Instant::now();
            step()?;
            samples_s.push(start.elapsed().as_secs_f64());
        }
        let peak_bytes = watch.peak_bytes()?;
        recorder::start(self.compute.device);
        recorder::frame(Part::Step, Pass::Outside, 0, step)?;
        let spans = recorder::stop();
        let mut plan = self.plan.clone();
        plan.gates = match args.method {
            GateMethod::PruLong => gates.counted(),
            GateMethod::DuoAttention => Gates::Distilled,
        };
        let (needed, useful_flops) = (Memory::new(&plan), Flops::new(&plan).useful());
        let median_s = quantile(&samples_s, 0.5);
        let useful_tflops_per_s = useful_flops / median_s / 1e12;
        let case = Case {
            sparsity: gates.sparsity,
            between: gates.between,
            median_s,
            samples_s,
            tokens_per_s: real(plan.num_tokens) / median_s,
            useful_flops,
            useful_tflops_per_s,
            mfu: args.peak_tflops.map(|peak| useful_tflops_per_s / peak),
            peak_bytes,
            start_bytes: watch.start_bytes,
            is_peak_of_steps: watch.is_peak_of_watch,
            estimated_step_bytes: needed.saved() + needed.transient(),
            profile: Summary::new(&spans),
        };
        Ok((case, spans))
    }

    /// Loss and gate gradients of the row, once the device has them.
    fn step(&self, z: &[Vec<f64>], method: GateMethod) -> Result<(), AnyFault> {
        let engine = TrainPass {
            model: &self.model,
            attention: GatedAttention {
                backend: &*self.compute.backend,
                span: Some(&self.plan.span),
            },
            settings: self.settings,
        };
        let token_weight = 1.0 / real(self.plan.num_tokens);
        let (loss_sum, dz) = match method {
            GateMethod::PruLong => {
                let found = engine.run(&self.row, z, token_weight, None);
                (found.loss_sum, found.dz)
            }
            GateMethod::DuoAttention => {
                let open_end = OpenEnd::Teacher;
                let pass = DistillPass { engine, open_end };
                let (found, _) = pass.run(&self.row, z, token_weight, GradWatch::Off);
                (found.loss_sum, found.dgates)
            }
        };
        device::wait(self.compute.device);
        let is_finite = loss_sum.is_finite() && dz.iter().all(|dz| dz.is_finite());
        is_finite
            .then_some(())
            .ok_or_else(|| BenchError::NotFinite.into())
    }
}

/// Tokens of a vocabulary.
pub(super) fn random_ids(vocab_size: usize, count: usize) -> Vec<i64> {
    let mut rng = random::stream("bench tokens", &[]);
    let draw = |_| random::index_below(&mut rng, vocab_size);
    let ids = (0..count).map(draw);
    ids.filter_map(|id| i64::try_from(id).ok()).collect()
}
