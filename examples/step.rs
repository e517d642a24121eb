//! One training step from files: what loss and which gradients the engine finds for a batch, and how fast.
//!
//! ```text
//! cargo run --release --example step -- --model DIR --batch in.safetensors --out out.safetensors
//! in:  `tokens` i64 [T], `spans` i64 [n, 2], `z` f32 [layers, kv_heads]
//! out: `loss` f32 [1], `dz` f32 [layers, kv_heads], and with --weight-grads each weight's gradient under its name
//! ```
//!
//! Any other implementation that reads and writes the same files can be compared with this one, number by number and
//! second by second: `benches/peers/peer_step.py` is one.

use clap::Parser;
use prulong::attention::gated::GatedAttention;
use prulong::cli::amounts::parse_word;
use prulong::cli::compute::ComputeArgs;
use prulong::cli::output;
use prulong::cli::program;
use prulong::cli::run_setup::{self, pass_settings};
use prulong::config::dtype::Dtype;
use prulong::config::loss::{LossSettings, MemorySettings, Offload, Saving};
use prulong::fault::{AnyFault, Coded, Kind};
use prulong::model::llama::Llama;
use prulong::model::train_pass::{ModelGrads, PassResult, Row, TrainPass};
use prulong::profile::measure::{self, Samples};
use prulong::real::real;
use prulong::span::Span;
use prulong::torch::device;
use prulong::torch::host;
use prulong::torch::threads;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[path = "step/batch.rs"]
pub(crate) mod batch;
#[path = "shared/tensor_file.rs"]
pub(crate) mod tensor_file;

use batch::Batch;
use tensor_file::{OutError, Values};

/// Loss and gradients of one batch under given gates.
///
/// The batch is a safetensors file with `tokens` i64 `[T]`, `spans` i64 `[n, 2]` (start and end of each document, ascending)
/// and `z` f32 `[layers, kv_heads]`. Attention and loss never cross documents, the first token of each is no target, and
/// tokens outside every span do not exist. The result holds `loss` f32 `[1]`, the mean cross-entropy per target in nats, and
/// `dz` f32 `[layers, kv_heads]`, its gradient; `dz` is 0 where `z` is exactly 0 or 1, because a gate at its end is constant.
#[derive(Debug, Parser)]
#[command(name = "step", max_term_width = 100)]
pub(crate) struct Args {
    /// Folder of the model: config.json and safetensors.
    #[arg(long, value_name = "DIR")]
    model: PathBuf,

    /// The batch.
    #[arg(long, value_name = "FILE")]
    batch: PathBuf,

    /// Where the result goes.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,

    /// Granularity of the streaming pattern; 1 is exact to the token.
    #[arg(long, value_name = "TOKENS", default_value_t = 128)]
    block: usize,

    /// Leading tokens of a document that every query sees, a multiple of the block.
    #[arg(long, value_name = "TOKENS", default_value_t = 128)]
    sink: usize,

    /// Most recent tokens a streaming head sees, a multiple of the block.
    #[arg(long, value_name = "TOKENS", default_value_t = 1024)]
    window: usize,

    /// What the forward pass keeps for the backward pass: `x`, each layer's input; `x+attention`, also attention's outputs and
    /// their logsumexp; `all`, so that nothing is computed again.
    #[arg(long, value_name = "WHAT", default_value = "x+attention", value_parser = parse_word::<Saving>)]
    saving: Saving,

    /// Where that waits: `none`, on the device; `host`, in pinned host memory, of CUDA devices only.
    #[arg(long, value_name = "WHERE", default_value = "none", value_parser = parse_word::<Offload>)]
    offload: Offload,

    /// Also find the gradient of every weight.
    #[arg(long)]
    weight_grads: bool,

    /// Time the step this often after one warm-up, and print the times as JSON.
    #[arg(long, value_name = "TIMES", default_value_t = 0)]
    repeat: usize,

    /// Attention kernel, as `attention.backend` of a training file names it.
    #[arg(long, value_name = "NAME", default_value = "auto")]
    backend: String,

    #[command(flatten)]
    compute: ComputeArgs,
}

/// A loss or gradient that is no number.
#[derive(Debug, thiserror::Error)]
#[error("{what} is not finite")]
struct NotFinite {
    what: &'static str,
}

impl Coded for NotFinite {
    fn code(&self) -> &'static str {
        "step.not_finite"
    }
    fn kind(&self) -> Kind {
        Kind::Numerical
    }
}

/// What `--repeat` prints.
#[derive(Debug, serde::Serialize)]
pub(crate) struct Report {
    /// Wall time of each step.
    pub(crate) samples_ms: Vec<f64>,
    /// CPU time of each step.
    pub(crate) cpu_ms: Vec<f64>,
    /// Tokens inside spans, by the median time.
    pub(crate) tokens_per_s: f64,
    /// Largest resident memory while stepping.
    pub(crate) peak_rss_bytes: Option<u64>,
    /// Resident memory before the first step: the loaded model.
    pub(crate) loaded_rss_bytes: Option<u64>,
    /// Whether the peak leaves loading out; otherwise it is the process's.
    pub(crate) is_peak_of_steps: bool,
    /// Attention kernel.
    pub(crate) backend: &'static str,
    /// Where it ran.
    pub(crate) device: String,
    /// Dtype of weights and activations.
    pub(crate) dtype: Dtype,
    /// Threads of one operator.
    pub(crate) threads: usize,
    /// What the forward pass kept.
    pub(crate) saving: Saving,
    /// Where it waited.
    pub(crate) offload: Offload,
    /// Tokens inside spans.
    pub(crate) num_tokens: usize,
    /// Predicted tokens.
    pub(crate) num_targets: usize,
    /// Mean cross-entropy per target, nats.
    pub(crate) loss: f64,
}

