//! `prulong generate`.

use super::compute::{Compute, ComputeArgs};
use super::eval_methods::StreamingArgs;
use super::generate_report::{self, Report};
use super::generate_source::{SourceArgs, Texts};
use super::output::{self, Output};
use crate::data::tokenizer::Tokenizer;
use crate::eval::method_spec::MethodSpec;
use crate::eval::one_method::{Asked, OneMethod};
use crate::fault::AnyFault;
use crate::infer::completion::{Ends, Prompt};
use crate::infer::generate::Engine;
use crate::infer::policy::Policy;
use crate::model::config::ModelConfig;
use crate::model::llama::Llama;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

/// Answer prompts, one at a time, and say what that cost in keys and values.
///
/// Reads a prompt in chunks and decodes greedily, with real caches per kv head, as `prulong eval` does. The text goes to
/// standard output as it is decoded; one line on standard error says how many tokens were read and written, why it ended, what
/// the caches held at most, and how fast it was. Without --prompt and --prompt-file the prompt is standard input; on a terminal
/// every line is a prompt of its own, with empty caches, until Ctrl-D.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Folder of the model: config.json, safetensors, tokenizer.json.
    #[arg(long, value_name = "DIR")]
    model: PathBuf,

    #[command(flatten)]
    source: SourceArgs,

    #[command(flatten)]
    method: MethodArgs,

    /// Tokens per prefill chunk.
    #[arg(long, value_name = "TOKENS", default_value = "256")]
    chunk: NonZeroUsize,

    /// Most tokens of an answer; they must fit the model behind the prompt.
    #[arg(long, value_name = "TOKENS", default_value = "128")]
    max_new_tokens: NonZeroUsize,

    /// Text that ends an answer, and is no part of it; may be given several times.
    #[arg(long = "stop", value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    stop_texts: Vec<String>,

    /// Print each answer as one JSON object when it is complete: text, tokens, why it ended, keys and values, times.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    compute: ComputeArgs,
}

/// What is kept of the prompt.
#[derive(clap::Args, Debug)]
struct MethodArgs {
    /// A mask: a `head_mask.safetensors`, or the folder that holds it.
    #[arg(long, value_name = "PATH")]
    mask: Option<PathBuf>,

    /// One method, as `prulong eval --method` takes it; without one the mask is used, or full attention where there is none.
    #[arg(long, value_name = "METHOD")]
    method: Option<MethodSpec>,

    #[command(flatten)]
    streaming: StreamingArgs,
}

/// Everything that is loaded once.
struct Session {
    llama: Llama,
    policy: Box<dyn Policy>,
    compute: Compute,
    one: OneMethod,
    ends: Ends,
    chunk_len: usize,
    json: bool,
}

/// Answers the prompt, or one after the other.
///
/// # Errors
/// If the model, the method, the prompt or the device is unusable; on a terminal, what is wrong with one prompt is shown and the
/// next one asked for.
pub fn run(args: Args) -> Result<(), AnyFault> {
    let texts = args.source.open()?;
    let compute = args.compute.choose()?;
    let config = ModelConfig::load(&args.model)?;
    compute.check(&config.shape)?;
    let tokenizer = Tokenizer::from_file(&args.model)?;
    tokenizer.check_embedding_rows(config.vocab_size)?;
    let question = args.source.question().map(str::to_owned);
    let prompt = |text: &str| Prompt::new(&tokenizer, text, question.as_deref());
    // What cannot be answered ends here, before weights are read.
    let first = match &texts {
        Texts::One(text) => Some(prompt(text)?),
        Texts::Lines => None,
    };
    if let Some(first) = &first {
        first.check(args.max_new_tokens.get(), config.max_position_embeddings)?;
    }
    let session = Session::open(args, &config, compute)?;
    match first {
        Some(first) => session.answer(&tokenizer, &first),
        None => Texts::each_line(|line| session.answer(&tokenizer, &prompt(line)?)),
    }
}

impl Session {
    fn open(args: Args, config: &ModelConfig, compute: Compute) -> Result<Self, AnyFault> {
        let asked = Asked {
            mask: args.method.mask,
            method: args.method.method,
            streaming: args.method.streaming.settings(),
        };
        let one = asked.resolve(&args.model, config, args.chunk.get())?;
        for warning in &one.warnings {
            output::note(format!("warning: {warning}"));
        }
        let mut llama =
            Llama::load_for_inference(&args.model, compute.dtype.kind(), compute.device)?;
        let (policy, order) = one.method.policy(&llama);
        if let Some(order) = &order {
            llama.permute_kv_heads(order);
        }
        Ok(Self {
            llama,
            policy,
            compute,
            one,
            ends: Ends {
                max_new_tokens: args.max_new_tokens.get(),
                stop_texts: args.stop_texts,
            },
            chunk_len: args.chunk.get(),
            json: args.json,
        })
    }

    fn answer(&self, tokenizer: &Tokenizer, prompt: &Prompt) -> Result<(), AnyFault> {
        let engine = Engine {
            llama: &self.llama,
            backend: Arc::clone(&self.compute.backend),
            chunk_len: self.chunk_len,
        };
        let mut out = Output::stdout();
        let mut show = |text: &str| -> Result<(), AnyFault> {
            if !self.json {
                out.show(text)?;
            }
            Ok(())
        };
        let (policy, ends) = (&*self.policy, &self.ends);
        let completion = engine.complete(policy, tokenizer, prompt, ends, &mut show)?;
        let report = Report::new(prompt, &completion, ends);
        if self.json {
            out.json(&generate_report::Answer {
                schema: generate_report::SCHEMA,
                text: &completion.text,
                output_ids: &completion.generation.output,
                method: &self.one.method.name,
                mask: self.one.mask.as_ref(),
                chunk_len: self.chunk_len,
                machine: self.compute.identity(),
                report,
            })?;
        } else {
            out.show("\n")?;
            output::note(report);
        }
        out.finish()?;
        Ok(())
    }
}
