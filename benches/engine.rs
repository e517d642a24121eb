//! How fast the engine is on this machine: training steps, inference, packer, loader, spans, kernels; one JSON object per case.
//!
//! ```text
//! cargo bench --bench engine [-- FILTER] [-- --quick]
//! ```
//!
//! Every case runs in a process of its own, so that peaks of memory do not mix. Weights, tokens and text are made here;
//! nothing is fetched. Times of a machine that others use say little: compare cases of one run. Kernels need a CUDA device:
//! without one their cases are left out, and stderr says why.

use clap::Parser;
use prulong::cli::output;
use prulong::config::dtype::Dtype;
use prulong::infer::task::Cost;
use prulong::profile::measure::{self, Samples};
use prulong::torch::threads;
use std::process::{Command, ExitCode};

#[path = "engine/attention.rs"]
pub(crate) mod attention;
#[path = "engine/data.rs"]
pub(crate) mod data;
#[path = "engine/infer.rs"]
pub(crate) mod infer;
#[path = "engine/kernels.rs"]
pub(crate) mod kernels;
#[path = "engine/roofline.rs"]
pub(crate) mod roofline;
#[path = "engine/shape.rs"]
pub(crate) mod shape;
#[path = "engine/spans.rs"]
pub(crate) mod spans;
#[path = "engine/step.rs"]
pub(crate) mod step;

use attention::AttentionCase;
use infer::{Endless, InferCase};
use kernels::KernelCase;
use shape::Shape;
use step::StepCase;

/// Measures training steps, inference, the packer, the loader and kernels; prints one JSON object per case.
#[derive(Debug, Parser)]
#[command(name = "engine", max_term_width = 100)]
pub(crate) struct Args {
    /// Only cases whose name contains this.
    filter: Option<String>,

    /// Tiny sizes, one sample each: does it still run? Implied where cargo runs this as a test and not as a bench.
    #[arg(long)]
    quick: bool,

    /// Samples of each case, after one warm-up.
    #[arg(long, value_name = "TIMES", default_value_t = 3)]
    repeat: usize,

    /// Threads of one operator: all cores unless named.
    #[arg(long, value_name = "N")]
    threads: Option<usize>,

    /// Print the names of the cases.
    #[arg(long)]
    list: bool,

    /// Run this case in this process.
    #[arg(long, value_name = "NAME", conflicts_with = "filter")]
    case: Option<String>,

    /// Passed by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

impl Args {
    /// `cargo bench` says `--bench`; `cargo test --all-targets` says nothing, and must not take an hour.
    fn is_quick(&self) -> bool {
        self.quick || !self.bench
    }
}

/// What one case measures.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Case {
    /// One training step.
    Step(StepCase),
    /// Attention alone, by one backend.
    Attention(AttentionCase),
    /// A prompt answered.
    Infer(InferCase),
    /// Text to packed rows.
    Pack,
    /// Packed rows to micro-batches.
    Load,
    /// Spans that nobody listens to.
    Spans,
    /// A kernel alone, or libtorch's operators in its place.
    Kernel(KernelCase),
}

impl Case {
    /// Every case, or the small ones of `--quick`; those of kernels run where there is a device.
    pub(crate) fn all(quick: bool) -> Vec<Self> {
        let shapes: &[(Shape, &[usize])] = if quick {
            &[(Shape::Micro, &[96])]
        } else {
            &[
                (Shape::Tiny, &[1024, 4096, 16384]),
                (Shape::M124, &[1024, 4096]),
                (Shape::M124L3, &[1024, 4096, 16384]),
            ]
        };
        let mut cases = Vec::new();
        for (shape, lens) in shapes {
            for len in *lens {
                for dtype in [Dtype::F32, Dtype::Bf16] {
                    cases.extend(StepCase::policies(*shape, *len, dtype).map(Self::Step));
                }
            }
        }
        cases.extend(AttentionCase::all(quick).into_iter().map(Self::Attention));
        cases.extend(InferCase::all(quick).into_iter().map(Self::Infer));
        cases.extend([Self::Pack, Self::Load, Self::Spans]);
        cases.extend(KernelCase::all(quick).into_iter().map(Self::Kernel));
        cases
    }

    /// `step/SHAPE/TOKENS/DTYPE/POLICY`, `attention/HEAD_DIM/TOKENS/GATES/BACKEND`, `infer/SHAPE/METHOD/TOKENS`, `pack`, `load`, `spans` or
    /// `kernel/NAME/ROWSxNUMBERS`.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Step(case) => case.name(),
            Self::Attention(case) => case.name(),
            Self::Infer(case) => case.name(),
            Self::Kernel(case) => case.name(),
            Self::Pack => "pack".to_owned(),
            Self::Load => "load".to_owned(),
            Self::Spans => "spans".to_owned(),
        }
    }

    /// Measures the case in this process.
    pub(crate) fn measure(&self, quick: bool, repeat: usize) -> Measured {
        match self {
            Self::Step(case) => case.measure(repeat),
            Self::Attention(case) => case.measure(repeat),
            Self::Infer(case) => case.measure(repeat),
            Self::Kernel(case) => case.measure(repeat),
            Self::Pack => data::pack_text(quick, repeat),
            Self::Load => data::load_rows(quick, repeat),
            Self::Spans => spans::unheard(repeat),
        }
    }
}

