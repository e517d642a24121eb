//! Natural text for generators: a tokenized corpus in memory, and windows drawn from it.

use super::TokenCorpus;
use crate::data::error::DataError;
use crate::data::source::Source;
use crate::data::source::select::{Selection, nothing_selected, select};
use crate::data::tokenizer::Tokenizer;
use crate::random::{below, index_below};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use std::sync::Arc;

/// Tokenized documents in memory.
#[derive(Debug, Clone, Default)]
pub struct MemoryCorpus {
    ids: Vec<u32>,
    ends: Vec<usize>,
    num_bytes: u64,
}

impl MemoryCorpus {
    /// Reads and tokenizes the selected documents of `sources` on all cores.
    ///
    /// # Errors
    /// [`DataError::Empty`] if no token results, or the first error of a document.
    pub fn build(
        sources: &[Box<dyn Source>],
        selection: &Selection,
        tokenizer: &Tokenizer,
    ) -> Result<Self, DataError> {
        let documents = select(sources, selection)
            .par_iter()
            .map(|selected| {
                let document = selected.read()?;
                Ok((
                    tokenizer.encode(&document.text)?,
                    document.text.len() as u64,
                ))
            })
            .collect::<Result<Vec<_>, DataError>>()?;
        let mut corpus = Self::default();
        for (ids, num_bytes) in documents {
            corpus.push(&ids);
            corpus.num_bytes += num_bytes;
        }
        if corpus.ids.is_empty() {
            return Err(nothing_selected(sources));
        }
        Ok(corpus)
    }

    /// Appends a document; an empty one is left out.
    pub fn push(&mut self, ids: &[u32]) {
        if !ids.is_empty() {
            self.ids.extend_from_slice(ids);
            self.ends.push(self.ids.len());
        }
    }

    /// Tokens of all documents.
    pub fn num_tokens(&self) -> usize {
        self.ids.len()
    }

    /// blake3 of the documents' tokens and lengths in their order, hex: equal where two runs draw from the same text.
    pub fn fingerprint(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for index in 0..self.num_documents() {
            let document = self.document(index);
            hasher.update(&(document.len() as u64).to_le_bytes());
            for id in document {
                hasher.update(&id.to_le_bytes());
            }
        }
        hasher.finalize().to_hex().to_string()
    }

    /// Bytes of text that were tokenized.
    pub fn num_bytes(&self) -> u64 {
        self.num_bytes
    }
}

impl TokenCorpus for MemoryCorpus {
    fn num_documents(&self) -> usize {
        self.ends.len()
    }

    fn document(&self, index: usize) -> &[u32] {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.ids[start..self.ends[index]]
    }
}

/// Draws windows of natural text; a document is chosen with probability proportional to its length.
#[derive(Clone)]
pub struct NaturalText {
    corpus: Arc<dyn TokenCorpus>,
    /// Tokens of documents `0..=i`.
    ends: Vec<u64>,
    bos: u32,
    eos: u32,
}

impl NaturalText {
    /// Prepares to draw from `corpus`; `bos` and `eos` stand between documents.
    ///
    /// # Errors
    /// [`DataError::Empty`] if the corpus has no token.
    pub fn new(corpus: Arc<dyn TokenCorpus>, tokenizer: &Tokenizer) -> Result<Self, DataError> {
        let mut total = 0;
        let ends: Vec<u64> = (0..corpus.num_documents())
            .map(|index| {
                total += corpus.document(index).len() as u64;
                total
            })
            .collect();
        if total == 0 {
            return Err(DataError::Empty {
                path: "corpus".into(),
                reason: "it has no tokens".to_owned(),
            });
        }
        Ok(Self {
            corpus,
            ends,
            bos: tokenizer.bos(),
            eos: tokenizer.eos(),
        })
    }

    /// Draws `len` tokens: one window of a document that is long enough, else whole documents with the end and begin
    /// tokens between them.
    pub fn window(&self, rng: &mut ChaCha8Rng, len: usize) -> Vec<u32> {
        let mut ids = Vec::with_capacity(len);
        while ids.len() < len {
            if !ids.is_empty() {
                ids.extend([self.eos, self.bos]);
            }
            let document = self.draw_document(rng);
            let wanted = len.saturating_sub(ids.len());
            let start = index_below(rng, document.len().saturating_sub(wanted) + 1);
            ids.extend(document[start..].iter().take(wanted));
        }
        ids.truncate(len);
        ids
    }

