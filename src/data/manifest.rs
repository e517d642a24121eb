//! `manifest.json` beside a packed dataset: where its rows come from, how they were made, and what was left out.
//!
//! **Invariant:** no absolute paths and no time stamps, so that equal inputs make equal manifests. Readers of MDS ignore it.

use super::mds::error::MdsError;
use super::mds::publish::publish_with;
use super::pack::report::PackReport;
use super::pack::settings::PackSettings;
use super::pack::spool::DocumentSource;
use super::tokenizer::Tokenizer;
use crate::config::generator::GeneratorSettings;
use std::io::{self, Write};
use std::path::Path;

/// Version of the manifest's form.
pub const SCHEMA: &str = "prulong.pack/1";

/// Its name inside a dataset's folder.
pub const FILE_NAME: &str = "manifest.json";

/// The tokenizer that made the ids.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenizerRecord {
    /// blake3 of its file, hex.
    pub fingerprint: String,
    /// Largest id + 1: a model needs at least as many embedding rows.
    pub vocab_size: u64,
    /// Begin token.
    pub bos: u32,
    /// End token.
    pub eos: u32,
}

impl TokenizerRecord {
    /// Describes `tokenizer`.
    pub fn new(tokenizer: &Tokenizer) -> Self {
        Self {
            fingerprint: tokenizer.fingerprint().to_owned(),
            vocab_size: tokenizer.vocab_size() as u64,
            bos: tokenizer.bos(),
            eos: tokenizer.eos(),
        }
    }
}

/// One source and its own settings.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceRecord {
    /// The rows' domain.
    pub name: String,
    /// Filters and grouping, as the source defines them.
    pub settings: serde_json::Value,
}

/// One document.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DocumentRecord {
    /// Where it comes from.
    pub source: DocumentSource,
    /// Its tokens.
    pub tokens: u64,
    /// Rows it has a span in; 0 if it was left out.
    pub rows: u64,
}

/// How documents were made that no file holds.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GeneratedRecord {
    /// Their kinds.
    pub kinds: Vec<GeneratorSettings>,
    /// Rows asked for.
    pub num_rows: u64,
    /// Tokens of the shortest.
    pub min_len: u64,
    /// Different lengths.
    pub num_lens: u64,
    /// Fingerprint of the text they are made from.
    pub corpus: Option<String>,
}

/// Everything but the documents.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestHead {
    /// [`SCHEMA`].
    pub schema: String,
    /// Version of this program.
    pub tool_version: String,
    /// `train` or `val` if documents were held out.
    pub split: Option<String>,
    /// Share of documents held out.
    pub held_out: f64,
    /// The tokenizer.
    pub tokenizer: TokenizerRecord,
    /// The sources.
    pub sources: Vec<SourceRecord>,
    /// How documents were packed.
    pub settings: PackSettings,
    /// How documents were made, if no source has them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generated: Option<GeneratedRecord>,
    /// What came out.
    pub report: PackReport,
}

/// A whole manifest.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Everything but the documents.
    pub head: ManifestHead,
    /// The documents, kept or not.
    pub documents: Vec<DocumentRecord>,
}

/// Writes a manifest whose documents come one by one.
///
/// # Errors
/// [`MdsError::Io`].
pub fn write(
    dir: &Path,
    head: &ManifestHead,
    documents: impl Iterator<Item = io::Result<DocumentRecord>>,
) -> Result<(), MdsError> {
    publish_with(dir, FILE_NAME, |file| {
        file.write_all(b"{\"head\": ")?;
        serde_json::to_writer_pretty(&mut *file, head)?;
        file.write_all(b",\n\"documents\": [")?;
        for (index, document) in documents.enumerate() {
            file.write_all(if index == 0 { b"\n" } else { b",\n" })?;
            serde_json::to_writer(&mut *file, &document?)?;
        }
        file.write_all(b"\n]}\n")
    })
}

/// The manifest of the dataset in `dir`; nothing if it has none, as datasets of other tools.
///
/// # Errors
/// [`MdsError::Io`], or [`MdsError::Index`] if it is not a manifest of this schema.
pub fn load(dir: &Path) -> Result<Option<Manifest>, MdsError> {
    let path = dir.join(FILE_NAME);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(MdsError::Io {
                action: "read",
                path,
                source,
            });
        }
    };
    let fault = |reason: String| MdsError::Index {
        path: dir.to_path_buf(),
        reason: format!("manifest.json: {reason}"),
    };
    let manifest: Manifest =
        serde_json::from_slice(&bytes).map_err(|error| fault(error.to_string()))?;
    if manifest.head.schema != SCHEMA {
        return Err(fault(format!(
            "schema `{}` (supported: `{SCHEMA}`)",
            manifest.head.schema
        )));
    }
    Ok(Some(manifest))
}
