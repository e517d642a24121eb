//! Pass 1: every document is read and tokenized once, by all cores; tokens go to a file, a few numbers stay in memory.

use super::PackProgress;
use super::error::PackError;
use super::plan::{DocumentLen, tie};
use crate::data::error::DataError;
use crate::data::source::FileRecord;
use crate::data::source::select::Selected;
use crate::data::tokenizer::Tokenizer;
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Text that is in memory at a time, unless one document alone is larger.
const BATCH_BYTES: u64 = 32 << 20;

/// What the manifest says of a document, besides its lengths.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DocumentSource {
    /// Its id.
    pub id: String,
    /// Name of its source.
    pub domain: String,
    /// SPDX expression, or `unknown`.
    pub licence: String,
    /// Its files.
    pub files: Vec<FileRecord>,
}

/// Tokens of all documents, on disk.
#[derive(Debug)]
pub struct Spool {
    tokens: File,
    tokens_path: PathBuf,
    sources_path: PathBuf,
    /// First token of every document, then the number of tokens.
    starts: Vec<u64>,
    /// What the plan needs of every document.
    pub documents: Vec<DocumentLen>,
    /// Bytes of text read.
    pub num_bytes: u64,
    /// Files left out while reading documents, by source and reason.
    pub dropped_files: BTreeMap<String, BTreeMap<String, u64>>,
}

struct Tokenized {
    source: DocumentSource,
    tokens: Vec<u32>,
    num_bytes: u64,
    dropped_files: BTreeMap<String, u64>,
}

/// How documents are tokenized.
#[derive(Clone, Copy)]
pub struct SpoolInput<'a> {
    /// The documents, in the order of the manifest.
    pub documents: &'a [Selected<'a>],
    /// Names of the sources, in order.
    pub domains: &'a [String],
    /// Turns text into tokens.
    pub tokenizer: &'a Tokenizer,
    /// Orders pieces of equal length.
    pub seed: u64,
}

/// Reads and tokenizes `input.documents` into files below `folder`, on the current rayon pool.
///
/// # Errors
/// Whatever reading or encoding a document fails with; of several failures, the one of the earliest document.
pub fn spool(
    input: SpoolInput<'_>,
    tokens_path: PathBuf,
    sources_path: PathBuf,
    progress: &dyn PackProgress,
) -> Result<Spool, PackError> {
    let mut tokens = create(&tokens_path)?;
    let mut sources = create(&sources_path)?;
    let mut spool = Spool {
        tokens: open(&tokens_path)?,
        starts: vec![0],
        documents: Vec::with_capacity(input.documents.len()),
        num_bytes: 0,
        dropped_files: BTreeMap::new(),
        tokens_path,
        sources_path,
    };
    for batch in batches(input.documents) {
        let tokenized: Vec<Result<Tokenized, DataError>> = batch
            .par_iter()
            .map(|selected| tokenize(selected, input.tokenizer, progress))
            .collect();
        for document in tokenized {
            let document = document?;
            let bytes: Vec<u8> = document
                .tokens
                .iter()
                .flat_map(|token| token.to_le_bytes())
                .collect();
            tokens
                .write_all(&bytes)
                .map_err(|error| DataError::io("write", &spool.tokens_path, error))?;
            serde_json::to_writer(&mut sources, &document.source)
                .map_err(std::io::Error::from)
                .and_then(|()| sources.write_all(b"\n"))
                .map_err(|error| DataError::io("write", &spool.sources_path, error))?;
            spool.add(document, input);
        }
    }
    tokens
        .flush()
        .map_err(|error| DataError::io("write", &spool.tokens_path, error))?;
    sources
        .flush()
        .map_err(|error| DataError::io("write", &spool.sources_path, error))?;
    Ok(spool)
}

/// Splits documents into runs of about [`BATCH_BYTES`].
fn batches<'a>(documents: &'a [Selected<'a>]) -> impl Iterator<Item = &'a [Selected<'a>]> {
    let mut rest = documents;
    std::iter::from_fn(move || {
        let mut bytes = 0_u64;
        let fitting = rest
            .iter()
            .take_while(|selected| {
                bytes = bytes.saturating_add(selected.bytes().max(1));
                bytes <= BATCH_BYTES
            })
            .count()
            .max(1);
        let (batch, after) = rest.split_at(fitting.min(rest.len()));
        rest = after;
        (!batch.is_empty()).then_some(batch)
    })
}

fn tokenize(
    selected: &Selected<'_>,
    tokenizer: &Tokenizer,
    progress: &dyn PackProgress,
) -> Result<Tokenized, DataError> {
    let document = selected.read()?;
    let tokens = tokenizer.encode(&document.text)?;
    let num_bytes = document.text.len() as u64;
    progress.advance(num_bytes, tokens.len() as u64);
    Ok(Tokenized {
        source: DocumentSource {
            id: document.id,
            domain: selected.domain().to_owned(),
            licence: document.licence,
            files: document.files,
        },
        tokens,
        num_bytes,
        dropped_files: document.dropped_files,
    })
}

impl Spool {
    fn add(&mut self, document: Tokenized, input: SpoolInput<'_>) {
        let len = document.tokens.len() as u64;
        let domain = &document.source.domain;
        let source = input.domains.iter().position(|name| name == domain);
        self.documents.push(DocumentLen {
            len,
            tie: tie(input.seed, &document.source.id),
            source: source.unwrap_or(0),
        });
        self.starts.push(self.num_tokens() + len);
        self.num_bytes += document.num_bytes;
        let dropped = self.dropped_files.entry(domain.clone()).or_default();
        for (reason, count) in document.dropped_files {
            *dropped.entry(reason).or_default() += count;
        }
    }

    /// Tokens of all documents.
    pub fn num_tokens(&self) -> u64 {
        self.starts.last().copied().unwrap_or(0)
    }

    /// `num_tokens` tokens of document `document`, from its token `start` on.
    ///
    /// # Errors
    /// [`DataError::Io`].
    pub fn read(
        &self,
        document: usize,
        start: u64,
        num_tokens: u64,
    ) -> Result<Vec<u32>, DataError> {
        let len = usize::try_from(num_tokens).unwrap_or(usize::MAX);
        let mut bytes = vec![0_u8; len.saturating_mul(4)];
        let first = self.starts[document] + start;
        self.tokens
            .read_exact_at(&mut bytes, first * 4)
            .map_err(|error| DataError::io("read", &self.tokens_path, error))?;
        let words = bytes.as_chunks::<4>().0;
        Ok(words.iter().map(|word| u32::from_le_bytes(*word)).collect())
    }

    /// One line of JSON ([`DocumentSource`]) per document.
    ///
    /// # Errors
    /// [`DataError::Io`].
    pub fn sources(&self) -> Result<impl Iterator<Item = std::io::Result<String>>, DataError> {
        let file = open(&self.sources_path)?;
        Ok(std::io::BufRead::lines(std::io::BufReader::new(file)))
    }
}

fn create(path: &Path) -> Result<BufWriter<File>, DataError> {
    File::create(path)
        .map(BufWriter::new)
        .map_err(|error| DataError::io("create", path, error))
}

fn open(path: &Path) -> Result<File, DataError> {
    File::open(path).map_err(|error| DataError::io("open", path, error))
}