    /// The first `len` tokens of all documents in the corpus's order, `joint` between them: each result is a prefix of a longer one.
    ///
    /// # Errors
    /// [`DataError::GeneratorSetting`], naming `generator`, if the corpus is shorter.
    pub fn prefix(
        &self,
        generator: &'static str,
        len: usize,
        joint: &[u32],
    ) -> Result<Vec<u32>, DataError> {
        let mut ids = Vec::with_capacity(len);
        for index in 0..self.corpus.num_documents() {
            if ids.len() >= len {
                break;
            }
            if index > 0 {
                ids.extend_from_slice(joint);
            }
            ids.extend_from_slice(self.corpus.document(index));
        }
        if ids.len() < len {
            return Err(DataError::GeneratorSetting {
                generator,
                setting: "corpus",
                problem: format!(
                    "has {} tokens, one document needs {len}: name more text",
                    ids.len()
                ),
            });
        }
        ids.truncate(len);
        Ok(ids)
    }

    fn draw_document(&self, rng: &mut ChaCha8Rng) -> &[u32] {
        let total = self.ends.last().copied().unwrap_or(1);
        let at = below(rng, total);
        self.corpus
            .document(self.ends.partition_point(|end| *end <= at))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::data::source::text::{Text, TextSettings};
    use crate::random::stream;
    use std::sync::LazyLock;

    /// The tiny model's tokenizer, loaded once.
    pub(crate) static TOKENIZER: LazyLock<Arc<Tokenizer>> = LazyLock::new(|| {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("checkpoints/tiny/tokenizer.json");
        Arc::new(Tokenizer::from_file(&path).unwrap())
    });

    /// Three documents of numbered code lines.
    pub(in crate::data::generate) fn natural() -> NaturalText {
        let mut corpus = MemoryCorpus::default();
        for (name, lines) in [("first", 900), ("second", 300), ("third", 3)] {
            let lines: Vec<String> = (0..lines)
                .map(|i| format!("    let {name} = compute({i}, \"{name}\");\n"))
                .collect();
            corpus.push(&TOKENIZER.encode(&lines.concat()).unwrap());
        }
        NaturalText::new(Arc::new(corpus), &TOKENIZER).unwrap()
    }

    #[test]
    fn long_documents_give_one_window_and_short_ones_are_joined() {
        let natural = natural();
        let mut longest = 0;
        for index in 0..200 {
            let window = natural.window(&mut stream("w", &[index]), 256);
            assert_eq!(window.len(), 256);
            longest = longest.max(window.iter().filter(|id| **id == natural.bos).count());
        }
        assert!(longest <= 1, "{longest}");
        let long = natural.window(&mut stream("w", &[1]), 60_000);
        assert_eq!(long.len(), 60_000);
        for (i, pair) in long.windows(2).enumerate() {
            assert_eq!(pair[0] == natural.eos, pair[1] == natural.bos, "{i}");
        }
    }

    #[test]
    fn documents_are_drawn_by_length() {
        let natural = natural();
        let mut rng = stream("d", &[]);
        let first = natural.corpus.document(0).as_ptr();
        let hits = (0..1000)
            .filter(|_| natural.draw_document(&mut rng).as_ptr() == first)
            .count();
        assert!((700..800).contains(&hits), "{hits}");
    }

    #[test]
    fn the_fingerprint_tells_tokens_and_document_ends_apart() {
        let corpus = |documents: &[&[u32]]| {
            let mut corpus = MemoryCorpus::default();
            for document in documents {
                corpus.push(document);
            }
            corpus.fingerprint()
        };
        let first = corpus(&[&[1, 2], &[3]]);
        assert_eq!(
            first,
            corpus(&[&[1, 2], &[], &[3]]),
            "an empty one is left out"
        );
        for other in [
            corpus(&[&[1], &[2, 3]]),
            corpus(&[&[3], &[1, 2]]),
            corpus(&[&[1, 2, 3]]),
        ] {
            assert_ne!(first, other);
        }
    }

    #[test]
    fn a_corpus_keeps_documents_apart_and_counts() {
        let folder = tempfile::tempdir().unwrap();
        for i in 0..40 {
            std::fs::write(
                folder.path().join(format!("{i:02}.txt")),
                format!("text {i}"),
            )
            .unwrap();
        }
        let source = Text::scan(folder.path(), &TextSettings::default()).unwrap();
        let sources: Vec<Box<dyn Source>> = vec![Box::new(source)];
        let corpus = MemoryCorpus::build(&sources, &Selection::default(), &TOKENIZER).unwrap();
        let mut texts: Vec<String> = (0..corpus.num_documents())
            .map(|i| TOKENIZER.decode(corpus.document(i)).unwrap())
            .collect();
        texts.sort();
        let expected: Vec<String> = (0..40)
            .filter(|i| !crate::data::source::is_held_out(&format!("{i:02}.txt"), 0.05))
            .map(|i| format!("text {i}\n"))
            .collect();
        let mut expected = expected;
        expected.sort();
        assert_eq!(texts, expected);
        assert_eq!(
            corpus.num_bytes(),
            texts.iter().map(|text| text.len() as u64).sum::<u64>()
        );
        let none = Selection {
            max_bytes: Some(1),
            ..Selection::default()
        };
        assert!(MemoryCorpus::build(&sources, &none, &TOKENIZER).is_err());
    }
}
