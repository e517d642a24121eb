//! `prulong score`.

use super::compute::ComputeArgs;
use super::output;
use super::score_report::{Document, Score, Totals};
use super::score_text::{ScoredArgs, Text};
use crate::fault::{AnyFault, Coded, Kind};
use crate::infer::score::Scorer;
use crate::infer::windows::{Lead, Windows};
use crate::model::llama::Llama;
use indicatif::{ProgressBar, ProgressDrawTarget};
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// Negative log-likelihood of every token of a text, its perplexity, and bits per byte.
///
/// The text is read as UTF-8 and tokenized with the model's own tokenizer; special tokens spelt out in it are plain text,
/// and the begin-of-text token is put first, once per document. It predicts the first token of the text and is not
/// predicted itself, so every byte is paid for: bits per byte is the sum of all losses in bits over the bytes of the text.
/// (With --tokens, the first id of the list is what is not predicted.) `num_tokens` counts predicted tokens and `perplexity`
/// is exp of their mean loss.
///
/// The model reads in chunks over a full KV cache; the chunk length changes memory and speed, not the numbers. With
/// --context, a long text is read in windows: each predicts up to that many tokens, its first one from the token put in
/// front of it (--bos). With --stride below the context, windows overlap and a token counts where it is first predicted.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Folder of the model: config.json, safetensors, tokenizer.json.
    #[arg(long, value_name = "DIR")]
    model: PathBuf,

    #[command(flatten)]
    text: ScoredArgs,

    /// Tokens that the model reads at most at a time [default: a FILE in one pass, documents of sources in windows of the
    /// model's `max_position_embeddings`].
    #[arg(long, value_name = "TOKENS")]
    context: Option<NonZeroUsize>,

    /// Tokens between the starts of two windows [default: the context, no overlap].
    #[arg(long, value_name = "TOKENS", requires = "context")]
    stride: Option<NonZeroUsize>,

    /// What stands in front of a window that continues a document: `window`, the begin token again, as in packed rows;
    /// `document`, the token before the window.
    #[arg(long, value_enum, value_name = "WHERE", default_value = "window")]
    bos: BosAt,

    /// Print one JSON object: `num_tokens`, `perplexity`, `num_bytes`, `bits_per_byte`, `blake3` of the bytes, and of a file
    /// `nll` with one number per predicted token, of sources `documents` with the numbers of each.
    #[arg(long)]
    json: bool,

    /// Tokens per forward call.
    #[arg(long, value_name = "TOKENS", default_value_t = 512)]
    chunk: usize,

    #[command(flatten)]
    compute: ComputeArgs,
}

/// Where the begin token stands.
#[derive(clap::ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
enum BosAt {
    /// At every window.
    Window,
    /// At every document.
    Document,
}

/// Windows that would leave tokens out.
#[derive(Debug, thiserror::Error)]
#[error("a stride of {stride} tokens leaves gaps between windows of {context} tokens")]
struct StrideError {
    stride: usize,
    context: usize,
}

impl Coded for StrideError {
    fn code(&self) -> &'static str {
        "score.stride"
    }
    fn kind(&self) -> Kind {
        Kind::Input
    }
    fn hint(&self) -> Option<String> {
        Some(format!("use --stride up to {}", self.context))
    }
}

/// Scores the file or the documents and prints the result.
///
/// # Errors
/// If the model, its tokenizer, the text or the device is unusable.
pub fn run(args: Args) -> Result<(), AnyFault> {
    args.check_stride()?;
    let compute = args.compute.choose()?;
    let texts = args.text.read(&args.model)?;
    let llama = Llama::load(&args.model, compute.dtype.kind(), compute.device)?;
    compute.check(&llama.config().shape)?;
    let max_positions = llama.config().max_position_embeddings;
    let windows = args.windows(max_positions);
    warn_beyond(&texts.texts, windows, max_positions);
    let scorer = Scorer {
        llama: &llama,
        backend: compute.backend,
        chunk_len: args.chunk,
    };
    let (totals, documents, nll) = score(&scorer, texts.texts, windows)?;
    let is_sources = args.text.is_sources();
    let score = Score {
        totals,
        blake3: texts.blake3,
        windows: (windows != Windows::whole()).then_some(windows),
        documents: is_sources.then_some(documents),
        nll: (!is_sources).then_some(nll),
    };
    score.print(args.json)
}

impl Args {
    /// Before anything is read: a model takes long to load.
    fn check_stride(&self) -> Result<(), StrideError> {
        let lens = self.stride.zip(self.context);
        match lens.map(|(stride, context)| (stride.get(), context.get())) {
            Some((stride, context)) if stride > context => Err(StrideError { stride, context }),
            _ => Ok(()),
        }
    }

    fn windows(&self, max_positions: usize) -> Windows {
        let natural = self.text.is_sources().then_some(max_positions);
        let Some(context_len) = self.context.map(NonZeroUsize::get).or(natural) else {
            return Windows::whole();
        };
        Windows {
            context_len,
            stride: self.stride.map_or(context_len, NonZeroUsize::get),
            lead: match self.bos {
                BosAt::Window => Lead::Begin,
                BosAt::Document => Lead::Previous,
            },
        }
    }
}

/// Scores text after text: totals, the same for each text, and all losses.
fn score(
    scorer: &Scorer<'_>,
    texts: Vec<Text>,
    windows: Windows,
) -> Result<(Totals, Vec<Document>, Vec<f64>), AnyFault> {
    let num_losses: usize = texts
        .iter()
        .map(|text| text.ids.len().saturating_sub(1))
        .sum();
    let bar = ProgressBar::with_draw_target(Some(num_losses as u64), ProgressDrawTarget::stderr());
    let mut nll = Vec::with_capacity(num_losses);
    let mut documents = Vec::with_capacity(texts.len());
    let mut num_bytes = Some(0);
    for text in texts {
        let known = nll.len();
        let losses = scorer.losses(&text.ids, windows, |done| {
            bar.set_position((known + done) as u64);
        })?;
        num_bytes = num_bytes.zip(text.num_bytes).map(|(sum, own)| sum + own);
        documents.push(Document {
            source: text.source,
            id: text.id,
            totals: Totals::new(&losses, text.num_bytes),
        });
        nll.extend(losses);
    }
    bar.finish_and_clear();
    Ok((Totals::new(&nll, num_bytes), documents, nll))
}

fn warn_beyond(texts: &[Text], windows: Windows, max_positions: usize) {
    let longest = texts.iter().map(|text| text.ids.len()).max().unwrap_or(0);
    // The last token is never read: it predicts nothing.
    let num_read = longest.saturating_sub(1).min(windows.context_len);
    if num_read > max_positions {
        output::note(format!(
            "warning[model.positions]: {num_read} tokens, but the model was made for {max_positions}"
        ));
    }
}
