//! `prulong estimate`.

use crate::cli::estimate_report::Report;
use crate::cli::estimate_run::RunWork;
use crate::cli::output::{self, Output};
use crate::cli::plan_args::{PlanArgs, PlanError, PlannedModel, of_folder};
use crate::cli::{amounts, train_setup};
use crate::config::dtype::Dtype;
use crate::config::load::load;
use crate::config::train::{MethodSettings, TrainConfig, TrainFile};
use crate::estimate::plan::{Gates, Plan, WeightUpdates};
use crate::fault::{AnyFault, Coded, Kind};
use crate::model::config::ModelConfig;
use std::path::{Path, PathBuf};

/// What the help says below the flags.
const NOTES: &str = "\
Counted from sizes: no weights, no data, no device. The step is one row forward and backward; a run does \
`optimizer.tokens_per_step` / row length of them for each update. Bytes are those of tensors; what libraries and allocators add is \
not counted. Beside steps on the CPU in f32 with `cpu-flash` the bytes are tested to be off by no more than -5 % to +10 %. Not tested, \
but measured once on the tiny model at 4,096 tokens: 13 to 15 % too many beside `cpu-fused` in f32, 8 to 19 % too few in bf16, where \
kernels keep buffers of their own. On a GPU: not measured.

Ends with 1 if the step does not fit into `--gpu-memory-gb`, and says what to change.";

/// What a step is counted in where nobody names a dtype: what `auto` takes on a GPU.
const DTYPE: Dtype = Dtype::Bf16;

/// Say what a training step needs, before it runs: parameters, bytes by part, FLOPs, and time at a given rate; of a file, also
/// what the whole run does.
#[derive(clap::Args, Debug)]
#[command(after_long_help = NOTES)]
pub struct Args {
    /// A training run's TOML file; other flags replace what it says.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Replace one value of the file, e.g. `--set memory.saving=x`; may be given several times.
    #[arg(long = "set", value_name = "KEY=VALUE", requires = "config")]
    overrides: Vec<String>,

    #[command(flatten)]
    plan: PlanArgs,

    /// Dtype of weights and activations: `f32`, `bf16` or `f64` [default: bf16].
    #[arg(long, value_parser = amounts::parse_word::<Dtype>)]
    dtype: Option<Dtype>,

    /// All gates at an end, this share of them at 0: what a step costs once training has decided. Unless given, all gates lie
    /// between and every head runs both branches, the largest step there is.
    #[arg(long, value_name = "SHARE", value_parser = amounts::parse_share)]
    sparsity: Option<f64>,

    /// Memory of the device, in units of 10^9 bytes.
    #[arg(long, value_name = "GB", value_parser = amounts::parse_positive)]
    gpu_memory_gb: Option<f64>,

    /// FLOPs that the device does per second, in units of 10^12: a measured rate, or a share of its peak. Without it no time is
    /// given.
    #[arg(long, value_name = "RATE", value_parser = amounts::parse_positive)]
    tflops: Option<f64>,

    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// The step is larger than the device.
#[derive(Debug, thiserror::Error)]
#[error("the step needs {needed:.1} GB, the device has {limit:.1} GB")]
struct DoesNotFit {
    needed: f64,
    limit: f64,
    way_out: String,
}

impl Coded for DoesNotFit {
    fn code(&self) -> &'static str {
        "estimate.does_not_fit"
    }
    fn kind(&self) -> Kind {
        Kind::Answer
    }
    fn hint(&self) -> Option<String> {
        Some(self.way_out.clone())
    }
}

/// Prints the estimate.
///
/// # Errors
/// What is wrong with the file, the model or a length; 1 if the step does not fit.
pub fn run(args: Args) -> Result<(), AnyFault> {
    let (name, plan, work) = match &args.config {
        Some(path) => from_config(&args, path)?,
        None => from_flags(&args)?,
    };
    let limit_bytes = args.gpu_memory_gb.map(|gigabytes| gigabytes * 1e9);
    let rate = args.tflops.map(|rate| rate * 1e12);
    let report = Report::new(name, (plan, work), limit_bytes, rate);
    if args.json {
        output::json(&report.object())?;
    } else {
        let mut out = Output::stdout();
        for line in report.lines() {
            out.line(line)?;
        }
        out.finish()?;
    }
    match limit_bytes {
        Some(limit) if report.memory.peak() > limit => Err(DoesNotFit {
            needed: report.memory.peak() / 1e9,
            limit: limit / 1e9,
            way_out: report.way_out(),
        }
        .into()),
        _ => Ok(()),
    }
}

/// A model's name, one row of it, and all rows where a file says how many there are.
type Subject = (String, Plan, Option<RunWork>);

fn from_flags(args: &Args) -> Result<Subject, AnyFault> {
    let PlannedModel { name, config } = args.plan.planned_model()?.ok_or(PlanError::NoModel)?;
    let dtype = args.dtype.unwrap_or(DTYPE);
    Ok((name, args.plan.plan(&config, dtype, gates(args))?, None))
}

fn gates(args: &Args) -> Gates {
    let ends = |sparsity| Gates::Ends { sparsity };
    args.sparsity.map_or(Gates::Between, ends)
}

fn from_config(args: &Args, path: &Path) -> Result<Subject, AnyFault> {
    let config = load::<TrainFile>(path, &args.overrides)?.config;
    let model = match args.plan.planned_model()? {
        Some(model) => model,
        None if !config.model.path.exists() => {
            let path = config.model.path.clone();
            return Err(PlanError::NoFolder { path }.into());
        }
        None => of_folder(&config.model.path)?,
    };
    let num_tokens = match args.plan.num_tokens {
        Some(num_tokens) => num_tokens,
        None => train_setup::row_len(&config)?,
    };
    let mut plan = plan_of(&config, &model.config, num_tokens);
    args.plan.change(&mut plan)?;
    if let Some(sparsity) = args.sparsity {
        plan.gates = Gates::Ends { sparsity };
    }
    if let Some(dtype) = args.dtype {
        plan.dtype = dtype;
    }
    let work = RunWork::of(&config, &plan);
    Ok((model.name, plan, Some(work)))
}

/// One step of a run of `config` on rows of `num_tokens`.
pub(super) fn plan_of(config: &TrainConfig, model: &ModelConfig, num_tokens: usize) -> Plan {
    Plan {
        model: model.sizes(),
        num_tokens,
        span: config.attention.span,
        dtype: config.model.dtype.named().unwrap_or(DTYPE),
        memory: config.memory.clone(),
        loss: config.loss.clone(),
        gates: match (&config.method, &config.optimizer.gates) {
            (MethodSettings::DuoAttention(_), _) => Gates::Distilled,
            (MethodSettings::PruLong { .. }, Some(_)) => Gates::Between,
            // They stay at 0 or 1, and a head runs one branch: at most the full one.
            (MethodSettings::PruLong { .. }, None) => Gates::Ends { sparsity: 0.0 },
        },
        weights: match config.optimizer.weights {
            Some(_) => WeightUpdates::AdamW,
            None => WeightUpdates::Frozen,
        },
    }
}
