//! What can go wrong with text, tokenizers and generated sequences.

use crate::fault::{Coded, Kind};
use std::path::{Path, PathBuf};

/// Errors of sources, tokenizers, generators and packing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// A file could not be read or written.
    #[error("{action} `{path}`")]
    Io {
        /// What was attempted, e.g. `read`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// A corpus has no document left.
    #[error("no text found in `{path}`: {reason}")]
    Empty {
        /// Where it looked.
        path: PathBuf,
        /// Why nothing is left.
        reason: String,
    },
    /// The place where a corpus is expected does not exist.
    #[error("{what} not found: `{path}` does not exist or is not readable as one")]
    SourceMissing {
        /// What was looked for, e.g. `unpacked crates`.
        what: &'static str,
        /// Where it looked.
        path: PathBuf,
        /// How to get one, or what to use in its place.
        remedy: String,
    },
    /// A text file is not UTF-8.
    #[error("`{path}` is not UTF-8 text: invalid byte at offset {offset}")]
    Utf8 {
        /// The file.
        path: PathBuf,
        /// First offending byte.
        offset: usize,
    },
    /// A text file is UTF-8 but not text.
    #[error("`{path}` is not plain text: {found} at offset {offset}")]
    NotText {
        /// The file.
        path: PathBuf,
        /// What was found, e.g. `a NUL byte`.
        found: &'static str,
        /// Where.
        offset: usize,
    },
    /// There is no tokenizer file.
    #[error("no tokenizer at `{path}`")]
    TokenizerMissing {
        /// Where it looked.
        path: PathBuf,
    },
    /// Only a sentencepiece model is there.
    #[error("`{folder}` holds only `tokenizer.model`, which this program does not read")]
    TokenizerSlowOnly {
        /// The folder.
        folder: PathBuf,
    },
    /// A tokenizer file cannot be understood.
    #[error("`{path}` is not a usable tokenizer: {reason}")]
    TokenizerFormat {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The begin or end token of texts is unknown.
    #[error("`{path}` names no {which} token")]
    TokenizerSpecial {
        /// The tokenizer file.
        path: PathBuf,
        /// `begin-of-text` or `end-of-text`.
        which: &'static str,
    },
    /// The tokenizer can produce ids that the model has no embedding for.
    #[error("the tokenizer has {tokenizer} ids but the model only {model} embedding rows")]
    TokenizerVocab {
        /// Largest token id + 1.
        tokenizer: usize,
        /// Rows of the embedding.
        model: usize,
    },
    /// Text could not be turned into tokens, or back.
    #[error("cannot {action} with this tokenizer: {reason}")]
    Tokenize {
        /// `encode` or `decode`.
        action: &'static str,
        /// The tokenizer's answer.
        reason: String,
    },
    /// A tokenizer could not be trained as asked.
    #[error("cannot train a tokenizer of {vocab_size} tokens: {reason}")]
    TokenizerTraining {
        /// What was asked for.
        vocab_size: usize,
        /// Why not.
        reason: String,
    },
    /// A generator's settings make no sense.
    #[error("generator `{generator}`: `{setting}` {problem}")]
    GeneratorSetting {
        /// The generator's kind.
        generator: &'static str,
        /// The setting.
        setting: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// A sequence is too short for what it must hold.
    #[error(
        "generator `{generator}` cannot make sequences of {len} tokens: it needs at least {min_len}"
    )]
    GeneratorLength {
        /// The generator's kind.
        generator: &'static str,
        /// Tokens asked for.
        len: usize,
        /// Tokens needed.
        min_len: usize,
    },
    /// An output file exists and holds something else.
    #[error("`{path}` exists and differs from what would be written")]
    Exists {
        /// The file.
        path: PathBuf,
    },
}

impl DataError {
    /// Wraps an I/O error with what was attempted on which path.
    pub fn io(action: &'static str, path: &Path, source: std::io::Error) -> Self {
        Self::Io {
            action,
            path: path.to_path_buf(),
            source,
        }
    }
}

impl Coded for DataError {
    fn code(&self) -> &'static str {
        match self {
            Self::Io { .. } => "io.error",
            Self::Empty { .. } => "data.empty",
            Self::SourceMissing { .. } => "data.source_missing",
            Self::Utf8 { .. } => "data.utf8",
            Self::NotText { .. } => "data.text",
            Self::TokenizerMissing { .. } => "tok.missing",
            Self::TokenizerSlowOnly { .. } => "tok.slow_only",
            Self::TokenizerFormat { .. } => "tok.format",
            Self::TokenizerSpecial { .. } => "tok.special",
            Self::TokenizerVocab { .. } => "tok.vocab",
            Self::Tokenize { .. } => "tok.text",
            Self::TokenizerTraining { .. } => "tok.training",
            Self::GeneratorSetting { .. } => "generate.setting",
            Self::GeneratorLength { .. } => "generate.length",
            Self::Exists { .. } => "data.exists",
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Io { .. } => Kind::Storage,
            _ => Kind::Input,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::SourceMissing { remedy, .. } => Some(remedy.clone()),
            Self::Utf8 { .. } => {
                Some("convert the file to UTF-8, for example with iconv".to_owned())
            }
            Self::TokenizerMissing { .. } => Some(
                "pass the path of a Hugging Face `tokenizer.json`, or make one with \
                 `prulong train-tokenizer`"
                    .to_owned(),
            ),
            Self::TokenizerSlowOnly { .. } => Some(
                "convert it in Python: `AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR)` \
                 writes `tokenizer.json`"
                    .to_owned(),
            ),
            Self::TokenizerSpecial { .. } => Some(
                "name `bos_token` and `eos_token` in a `tokenizer_config.json` beside it"
                    .to_owned(),
            ),
            Self::TokenizerVocab { .. } => {
                Some("use the `tokenizer.json` that belongs to the model".to_owned())
            }
            Self::GeneratorLength { min_len, .. } => {
                Some(format!("ask for at least {min_len} tokens per sequence"))
            }
            Self::Exists { .. } => Some("remove it, or choose another output path".to_owned()),
            _ => None,
        }
    }
}
