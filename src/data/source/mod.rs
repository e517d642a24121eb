//! Document sources: one file per kind of corpus found on a user's machine.
//!
//! A source is scanned once (cheap: names, sizes, what is dropped and why); its documents are then read one by one, from
//! any thread, so that memory stays bounded whatever the corpus size.

mod crate_name;
pub mod crates;
pub mod excerpt;
pub mod held_out;
mod html;
mod join;
pub mod rust_books;
pub mod select;
pub mod text;
mod walk;

pub use held_out::is_held_out;

use std::collections::BTreeMap;

/// One file that became part of a document.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileRecord {
    /// Path relative to the document's root, `/`-separated.
    pub path: String,
    /// Size in bytes.
    pub bytes: u64,
    /// blake3 of the bytes, hex.
    pub blake3: String,
}

/// The text of one document, and where it came from.
#[derive(Debug, Clone)]
pub struct Document {
    /// Stable id: `crate-version`, book name, or relative path.
    pub id: String,
    /// SPDX expression, or `unknown`.
    pub licence: String,
    /// Files in the order in which they were joined.
    pub files: Vec<FileRecord>,
    /// Joined UTF-8 text.
    pub text: String,
    /// Files of this document that were left out while reading: reason -> count.
    pub dropped_files: BTreeMap<String, u64>,
}

/// A corpus: knows its documents' ids and can read each of them, from any thread.
pub trait Source: Send + Sync {
    /// Domain name written to every row, e.g. `crates`.
    fn name(&self) -> &str;

    /// Filters and grouping, for a manifest; no paths.
    fn settings(&self) -> serde_json::Value {
        serde_json::Value::Null
    }

    /// Number of documents, in a fixed order that depends only on the corpus.
    fn num_documents(&self) -> usize;

    /// Id and approximate size in bytes of document `index`, without reading it.
    fn describe(&self, index: usize) -> (&str, u64);

    /// Reads document `index`.
    ///
    /// # Errors
    /// If a file cannot be read, or (sources that promise UTF-8) is not text.
    fn read(&self, index: usize) -> Result<Document, crate::data::error::DataError>;

    /// What the scan left out: reason (`name`, `version`, `size`, `duplicate`, ...) -> count.
    fn dropped(&self) -> &BTreeMap<String, u64>;
}
