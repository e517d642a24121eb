//! One prompt from a file: what a method of keeping keys and values answers, how fast, and what it holds meanwhile.
//!
//! ```text
//! cargo run --release --example infer -- --model DIR --prompt in.safetensors --out out.safetensors --method snapkv:0.7
//! in:  `tokens` i64 [T]; for --method mask also `z` f32 [layers, kv_heads], 1 = retrieval head, 0 = streaming head
//! out: `output` i64 [N], the greedy answer; `logits` f32 [V], what its first token was chosen by
//! ```
//!
//! Any other implementation that reads and writes the same files can be compared with this one:
//! `benches/peers/peer_infer.py` is one.

use clap::Parser;
use prulong::cli::amounts::parse_word;
use prulong::cli::compute::ComputeArgs;
use prulong::cli::output;
use prulong::cli::program;
use prulong::config::dtype::Dtype;
use prulong::config::eval::StreamingSettings;
use prulong::eval::method::{Keeps, Method};
use prulong::eval::method_plan::MethodPlan;
use prulong::eval::method_spec::MethodSpec;
use prulong::eval::one_method::Asked;
use prulong::eval::streaming;
use prulong::fault::AnyFault;
use prulong::infer::generate::Engine;
use prulong::infer::task::{Answer, Cost, Task};
use prulong::model::config::ModelConfig;
use prulong::model::llama::Llama;
use prulong::profile::measure;
use prulong::span::StreamingRule;
use prulong::torch::device;
use prulong::torch::threads;
use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;

#[path = "infer/prompt.rs"]
pub(crate) mod prompt;
#[path = "shared/tensor_file.rs"]
pub(crate) mod tensor_file;

use prompt::Prompt;
use tensor_file::Values;

/// Greedy answer to one prompt, its speed and its memory.
///
/// All but the last prompt token is prefilled in chunks, then as many tokens are decoded as were asked for: none of them ends
/// the answer. Lengths beyond the model's positions are not refused, for speed does not depend on what is said.
#[derive(Debug, Parser)]
#[command(name = "infer", max_term_width = 100)]
pub(crate) struct Args {
    /// Folder of the model: config.json and safetensors.
    #[arg(long, value_name = "DIR")]
    model: PathBuf,

    /// The prompt: `tokens` i64 `[T]`, and `z` f32 `[layers, kv_heads]` if it brings a mask.
    #[arg(long, value_name = "FILE")]
    prompt: PathBuf,

    /// Where the answer goes.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,

    /// Tokens per prefill chunk.
    #[arg(long, value_name = "TOKENS", default_value = "8192")]
    chunk: NonZeroUsize,

    /// Tokens to decode.
    #[arg(long, value_name = "N", default_value = "64")]
    new_tokens: NonZeroUsize,

    /// What to keep, a word of `prulong eval`: `full`, `mask`, `all-streaming`, `streaming-llm`, `snapkv:0.7`,
    /// `pyramidkv:0.7:patch`, `knorm:0.5`, `moba`, ... Without it the mask file named, else full attention; `mask` without a
    /// file is the prompt's `z`.
    #[arg(long, value_name = "METHOD")]
    method: Option<MethodSpec>,

    /// A `head_mask.safetensors` or the folder that holds it.
    #[arg(long, value_name = "PATH")]
    mask: Option<PathBuf>,

    /// What a streaming head sees of a chunk: `sliding`, `duo-chunk` or `frozen-prompt`; the mask file's, else `sliding`.
    #[arg(long, value_name = "RULE", value_parser = parse_word::<StreamingRule>)]
    rule: Option<StreamingRule>,

    /// Leading tokens a streaming head always sees; the mask file's unless named.
    #[arg(long, value_name = "TOKENS")]
    sink: Option<usize>,

    /// Most recent tokens a streaming head sees; the mask file's unless named.
    #[arg(long, value_name = "TOKENS")]
    window: Option<usize>,

    /// Answer this often after a warm-up; the report has the times of each.
    #[arg(long, value_name = "TIMES", default_value = "1")]
    repeat: NonZeroUsize,

    #[command(flatten)]
    compute: ComputeArgs,
}

