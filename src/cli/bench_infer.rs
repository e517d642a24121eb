//! `prulong bench infer`.

use crate::cli::amounts::parse_positive;
use crate::cli::bandwidth::{self, Bandwidth};
use crate::cli::bench_error::BenchError;
use crate::cli::bench_infer_case::Run;
use crate::cli::bench_infer_methods::MethodArgs;
use crate::cli::bench_infer_report::{Case, Header, Report};
use crate::cli::bench_train::random_ids;
use crate::cli::compute::{Compute, ComputeArgs};
use crate::cli::output::{self, Output};
use crate::cli::plan_args::{PlanError, PlannedModel, parse_tokens, planned_model};
use crate::cli::process_memory::Watch;
use crate::eval::method::Method;
use crate::fault::AnyFault;
use crate::footprint::workload::{Convention, Workload};
use crate::infer::generate::Engine;
use crate::infer::policy::Policy;
use crate::infer::policy::head_mask::inverse;
use crate::infer::task::Task;
use crate::model::llama::Llama;
use crate::model::random_weights::hashed_tensors;
use crate::torch::memory;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

/// What the help says below the flags.
const NOTES: &str = "\
The prompt is random tokens: all but the last are prefilled in chunks, without logits, then tokens are decoded greedily, whatever they \
are. Each method reads the beginning of the prompt first, untimed. With `--repeat` the methods take turns, so that all meet the same \
machine; times are medians. Lengths beyond the model's positions are not refused: speed does not depend on what is said.

Keys and values are counted from the caches after the last token, beside the closed formula. The roof of a decoded token is the time in \
which the device could read the weights that it needs and the keys and values that are kept (the mean of those after the prefill and \
at the end). FLOPs of the prefill are those of weight products and of the (query, key) pairs attended, as the caches count them. Memory \
is that of tensors on CUDA, weights among them, else the process's resident memory without mapped files, in which later methods find \
what earlier ones left in the allocator's hands. Not measured on a GPU yet.";

/// What to try where memory runs out.
const WAY_OUT: &str = "use a shorter `--prompt-len`, a smaller `--chunk` or a smaller `--shape`; `prulong footprint` says what keys and \
                       values need";

/// Measure inference: prefill, decode, memory, keys and values, by method, beside what the device allows at best.
#[derive(clap::Args, Debug)]
#[command(after_long_help = NOTES)]
pub(super) struct Args {
    /// The model by name: llama-2-7b, llama-2-13b, llama-3-8b, llama-3.1-8b, llama-3.1-70b, llama-3.2-1b, llama-3.2-3b, 124m
    /// or tiny.
    #[arg(long, value_name = "NAME", conflicts_with = "model")]
    shape: Option<String>,

    /// The model's folder.
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,

    /// Do not load weights: make random ones on the device. `--shape` has no others.
    #[arg(long)]
    random_weights: bool,

    /// Tokens of the prompt.
    #[arg(long, value_name = "TOKENS", value_parser = parse_tokens)]
    prompt_len: usize,

    /// Tokens to decode.
    #[arg(long, value_name = "TOKENS", default_value = "64", value_parser = parse_tokens)]
    new_tokens: usize,

    /// Tokens per prefill chunk.
    #[arg(long, value_name = "TOKENS", default_value = "8192", value_parser = parse_tokens)]
    chunk: usize,

    #[command(flatten)]
    methods: MethodArgs,

    /// Timed answers of each method.
    #[arg(long, value_name = "TIMES", default_value = "1")]
    repeat: NonZeroUsize,

    /// What the device reads per second, in units of 10^9 bytes; measured by a sum over a large tensor unless given.
    #[arg(long, value_name = "RATE", value_parser = parse_positive)]
    bandwidth_gbs: Option<f64>,

    /// The device's peak, in units of 10^12 FLOP/s, of which the prefill's share is given.
    #[arg(long, value_name = "RATE", value_parser = parse_positive)]
    peak_tflops: Option<f64>,

    /// Attention kernel, as `attention.backend` of a training file names it.
    #[arg(long, value_name = "NAME", default_value = "auto")]
    backend: String,

