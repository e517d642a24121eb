//! Documents of sources on this machine that no training run has seen.

use super::{Haystack, HaystackIdentity};
use crate::data::source::{Source, is_held_out};
use crate::data::tokenizer::Tokenizer;
use crate::eval::error::EvalError;
use crate::random::index_below;
use rand_chacha::ChaCha8Rng;
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

/// A document of this many bytes per wanted token is surely long enough by itself.
const SAFE_BYTES_PER_TOKEN: usize = 12;

/// Bytes of text that are kept for the next item: a book takes long to parse.
const MAX_KEPT_BYTES: usize = 64 << 20;

/// The held-out documents of some sources, by the one rule of `data::source::held_out`.
pub struct HeldOutDocuments {
    sources: Vec<Box<dyn Source>>,
    documents: Vec<DocumentRef>,
    tokenizer: Arc<Tokenizer>,
    share: f64,
    /// Texts that were read, by source and index.
    texts: RefCell<HashMap<(usize, usize), Arc<str>>>,
}

#[derive(Debug, Clone, Copy)]
struct DocumentRef {
    source: usize,
    index: usize,
    bytes: u64,
}

impl HeldOutDocuments {
    /// Keeps the held-out `share` of the documents of `sources`.
    ///
    /// # Errors
    /// [`EvalError::NoHaystack`] if that is none.
    pub fn new(
        sources: Vec<Box<dyn Source>>,
        share: f64,
        tokenizer: Arc<Tokenizer>,
    ) -> Result<Self, EvalError> {
        let mut documents = Vec::new();
        let mut num_units = 0;
        for (number, source) in sources.iter().enumerate() {
            num_units += source.num_documents() as u64;
            for index in 0..source.num_documents() {
                let (id, bytes) = source.describe(index);
                if bytes > 0 && is_held_out(id, share) {
                    documents.push(DocumentRef {
                        source: number,
                        index,
                        bytes,
                    });
                }
            }
        }
        if documents.is_empty() {
            return Err(EvalError::NoHaystack {
                found: format!("none of {num_units} documents is held out"),
                remedy: "name more text with --source, or a larger --held-out share",
            });
        }
        Ok(Self {
            sources,
            documents,
            tokenizer,
            share,
            texts: RefCell::default(),
        })
    }

    /// The text of one document, read once as long as there is room for what was read.
    fn text(&self, document: DocumentRef) -> Result<Arc<str>, EvalError> {
        let key = (document.source, document.index);
        let mut texts = self.texts.borrow_mut();
        if let Some(text) = texts.get(&key) {
            return Ok(Arc::clone(text));
        }
        let text: Arc<str> = self.sources[document.source]
            .read(document.index)?
            .text
            .into();
        let kept: usize = texts.values().map(|text| text.len()).sum();
        if kept + text.len() > MAX_KEPT_BYTES {
            texts.clear();
        }
        texts.insert(key, Arc::clone(&text));
        Ok(text)
    }

    /// Documents that are long enough for `len` tokens by themselves; all of them if none is.
    fn pool(&self, len: usize) -> Vec<DocumentRef> {
        let safe = len.saturating_mul(SAFE_BYTES_PER_TOKEN) as u64;
        let long: Vec<_> = self
            .documents
            .iter()
            .filter(|of| of.bytes >= safe)
            .collect();
        if long.is_empty() {
            return self.documents.clone();
        }
        long.into_iter().copied().collect()
    }
}

impl Haystack for HeldOutDocuments {
    fn draw(&self, rng: &mut ChaCha8Rng, len: usize) -> Result<Vec<u32>, EvalError> {
        let pool = self.pool(len);
        let mut tokens = Vec::with_capacity(len);
        let mut fruitless = 0;
        while tokens.len() < len {
            let text = self.text(pool[index_below(rng, pool.len())])?;
            let wanted = (len - tokens.len()).saturating_mul(SAFE_BYTES_PER_TOKEN);
            let piece = self.tokenizer.encode(excerpt(rng, &text, wanted))?;
            fruitless = if piece.is_empty() { fruitless + 1 } else { 0 };
            if fruitless > pool.len() {
                return Err(EvalError::NoHaystack {
                    found: format!("{} held-out documents hold no text", pool.len()),
                    remedy: "name other text with --source",
                });
            }
            if !tokens.is_empty() {
                tokens.extend([self.tokenizer.eos(), self.tokenizer.bos()]);
            }
            tokens.extend(piece);
        }
        tokens.truncate(len);
        Ok(tokens)
    }

    fn identity(&self) -> HaystackIdentity {
        let names = self.sources.iter().map(|source| source.name().to_owned());
        HaystackIdentity {
            kind: "documents".to_owned(),
            sources: names.collect(),
            held_out: true,
            held_out_share: Some(self.share),
            num_units: self.documents.len() as u64,
        }
    }
}

/// About `wanted` bytes of `text` from a line start on; all of it if it is shorter.
fn excerpt<'a>(rng: &mut ChaCha8Rng, text: &'a str, wanted: usize) -> &'a str {
    let spare = text.len().saturating_sub(wanted);
    let offset = text.floor_char_boundary(index_below(rng, spare + 1));
    let start = text[..offset].rfind('\n').map_or(0, |newline| newline + 1);
    let end = text.floor_char_boundary(start.saturating_add(wanted).min(text.len()));
    &text[start..end]
}
