//! A Hugging Face `tokenizer.json`, loaded and ready to encode documents.
//!
//! # Decisions
//! The text of a document never yields a special token: `</s>` inside source code is five characters, not an end of text.
//! Whoever builds a sequence adds the begin and end tokens by id, or writes a chat's own text with
//! [`Tokenizer::encode_marked`].

use super::special::{SpecialIds, find_special};
use crate::data::error::DataError;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Larger tokenizer files are refused before they are parsed; the largest published ones have 35 MB.
const MAX_FILE_BYTES: u64 = 256 << 20;

/// What stands for a token without text.
const REPLACEMENT: &str = "\u{fffd}";

/// Turns text into token ids and back. Cheap to share between threads by reference.
#[derive(Debug)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    /// The same, but special tokens in a text are those tokens; made when first needed.
    marked: OnceLock<tokenizers::Tokenizer>,
    special: SpecialIds,
    num_ids: usize,
    fingerprint: String,
}

impl Tokenizer {
    /// Loads `path`, a `tokenizer.json` or the folder that holds one.
    ///
    /// # Errors
    /// [`DataError::TokenizerMissing`] and [`DataError::TokenizerSlowOnly`] if there is no such file,
    /// [`DataError::TokenizerFormat`] if it cannot be understood, [`DataError::TokenizerSpecial`] if it names no begin or
    /// end token, or [`DataError::Io`].
    pub fn from_file(path: &Path) -> Result<Self, DataError> {
        let path = locate(path)?;
        let info =
            std::fs::metadata(&path).map_err(|error| DataError::io("inspect", &path, error))?;
        let format = |reason: String| DataError::TokenizerFormat {
            path: path.clone(),
            reason,
        };
        if info.len() > MAX_FILE_BYTES {
            return Err(format(format!(
                "{} bytes are more than the {MAX_FILE_BYTES} that a tokenizer may have",
                info.len()
            )));
        }
        let bytes = std::fs::read(&path).map_err(|error| DataError::io("read", &path, error))?;
        let mut inner =
            tokenizers::Tokenizer::from_bytes(&bytes).map_err(|error| format(error.to_string()))?;
        // Files saved by a training script may ask to cut or pad every text; a document must stay whole.
        inner
            .with_truncation(None)
            .map_err(|error| format(error.to_string()))?;
        inner.with_padding(None);
        inner.set_encode_special_tokens(true);
        let special = find_special(&path, |token| inner.token_to_id(token))?;
        let num_ids = num_ids(&inner, special);
        Ok(Self {
            inner,
            marked: OnceLock::new(),
            special,
            num_ids,
            fingerprint: blake3::hash(&bytes).to_hex().to_string(),
        })
    }