/// What one case found.
#[derive(Debug, serde::Serialize)]
pub(crate) struct Measured {
    /// Its name.
    pub(crate) case: String,
    /// Wall time of each sample.
    pub(crate) samples_ms: Vec<f64>,
    /// CPU time of each sample, all threads.
    pub(crate) cpu_ms: Vec<f64>,
    /// By the median wall time.
    pub(crate) tokens_per_s: f64,
    /// Text read, in units of a million bytes, by the median wall time; the packer's.
    pub(crate) mb_per_s: Option<f64>,
    /// Largest resident memory while measuring.
    pub(crate) peak_rss_bytes: Option<u64>,
    /// Whether that leaves the preparation out.
    pub(crate) is_peak_of_samples: bool,
    /// Attention kernel, or whose a kernel is; not the packer's or the loader's.
    pub(crate) backend: Option<&'static str>,
    /// Threads of one operator.
    pub(crate) threads: usize,
    /// What an answer cost; of a prompt that was answered.
    pub(crate) cost: Option<Cost>,
    /// Memory on the way; of decoding without end.
    pub(crate) endless: Option<Endless>,
    /// Sink, window and block; of a training step.
    pub(crate) span: Option<[usize; 3]>,
    /// Useful FLOPs per second over those of a large matrix product in the same dtype and process, of a training step; bytes per
    /// second over those of a large copy in the same process, of a kernel.
    pub(crate) roofline_share: Option<f64>,
    /// Bytes that must be read and written, in units of a billion, by the median wall time; of a kernel.
    pub(crate) gb_per_s: Option<f64>,
    /// What the driver calls the device; of a kernel.
    pub(crate) device: Option<String>,
}

/// Tokens and bytes that one sample works through.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Amount {
    /// Tokens.
    pub(crate) tokens: usize,
    /// Bytes of text.
    pub(crate) bytes: Option<usize>,
}

impl Measured {
    /// Warms up once and measures `repeat` calls of `work`.
    pub(crate) fn new(
        case: String,
        repeat: usize,
        backend: Option<&'static str>,
        mut work: impl FnMut() -> Amount,
    ) -> Self {
        let is_peak_of_samples = measure::reset_peak_rss();
        let mut amount = work();
        let mut samples = Samples::default();
        for _ in 0..repeat {
            amount = samples.time(&mut work);
        }
        Self {
            is_peak_of_samples,
            backend,
            ..Self::of(case, samples, amount)
        }
    }

    /// What `samples` of `amount` each say, and this process's memory.
    pub(crate) fn of(case: String, samples: Samples, amount: Amount) -> Self {
        Self {
            case,
            tokens_per_s: samples.per_s(amount.tokens),
            mb_per_s: amount.bytes.map(|bytes| samples.per_s(bytes) / 1e6),
            samples_ms: samples.wall_ms,
            cpu_ms: samples.cpu_ms,
            peak_rss_bytes: measure::peak_rss_bytes(),
            is_peak_of_samples: false,
            backend: None,
            threads: threads::threads(),
            cost: None,
            endless: None,
            span: None,
            roofline_share: None,
            gb_per_s: None,
            device: None,
        }
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    let quick = args.is_quick();
    let repeat = if quick { 1 } else { args.repeat };
    let cases = Case::all(quick);
    if let Some(name) = &args.case {
        return run_here(
            &args,
            cases.iter().find(|case| case.name() == *name),
            repeat,
        );
    }
    let mut failed = Vec::new();
    for case in runnable(&args, cases) {
        let done = if args.list {
            output::line(case.name()).is_ok()
        } else {
            run_apart(&args, &case.name())
        };
        failed.extend((!done).then(|| case.name()));
    }
    if failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    output::note(format!("engine: failed: {}", failed.join(", ")));
    ExitCode::FAILURE
}

/// The cases that were asked for, without those that cannot run here; stderr says why.
fn runnable(args: &Args, mut cases: Vec<Case>) -> Vec<Case> {
    let filter = args.filter.as_deref().unwrap_or_default();
    cases.retain(|case| case.name().contains(filter));
    let is_kernel = |case: &Case| matches!(case, Case::Kernel(_));
    if cases.iter().any(is_kernel)
        && let Err(reason) = kernels::place()
    {
        output::note(format!("engine: left out, kernel cases: {reason}"));
        cases.retain(|case| !is_kernel(case));
    }
    cases
}

fn run_here(args: &Args, case: Option<&Case>, repeat: usize) -> ExitCode {
    let Some(case) = case else {
        output::note("engine: error: no such case\n\nhint: --list prints their names");
        return ExitCode::from(2);
    };
    if let Err(error) = threads::choose_threads(args.threads) {
        output::note(format!("engine: error: {error}"));
        return ExitCode::from(2);
    }
    match output::json(&case.measure(args.is_quick(), repeat)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Runs one case in a child that writes to our standard output.
fn run_apart(args: &Args, name: &str) -> bool {
    let Ok(program) = std::env::current_exe() else {
        return false;
    };
    let mut child = Command::new(program);
    child.args(["--case", name, "--repeat", &args.repeat.to_string()]);
    child.arg(if args.is_quick() {
        "--quick"
    } else {
        "--bench"
    });
    if let Some(threads) = args.threads {
        child.args(["--threads", &threads.to_string()]);
    }
    child.status().is_ok_and(|status| status.success())
}
