//! Logits of every token of a known text under a head mask: what another implementation of the same mask is compared with.
//!
//! ```text
//! cargo run --release --example logits -- --model DIR --tokens in.safetensors --mask FILE --rule sliding --out out.safetensors
//! in:  `tokens` i64 [T]
//! out: `logits` f64 [T, V], exactly what was computed, in f32 unless `--dtype` says otherwise
//! ```
//!
//! `tests/clients/` compares transformers and kvpress with it.

use clap::Parser;
use prulong::cli::amounts::parse_word;
use prulong::cli::compute::ComputeArgs;
use prulong::cli::output;
use prulong::cli::program;
use prulong::config::dtype::Dtype;
use prulong::config::eval::StreamingSettings;
use prulong::eval::method::Keeps;
use prulong::eval::one_method::Asked;
use prulong::fault::AnyFault;
use prulong::infer::error::InferError;
use prulong::infer::generate::Engine;
use prulong::infer::model_cache::ModelCache;
use prulong::infer::policy::Policy;
use prulong::model::llama::Llama;
use prulong::span::StreamingRule;
use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use tch::Kind;

#[path = "infer/prompt.rs"]
#[expect(dead_code, reason = "here the mask is a file of its own")]
mod prompt;
#[path = "shared/tensor_file.rs"]
pub(crate) mod tensor_file;

use prompt::Prompt;
use tensor_file::Values;

/// Logits of every token of a known text, under a mask or with full attention.
///
/// All but the last tokens are prefilled in chunks, the others read one by one, as if they had been decoded.
#[derive(Debug, Parser)]
#[command(name = "logits", max_term_width = 100)]
pub(crate) struct Args {
    /// Folder of the model: config.json and safetensors.
    #[arg(long, value_name = "DIR")]
    model: PathBuf,

    /// The text: `tokens` i64 `[T]`.
    #[arg(long, value_name = "FILE")]
    tokens: PathBuf,

    /// Where the logits go.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,

    /// Tokens per prefill chunk.
    #[arg(long, value_name = "TOKENS", default_value = "8192")]
    chunk: NonZeroUsize,

    /// Tokens at the end that are read one by one, after the prefill.
    #[arg(long, value_name = "N", default_value = "0")]
    decode: usize,

    /// A `head_mask.safetensors` or the folder that holds it; without one, full attention.
    #[arg(long, value_name = "PATH")]
    mask: Option<PathBuf>,

    /// What a streaming head sees of a chunk: `sliding`, `duo-chunk` or `frozen-prompt`; the mask file's, else `sliding`.
    #[arg(long, value_name = "RULE", value_parser = parse_word::<StreamingRule>)]
    rule: Option<StreamingRule>,

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
    /// Tokens prefilled.
    pub(crate) num_prefilled: usize,
    /// Tokens read one by one.
    pub(crate) num_decoded: usize,
    /// Attention kernel.
    pub(crate) backend: &'static str,
    /// Dtype of weights, activations and caches.
    pub(crate) dtype: Dtype,
}

/// Runs one command line and returns the process's exit code.
pub(crate) fn call(words: impl IntoIterator<Item = OsString>) -> u8 {
    program::call(words, |args: Args| {
        output::json(&logits(&args)?)?;
        Ok(())
    })
}

fn main() -> ExitCode {
    ExitCode::from(call(std::env::args_os()))
}

/// Reads the text, writes its logits, and reports.
pub(crate) fn logits(args: &Args) -> Result<Report, AnyFault> {
    let compute = args.compute.choose()?;
    let mut llama = Llama::load_for_inference(&args.model, compute.dtype.kind(), compute.device)?;
    compute.check(&llama.config().shape)?;
    let ids = Prompt::load(&args.tokens, llama.config())?.ids;
    let asked = Asked {
        mask: args.mask.clone(),
        method: None,
        streaming: StreamingSettings {
            rule: args.rule,
            sink_len: None,
            window_len: None,
        },
    };
    let method = asked.resolve(&args.model, llama.config(), args.chunk.get())?;
    let method = method.method;
    let (policy, order) = method.policy(&llama);
    if let Some(order) = order {
        llama.permute_kv_heads(&order);
    }
    let engine = Engine {
        llama: &llama,
        backend: compute.backend.clone(),
        chunk_len: args.chunk.get(),
    };
    let (head, rest) = ids.split_at(ids.len().saturating_sub(args.decode));
    let rows = rows(&engine, &*policy, head, rest)?;
    let shape = vec![ids.len(), llama.config().vocab_size];
    let values = [("logits".to_owned(), Values::new(shape, &rows))];
    tensor_file::write(&args.out, &values)?;
    Ok(Report {
        rule: match &method.keeps {
            Keeps::Mask(_, streaming) => Some(streaming.rule),
            _ => None,
        },
        method: method.name,
        chunk_len: args.chunk.get(),
        num_prefilled: head.len(),
        num_decoded: rest.len(),
        backend: compute.backend.name(),
        dtype: compute.dtype,
    })
}

/// Logits of the prompt `head`, chunk by chunk, then of the tokens of `rest`, row-major.
fn rows(
    engine: &Engine<'_>,
    policy: &dyn Policy,
    head: &[i64],
    rest: &[i64],
) -> Result<Vec<f64>, AnyFault> {
    let mut cache = engine.open_cache(policy, head.len() + rest.len())?;
    let mut reader = Reader {
        llama: engine.llama,
        position: 0,
        logits: Vec::new(),
    };
    for chunk in head.chunks(engine.chunk_len) {
        reader.read(chunk, &mut cache)?;
    }
    cache.end_prefill()?;
    for token in rest {
        reader.read(&[*token], &mut cache)?;
    }
    Ok(reader.logits)
}

/// Logits of the tokens read so far.
struct Reader<'a> {
    llama: &'a Llama,
    position: usize,
    logits: Vec<f64>,
}

impl Reader<'_> {
    fn read(&mut self, tokens: &[i64], cache: &mut ModelCache) -> Result<(), AnyFault> {
        let position = self.position;
        let hidden = self.llama.forward_cached(tokens, position, cache)?;
        let logits = self.llama.logits(&hidden).to_kind(Kind::Double);
        let found = Vec::<f64>::try_from(logits.flatten(0, -1)).unwrap_or_default();
        if found.is_empty() || !found.iter().all(|logit| logit.is_finite()) {
            return Err(InferError::NotFinite { position }.into());
        }
        self.logits.extend(found);
        self.position += tokens.len();
        Ok(())
    }
}