    /// Token ids of `text`, without begin or end token.
    ///
    /// # Errors
    /// [`DataError::Tokenize`] if the tokenizer has no token for some piece of the text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, DataError> {
        let encoding = self
            .inner
            .encode_fast(text, false)
            .map_err(|error| tokenize("encode", &error))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// Token ids of `text` written by a chat template, in which the names of special tokens are those tokens.
    ///
    /// # Errors
    /// As [`Self::encode`].
    pub fn encode_marked(&self, text: &str) -> Result<Vec<u32>, DataError> {
        let marked = self.marked.get_or_init(|| {
            let mut marked = self.inner.clone();
            marked.set_encode_special_tokens(false);
            marked
        });
        let encoding = marked
            .encode_fast(text, false)
            .map_err(|error| tokenize("encode", &error))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// Where each token of `text` begins, in bytes; a token that begins within a letter begins where the letter does.
    ///
    /// # Errors
    /// As [`Self::encode`].
    pub fn token_starts(&self, text: &str) -> Result<Vec<usize>, DataError> {
        let encoding = self
            .inner
            .encode(text, false)
            .map_err(|error| tokenize("encode", &error))?;
        let starts = encoding.get_offsets().iter().map(|(start, _)| *start);
        Ok(starts.collect())
    }

    /// Text of `ids`, special tokens written out. Bytes that are not UTF-8 become replacement characters.
    ///
    /// # Errors
    /// [`DataError::Tokenize`] if an id is outside the vocabulary.
    pub fn decode(&self, ids: &[u32]) -> Result<String, DataError> {
        if let Some(id) = ids.iter().find(|id| self.inner.id_to_token(**id).is_none()) {
            return Err(DataError::Tokenize {
                action: "decode",
                reason: format!("there is no token {id} among {} ids", self.num_ids),
            });
        }
        self.inner
            .decode(ids, false)
            .map_err(|error| tokenize("decode", &error))
    }

    /// Text of `ids` that a model wrote. It may have rows for ids that are outside the vocabulary: they become the replacement
    /// character.
    pub fn decode_output(&self, ids: &[i64]) -> String {
        let known = |id: &i64| {
            let id = u32::try_from(*id).ok()?;
            self.inner.id_to_token(id).map(|_| id)
        };
        let runs = ids.split(|id| known(id).is_none());
        let texts = runs.map(|run| {
            let ids: Vec<u32> = run.iter().filter_map(known).collect();
            self.decode(&ids).unwrap_or_else(|_| REPLACEMENT.into())
        });
        texts.collect::<Vec<_>>().join(REPLACEMENT)
    }

    /// Largest id + 1, added tokens included: the embedding needs at least this many rows.
    pub fn vocab_size(&self) -> usize {
        self.num_ids
    }

    /// Id that begins every text.
    pub fn bos(&self) -> u32 {
        self.special.bos
    }

    /// Id that ends every text.
    pub fn eos(&self) -> u32 {
        self.special.eos
    }

    /// blake3 of the tokenizer file, hex.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Checks that a model with `rows` embedding rows has one for every id.
    ///
    /// # Errors
    /// [`DataError::TokenizerVocab`] if it has not.
    pub fn check_embedding_rows(&self, rows: usize) -> Result<(), DataError> {
        if self.num_ids <= rows {
            return Ok(());
        }
        Err(DataError::TokenizerVocab {
            tokenizer: self.num_ids,
            model: rows,
        })
    }
}

fn locate(path: &Path) -> Result<PathBuf, DataError> {
    let file = if path.is_dir() {
        path.join("tokenizer.json")
    } else {
        path.to_path_buf()
    };
    if file.is_file() {
        return Ok(file);
    }
    let folder = file.parent().unwrap_or(Path::new(""));
    if folder.join("tokenizer.model").is_file() {
        return Err(DataError::TokenizerSlowOnly {
            folder: folder.to_path_buf(),
        });
    }
    Err(DataError::TokenizerMissing { path: file })
}

fn num_ids(inner: &tokenizers::Tokenizer, special: SpecialIds) -> usize {
    let vocab = inner.get_vocab(true);
    let largest = vocab
        .into_values()
        .fold(special.bos.max(special.eos), u32::max);
    usize::try_from(largest).map_or(usize::MAX, |largest| largest.saturating_add(1))
}

fn tokenize(action: &'static str, error: &tokenizers::Error) -> DataError {
    DataError::Tokenize {
        action,
        reason: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::tokenizer::train::train_bpe;
    use crate::fault::Coded;

    fn small() -> (tempfile::TempDir, Tokenizer) {
        let folder = tempfile::tempdir().unwrap();
        let text = "fn main() { let answer = 42; println!(\"{answer}\"); }\n".repeat(50);
        let json = train_bpe([text].into_iter(), 268).unwrap();
        std::fs::write(folder.path().join("tokenizer.json"), json).unwrap();
        let tokenizer = Tokenizer::from_file(folder.path()).unwrap();
        (folder, tokenizer)
    }

    #[test]
    fn any_text_comes_back_and_never_yields_a_special_token() {
        let (_folder, tokenizer) = small();
        for text in [
            "",
            "fn main() {}\n",
            "caf\u{e9} \u{1f980}\r\n\t x",
            "<|end_of_text|> <|begin_of_text|>",
        ] {
            let ids = tokenizer.encode(text).unwrap();
            assert_eq!(tokenizer.decode(&ids).unwrap(), text);
            assert!(
                ids.iter()
                    .all(|id| *id != tokenizer.bos() && *id != tokenizer.eos()),
                "{text}"
            );
        }
        let marked = [tokenizer.bos(), tokenizer.eos()];
        assert_eq!(
            tokenizer.decode(&marked).unwrap(),
            "<|begin_of_text|><|end_of_text|>"
        );
    }

    #[test]
    fn marked_text_yields_special_tokens() {
        let (_folder, tokenizer) = small();
        let ids = tokenizer
            .encode_marked("<|begin_of_text|>fn <|end_of_text|>")
            .unwrap();
        assert_eq!(ids.first(), Some(&tokenizer.bos()));
        assert_eq!(ids.last(), Some(&tokenizer.eos()));
        assert!(ids.len() > 2);
    }

    #[test]
    fn tokens_begin_where_their_texts_do() {
        let (_folder, tokenizer) = small();
        let text = "fn main() { caf\u{e9} \u{1f980} }";
        let ids = tokenizer.encode(text).unwrap();
        let starts = tokenizer.token_starts(text).unwrap();
        assert_eq!(starts.len(), ids.len());
        for (index, start) in starts.iter().enumerate() {
            assert!(text.is_char_boundary(*start));
            // Bytes of one letter may be several tokens.
            let before = tokenizer.decode(&ids[..index]).unwrap();
            assert!(before.starts_with(&text[..*start]), "{before:?} {start}");
        }
    }

    #[test]
    fn ids_outside_the_vocabulary_are_refused() {
        let (folder, tokenizer) = small();
        assert_eq!(tokenizer.vocab_size(), 268);
        assert_eq!(tokenizer.decode(&[1, 268]).unwrap_err().code(), "tok.text");
        assert_eq!(
            tokenizer.check_embedding_rows(267).unwrap_err().code(),
            "tok.vocab"
        );
        tokenizer.check_embedding_rows(268).unwrap();
        let file = std::fs::read(folder.path().join("tokenizer.json")).unwrap();
        assert_eq!(
            tokenizer.fingerprint(),
            blake3::hash(&file).to_hex().as_str()
        );
    }

    #[test]
    fn truncation_and_padding_of_the_file_are_switched_off() {
        let (folder, whole) = small();
        let path = folder.path().join("tokenizer.json");
        let mut json: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        json["truncation"] = serde_json::json!({
            "direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0
        });
        std::fs::write(&path, json.to_string()).unwrap();
        let cut = Tokenizer::from_file(&path).unwrap();
        let text = "fn main() { let answer = 42; }";
        assert_eq!(cut.encode(text).unwrap(), whole.encode(text).unwrap());
    }

    #[test]
    fn files_that_are_no_tokenizer_are_one_error_each() {
        let folder = tempfile::tempdir().unwrap();
        let code = |path: &Path| Tokenizer::from_file(path).unwrap_err().code();
        assert_eq!(code(folder.path()), "tok.missing");
        std::fs::write(folder.path().join("tokenizer.model"), "x").unwrap();
        assert_eq!(code(folder.path()), "tok.slow_only");
        let path = folder.path().join("tokenizer.json");
        for text in [
            "",
            "{}",
            "[1]",
            "{\"model\": {\"type\": \"BPE\", \"vocab\": 3}}",
        ] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(code(&path), "tok.format", "{text}");
        }
    }
}