/// What is printed.
#[derive(Debug, serde::Serialize)]
pub(crate) struct Report {
    /// The method and its settings.
    pub(crate) method: String,
    /// What streaming heads see of a chunk, if there are any.
    pub(crate) rule: Option<StreamingRule>,
    /// Tokens per prefill chunk.
    pub(crate) chunk_len: usize,
    /// Times and keys and values.
    pub(crate) cost: Cost,
    /// Largest resident memory while answering.
    pub(crate) peak_rss_bytes: Option<u64>,
    /// Resident memory before the first answer: the loaded model.
    pub(crate) loaded_rss_bytes: Option<u64>,
    /// Whether the peak leaves loading out; otherwise it is the process's.
    pub(crate) is_peak_of_answers: bool,
    /// Attention kernel.
    pub(crate) backend: &'static str,
    /// Where it ran.
    pub(crate) device: String,
    /// Dtype of weights, activations and caches.
    pub(crate) dtype: Dtype,
    /// Threads of one operator.
    pub(crate) threads: usize,
}

/// Runs one command line and returns the process's exit code.
pub(crate) fn call(words: impl IntoIterator<Item = OsString>) -> u8 {
    program::call(words, |args: Args| {
        output::json(&infer(&args)?)?;
        Ok(())
    })
}

fn main() -> ExitCode {
    ExitCode::from(call(std::env::args_os()))
}

/// Answers, writes the answer, and reports.
pub(crate) fn infer(args: &Args) -> Result<Report, AnyFault> {
    let compute = args.compute.choose()?;
    let mut llama = Llama::load_for_inference(&args.model, compute.dtype.kind(), compute.device)?;
    compute.check(&llama.config().shape)?;
    let prompt = Prompt::load(&args.prompt, llama.config())?;
    let method = args.method(&prompt, llama.config())?;
    let (policy, order) = method.policy(&llama);
    if let Some(order) = order {
        llama.permute_kv_heads(&order);
    }
    let loaded_rss_bytes = measure::rss_bytes();
    let is_peak_of_answers = measure::reset_peak_rss();
    let task = Task {
        engine: Engine {
            llama: &llama,
            backend: compute.backend.clone(),
            chunk_len: args.chunk.get(),
        },
        policy: &*policy,
        prompt: &prompt.ids,
        num_new_tokens: args.new_tokens.get(),
    };
    let (answer, cost) = task.measure(args.repeat.get())?;
    let peak_rss_bytes = measure::peak_rss_bytes();
    write(args, &answer)?;
    Ok(Report {
        rule: match &method.keeps {
            Keeps::Mask(_, streaming) => Some(streaming.rule),
            _ => None,
        },
        method: method.name,
        chunk_len: args.chunk.get(),
        cost,
        peak_rss_bytes,
        loaded_rss_bytes,
        is_peak_of_answers,
        backend: compute.backend.name(),
        device: device::name(compute.device),
        dtype: compute.dtype,
        threads: threads::threads(),
    })
}

fn write(args: &Args, answer: &Answer) -> Result<(), tensor_file::OutError> {
    let (output, logits) = (&answer.output, &answer.first_logits);
    let values = [
        ("output".to_owned(), Values::new(vec![output.len()], output)),
        ("logits".to_owned(), Values::new(vec![logits.len()], logits)),
    ];
    tensor_file::write(&args.out, &values)
}

impl Args {
    /// The method asked for, checked against the model.
    fn method(&self, prompt: &Prompt, config: &ModelConfig) -> Result<Method, AnyFault> {
        let streaming = StreamingSettings {
            rule: self.rule,
            sink_len: self.sink,
            window_len: self.window,
        };
        if self.method == Some(MethodSpec::Mask) && self.mask.is_none() {
            let plan = MethodPlan {
                masks: vec![prompt.mask(config)?],
                streaming: streaming::streaming(&streaming, &[], true)?,
                ..MethodPlan::default()
            };
            return plan.only(MethodSpec::Mask, &config.shape);
        }
        let asked = Asked {
            mask: self.mask.clone(),
            method: self.method,
            streaming,
        };
        Ok(asked.resolve(&self.model, config, self.chunk.get())?.method)
    }
}