/// Runs one command line and returns the process's exit code.
pub(crate) fn call(words: impl IntoIterator<Item = OsString>) -> u8 {
    program::call(words, |args: Args| {
        step(&args)?.as_ref().map_or(Ok(()), output::json)?;
        Ok(())
    })
}

fn main() -> ExitCode {
    ExitCode::from(call(std::env::args_os()))
}

/// Steps, writes the result, and reports if asked to time.
pub(crate) fn step(args: &Args) -> Result<Option<Report>, AnyFault> {
    let span = Span::new(args.sink, args.window, args.block)?;
    let mut compute = args.compute.choose()?;
    run_setup::keep_freed_memory(compute.device);
    compute.attend_with(&args.backend)?;
    // The project's default chunk lengths.
    let memory = MemorySettings {
        saving: args.saving,
        offload: args.offload,
        ..MemorySettings::default()
    };
    let settings = pass_settings(&memory, &LossSettings::default(), compute.device)?;
    let model = Llama::load(&args.model, compute.dtype.kind(), compute.device)?;
    compute.check(&model.config().shape)?;
    let batch = Batch::load(&args.batch, model.config())?;
    let pass = TrainPass {
        model: &model,
        attention: GatedAttention {
            backend: &*compute.backend,
            span: Some(&span),
        },
        settings,
    };
    let row = Row::new(&model, &batch.ids, &batch.labels, &batch.doc_lens);
    let loaded_rss_bytes = measure::rss_bytes();
    let is_peak_of_steps = measure::reset_peak_rss();
    let mut last = Step::run(&pass, &row, &batch, args.weight_grads);
    let mut samples = Samples::default();
    for _ in 0..args.repeat {
        last.grads = None;
        last = samples.time(|| Step::run(&pass, &row, &batch, args.weight_grads));
    }
    let peak_rss_bytes = measure::peak_rss_bytes();
    last.check()?;
    last.write(&model, &args.out)?;
    Ok((args.repeat > 0).then(|| Report {
        tokens_per_s: samples.per_s(batch.ids.len()),
        samples_ms: samples.wall_ms,
        cpu_ms: samples.cpu_ms,
        peak_rss_bytes,
        loaded_rss_bytes,
        is_peak_of_steps,
        backend: compute.backend.name(),
        device: device::name(compute.device),
        dtype: compute.dtype,
        threads: threads::threads(),
        saving: args.saving,
        offload: args.offload,
        num_tokens: batch.ids.len(),
        num_targets: batch.num_targets(),
        loss: last.loss,
    }))
}

/// What one step found.
struct Step {
    loss: f64,
    dz: Vec<f64>,
    grads: Option<ModelGrads>,
}

impl Step {
    fn run(pass: &TrainPass, row: &Row, batch: &Batch, with_grads: bool) -> Self {
        let mut grads = with_grads.then(|| ModelGrads::zeros(pass.model));
        let num_targets = real(batch.num_targets());
        let PassResult { loss_sum, dz } =
            pass.run(row, &batch.z, 1.0 / num_targets, grads.as_mut());
        Self {
            loss: loss_sum / num_targets,
            dz,
            grads,
        }
    }

    fn check(&self) -> Result<(), NotFinite> {
        let grads = self.grads.as_ref().map(ModelGrads::tensors);
        let sums = grads.into_iter().flatten().map(host::square_sum);
        for (what, is_finite) in [
            ("the loss", self.loss.is_finite()),
            ("a gate's gradient", self.dz.iter().all(|dz| dz.is_finite())),
            ("a weight's gradient", sums.sum::<f64>().is_finite()),
        ] {
            if !is_finite {
                return Err(NotFinite { what });
            }
        }
        Ok(())
    }

    /// Writes `loss`, `dz` and the weights' gradients as f32.
    #[expect(clippy::cast_possible_truncation, reason = "the file holds f32")]
    fn write(&self, model: &Llama, path: &Path) -> Result<(), OutError> {
        let shape = model.config().shape;
        let dz: Vec<f32> = self.dz.iter().map(|dz| *dz as f32).collect();
        let dz_shape = vec![shape.num_layers, shape.num_kv_heads];
        let mut values = vec![
            ("loss".to_owned(), Values::new(vec![1], &[self.loss as f32])),
            ("dz".to_owned(), Values::new(dz_shape, &dz)),
        ];
        let grads = self.grads.as_ref().map(ModelGrads::tensors);
        let names = model.named_tensors().into_iter().map(|(name, _)| name);
        values.extend(
            names
                .zip(grads.into_iter().flatten())
                .map(|(name, grad)| (name, Values::new(host::shape_of(grad), &host::to_f32(grad)))),
        );
        tensor_file::write(path, &values)
    }
}