    #[command(flatten)]
    compute: ComputeArgs,

    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Measures every method.
///
/// # Errors
/// What is wrong with the model, a method, a length or the device; 5 for logits that are no numbers.
pub(super) fn run(args: &Args) -> Result<(), AnyFault> {
    let model = planned_model(args.shape.as_deref(), args.model.as_deref())?;
    let model = model.ok_or(PlanError::NoModel)?;
    if args.model.is_none() && !args.random_weights {
        return Err(BenchError::NoWeights.into());
    }
    let counted = Convention::Counted;
    let workload = Workload::new(args.prompt_len, args.new_tokens, args.chunk, counted)?;
    let folder = args.model.as_deref();
    let methods = args.methods.methods(folder, &model.config, args.chunk)?;
    let mut compute = args.compute.choose()?;
    compute.attend_with(&args.backend)?;
    compute.check(&model.config.shape)?;
    let exhausted = |detail| BenchError::OutOfMemory {
        detail,
        way_out: WAY_OUT,
    };
    let report = memory::guard(exhausted, || {
        measure(args, model, &workload, (methods, compute))
    })?;
    if args.json {
        output::json(&report.object())?;
        return Ok(());
    }
    let mut out = Output::stdout();
    for line in report.lines() {
        out.line(line)?;
    }
    Ok(out.finish()?)
}

/// Makes the model and measures every method.
fn measure(
    args: &Args,
    model: PlannedModel,
    workload: &Workload,
    (methods, compute): (Vec<Method>, Compute),
) -> Result<Report, AnyFault> {
    let bandwidth = match args.bandwidth_gbs {
        Some(rate) => Bandwidth::given(rate * 1e9),
        None => bandwidth::measure(compute.device),
    };
    let PlannedModel { name, config } = model;
    let (kind, device) = (compute.dtype.kind(), compute.device);
    let llama = match &args.model {
        Some(folder) if !args.random_weights => Llama::load_for_inference(folder, kind, device)?,
        _ => Llama::from_tensors(config.clone(), hashed_tensors(&config, kind, device))?,
    };
    let mut bench = Bench {
        prompt: random_ids(config.vocab_size, args.prompt_len),
        num_new_tokens: args.new_tokens,
        chunk_len: args.chunk,
        llama,
        compute,
    };
    let mut runs: Vec<Run> = methods.into_iter().map(Run::new).collect();
    for _ in 0..args.repeat.get() {
        for run in &mut runs {
            bench.answer(run)?;
        }
    }
    let header = Header {
        name,
        prompt_len: args.prompt_len,
        num_new_tokens: args.new_tokens,
        chunk_len: args.chunk,
        bandwidth,
        peak_tflops: args.peak_tflops,
    };
    let cases = bench.cases(runs, workload, &header);
    Ok(Report::new(header, &bench.compute, cases))
}

/// A model and a prompt to answer.
struct Bench {
    llama: Llama,
    compute: Compute,
    prompt: Vec<i64>,
    num_new_tokens: usize,
    chunk_len: usize,
}

impl Bench {
    fn task<'a>(&'a self, policy: &'a dyn Policy) -> Task<'a> {
        Task {
            engine: Engine {
                llama: &self.llama,
                backend: Arc::clone(&self.compute.backend),
                chunk_len: self.chunk_len,
            },
            policy,
            prompt: &self.prompt,
            num_new_tokens: self.num_new_tokens,
        }
    }

    /// One more answer by `run`'s method, the first after a warm-up.
    fn answer(&mut self, run: &mut Run) -> Result<(), AnyFault> {
        let (policy, order) = run.method.policy(&self.llama);
        if let Some(order) = &order {
            self.llama.permute_kv_heads(order);
        }
        let answered = self.watched(&*policy, run);
        if let Some(order) = &order {
            self.llama.permute_kv_heads(&inverse(order));
        }
        answered
    }

    fn watched(&self, policy: &dyn Policy, run: &mut Run) -> Result<(), AnyFault> {
        let task = self.task(policy);
        if run.first.is_none() {
            task.warm_up()?;
        }
        let watch = Watch::start(self.compute.device)?;
        let answer = task.answer(&mut run.times)?;
        run.peak_bytes = run.peak_bytes.max(watch.peak_bytes()?);
        if run.first.is_none() {
            run.start_bytes = watch.start_bytes;
            run.is_peak_of_answers = watch.is_peak_of_watch;
            run.first = Some(answer);
        }
        Ok(())
    }

    /// What every method cost.
    fn cases(&self, runs: Vec<Run>, workload: &Workload, header: &Header) -> Vec<Case> {
        let case = |run: Run| {
            let (policy, _) = run.method.policy(&self.llama);
            let task = self.task(&*policy);
            run.case(&self.llama, workload, (&task, header))
        };
        runs.into_iter().filter_map(case).collect()
    }
}
