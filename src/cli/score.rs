//! `prulong score`.

use super::compute::ComputeArgs;
use super::output::{self, Output};
use crate::data::error::DataError;
use crate::data::tokenizer::Tokenizer;
use crate::fault::{AnyFault, Coded, Kind};
use crate::infer::score::Scorer;
use crate::model::llama::Llama;
use indicatif::{ProgressBar, ProgressDrawTarget};
use std::path::{Path, PathBuf};

/// Negative log-likelihood of every token of a text, and its perplexity.
///
/// The text is read as UTF-8 and tokenized with the model's own tokenizer; special tokens spelt out in it are plain text,
/// and the begin-of-text token is put first, once. The first token is not predicted, so a text of N tokens has N - 1
/// numbers: `num_tokens` is their count and `perplexity` is exp of their mean. The model reads the text in chunks over a
/// full KV cache; the chunk length changes memory and speed, not the numbers.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Folder of the model: config.json, safetensors, tokenizer.json.
    #[arg(long, value_name = "DIR")]
    model: PathBuf,

    /// The text, or with --tokens its ids.
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Print one JSON object: `num_tokens`, `perplexity`, and `nll` with one number per predicted token.
    #[arg(long)]
    json: bool,

    /// FILE holds token ids, as a JSON list or separated by white space; they are used as they are.
    #[arg(long)]
    tokens: bool,

    /// Tokens per forward call.
    #[arg(long, value_name = "TOKENS", default_value_t = 512)]
    chunk: usize,

    #[command(flatten)]
    compute: ComputeArgs,
}

/// A file of token ids cannot be understood.
#[derive(Debug, thiserror::Error)]
#[error("`{path}` holds no token ids: item {item} is `{found}`, expected an integer, 0 or more")]
struct IdsError {
    path: PathBuf,
    item: usize,
    found: String,
}

impl Coded for IdsError {
    fn code(&self) -> &'static str {
        "score.ids"
    }
    fn kind(&self) -> Kind {
        Kind::Input
    }
    fn hint(&self) -> Option<String> {
        Some("write ids as `[1, 2, 3]` or `1 2 3`, or leave --tokens out to score text".to_owned())
    }
}

/// What `--json` prints.
#[derive(serde::Serialize)]
struct Score {
    num_tokens: usize,
    perplexity: f64,
    nll: Vec<f64>,
}

impl Score {
    fn new(nll: Vec<f64>) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "no text has 2^53 tokens")]
        let mean = nll.iter().sum::<f64>() / nll.len() as f64;
        Self {
            num_tokens: nll.len(),
            perplexity: mean.exp(),
            nll,
        }
    }
}

/// Scores the file and prints the result.
///
/// # Errors
/// If the model, its tokenizer, the file or the device is unusable.
pub fn run(args: Args) -> Result<(), AnyFault> {
    let Args {
        model,
        file,
        json,
        tokens,
        chunk,
        compute,
    } = args;
    let compute = compute.choose()?;
    let ids = if tokens {
        read_ids(&file)?
    } else {
        read_text(&file, &Tokenizer::from_file(&model)?)?
    };
    let llama = Llama::load(&model, compute.dtype.kind(), compute.device)?;
    warn_beyond(ids.len(), llama.config().max_position_embeddings);
    let scorer = Scorer {
        llama: &llama,
        backend: compute.backend,
        chunk_len: chunk,
    };
    let bar = ProgressBar::with_draw_target(Some(ids.len() as u64), ProgressDrawTarget::stderr());
    let nll = scorer.losses(&ids, |done| bar.set_position(done as u64))?;
    bar.finish_and_clear();
    print(&Score::new(nll), json)
}

/// The text's ids, begin-of-text first.
fn read_text(file: &Path, tokenizer: &Tokenizer) -> Result<Vec<i64>, AnyFault> {
    let ids = tokenizer.encode(&read_utf8(file)?)?;
    let begin = std::iter::once(tokenizer.bos());
    Ok(begin.chain(ids).map(i64::from).collect())
}

fn read_utf8(path: &Path) -> Result<String, DataError> {
    let bytes = std::fs::read(path).map_err(|source| DataError::Io {
        action: "read",
        path: path.to_path_buf(),
        source,
    })?;
    String::from_utf8(bytes).map_err(|error| DataError::Utf8 {
        path: path.to_path_buf(),
        offset: error.utf8_error().valid_up_to(),
    })
}

fn read_ids(path: &Path) -> Result<Vec<i64>, AnyFault> {
    let text = read_utf8(path)?;
    let trimmed = text.trim();
    let list = trimmed
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let items: Vec<&str> = match list {
        Some(list) if list.trim().is_empty() => Vec::new(),
        Some(list) => list.split(',').map(str::trim).collect(),
        None => trimmed.split_whitespace().collect(),
    };
    let id = |(item, text): (usize, &&str)| {
        text.parse::<u32>().map(i64::from).map_err(|_| IdsError {
            path: path.to_path_buf(),
            item,
            found: text.chars().take(20).collect(),
        })
    };
    Ok(items.iter().enumerate().map(id).collect::<Result<_, _>>()?)
}

fn warn_beyond(num_ids: usize, max_positions: usize) {
    if num_ids > max_positions {
        output::note(format!(
            "warning[model.positions]: {num_ids} tokens, but the model was made for {max_positions}"
        ));
    }
}

fn print(score: &Score, json: bool) -> Result<(), AnyFault> {
    let mut out = Output::stdout();
    if json {
        out.json(score)?;
    } else {
        let Score {
            num_tokens,
            perplexity,
            ..
        } = score;
        out.line(format!(
            "{num_tokens} tokens  {:.6} nats per token  perplexity {perplexity:.4}",
            perplexity.ln()
        ))?;
    }
    out.finish()?;
    Ok(())
}
