//! What `prulong score` scores: one file, or documents held out of training.

use super::amounts::{parse_bytes, parse_measuring_share};
use super::new_file::write_new;
use super::sources::{SourceSpec, open_sources};
use crate::data::error::DataError;
use crate::data::source::excerpt::{Excerpt, Limits, read_up_to};
use crate::data::source::held_out::DEFAULT_SHARE;
use crate::data::source::select::{Selection, Split};
use crate::data::source::text::read_utf8;
use crate::data::tokenizer::Tokenizer;
use crate::fault::{AnyFault, Coded, Kind};
use std::path::{Path, PathBuf};

/// What stands where documents name their source.
const FILE: &str = "file";

/// Where the text comes from.
#[derive(clap::Args, Debug)]
pub(super) struct ScoredArgs {
    /// The text, or with --tokens its ids.
    #[arg(value_name = "FILE", required_unless_present = "sources")]
    file: Option<PathBuf>,

    /// FILE holds token ids, as a JSON list or separated by white space; they are used as they are, in one pass.
    #[arg(long, conflicts_with_all = ["sources", "context", "bos"])]
    tokens: bool,

    /// Score held-out documents instead of FILE: `crates`, `rust-books`, `text=PATH` or `text-dirs=PATH`; may be repeated.
    #[arg(long = "source", value_name = "SOURCE", conflicts_with = "file")]
    sources: Vec<SourceSpec>,

    /// Share of documents that training held out; 1 scores all of them.
    #[arg(long, value_name = "SHARE", default_value_t = DEFAULT_SHARE, value_parser = parse_measuring_share,
          conflicts_with = "file")]
    held_out: f64,

    /// Most bytes of text, e.g. `1MB` (powers of 1000): documents are taken in an order that depends on their names and the
    /// seed until the bytes run out; the last one is cut at the end of a line [default: all].
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes, conflicts_with = "file")]
    max_bytes: Option<u64>,

    /// Most bytes of one document, from its beginning to the end of a line: without it a few long documents, often
    /// repetitive ones, decide the result [default: all].
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes, conflicts_with = "file")]
    max_document_bytes: Option<u64>,

    /// Seed of the order of documents.
    #[arg(long, value_name = "N", default_value_t = 0, conflicts_with = "file")]
    seed: u64,

    /// Write exactly the scored bytes to a new file, one document after the other, to run other programs on them.
    #[arg(long, value_name = "FILE", conflicts_with = "file")]
    dump: Option<PathBuf>,
}

/// A text to score, as tokens.
pub(super) struct Text {
    /// Name of its source; `file` for a file.
    pub source: String,
    /// Its id; the path of a file.
    pub id: String,
    /// The begin token and the text's tokens; ids of a file as they are.
    pub ids: Vec<i64>,
    /// Length in bytes, where the text is known.
    pub num_bytes: Option<u64>,
}

/// Everything to score.
pub(super) struct Texts {
    /// The texts in order.
    pub texts: Vec<Text>,
    /// blake3 of their bytes one after the other, hex; nothing where only ids are known.
    pub blake3: Option<String>,
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

impl ScoredArgs {
    /// Whether documents of sources are scored, not a file.
    pub(super) fn is_sources(&self) -> bool {
        self.file.is_none()
    }

    /// Reads and tokenizes with the tokenizer of `model`, and writes the dump.
    ///
    /// # Errors
    /// If there is no text, no tokenizer, or the dump cannot be written.
    pub(super) fn read(&self, model: &Path) -> Result<Texts, AnyFault> {
        let file = self.file.as_deref();
        if let (Some(file), true) = (file, self.tokens) {
            let text = Text {
                source: FILE.to_owned(),
                id: file.display().to_string(),
                ids: read_ids(file)?,
                num_bytes: None,
            };
            return Ok(Texts {
                texts: vec![text],
                blake3: None,
            });
        }
        let tokenizer = Tokenizer::from_file(model)?;
        let parts = match file {
            Some(file) => vec![Excerpt {
                source: FILE.to_owned(),
                id: file.display().to_string(),
                text: read_utf8(file)?,
            }],
            None => self.excerpts()?,
        };
        if let Some(dump) = &self.dump {
            let texts: Vec<&str> = parts.iter().map(|part| part.text.as_str()).collect();
            write_new(dump, texts.concat().as_bytes())?;
        }
        tokenized(parts, &tokenizer)
    }

    fn excerpts(&self) -> Result<Vec<Excerpt>, DataError> {
        let sources = open_sources(&self.sources)?;
        let selection = Selection {
            split: Split::HeldOut,
            held_out_share: self.held_out,
            max_bytes: None,
            seed: self.seed,
        };
        let limits = Limits {
            total: self.max_bytes,
            per_document: self.max_document_bytes,
        };
        read_up_to(&sources, &selection, limits)
    }
}

fn tokenized(parts: Vec<Excerpt>, tokenizer: &Tokenizer) -> Result<Texts, AnyFault> {
    let mut hasher = blake3::Hasher::new();
    let mut texts = Vec::with_capacity(parts.len());
    for Excerpt { source, id, text } in parts {
        hasher.update(text.as_bytes());
        let begin = std::iter::once(tokenizer.bos());
        let ids = begin.chain(tokenizer.encode(&text)?);
        texts.push(Text {
            source,
            id,
            ids: ids.map(i64::from).collect(),
            num_bytes: Some(text.len() as u64),
        });
    }
    Ok(Texts {
        texts,
        blake3: Some(hasher.finalize().to_hex().to_string()),
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
