//! What can go wrong while packing, beyond documents and datasets themselves.

use crate::data::error::DataError;
use crate::data::mds::error::MdsError;
use crate::fault::{Coded, Kind};
use std::path::PathBuf;

/// Errors of packing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[expect(
    missing_docs,
    reason = "field names and the message above each variant say what a field holds"
)]
pub enum PackError {
    /// A setting is outside its range.
    #[error("pack rows: `{setting}` is {value}, but must be {allowed}")]
    Setting {
        setting: &'static str,
        value: String,
        allowed: &'static str,
    },
    /// No document is left to pack.
    #[error("pack rows: no document{}", split.map_or(String::new(), |split| format!(" falls into `{split}`")))]
    NoDocuments { split: Option<&'static str> },
    /// Documents were read, and none yields a row.
    #[error(
        "pack rows of {row_len} tokens: {num_documents} documents yield none, the longest has {longest} tokens"
    )]
    NoRows {
        row_len: u64,
        num_documents: u64,
        longest: u64,
        min_doc: u64,
        /// A row length that the longest document fills.
        would_work: Option<u64>,
    },
    /// Another process writes the same target.
    #[error("write `{path}`: another process is packing into it")]
    Busy { path: PathBuf },
    /// A document, source or tokenizer failed.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Writing the dataset failed.
    #[error(transparent)]
    Mds(#[from] MdsError),
}

impl Coded for PackError {
    fn code(&self) -> &'static str {
        match self {
            Self::Setting { .. } => "pack.setting",
            Self::NoDocuments { .. } => "data.empty",
            Self::NoRows { .. } => "pack.no_rows",
            Self::Busy { .. } => "pack.busy",
            Self::Data(error) => error.code(),
            Self::Mds(error) => error.code(),
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Data(error) => error.kind(),
            Self::Mds(error) => error.kind(),
            _ => Kind::Input,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NoDocuments { split: Some(_) } => {
                Some("name more text, hold out another share with `--held-out`, or none with `--held-out 0`".to_owned())
            }
            Self::NoRows {
                would_work: Some(row_len),
                ..
            } => Some(format!("pass `--row-len {row_len}` or less")),
            Self::NoRows { min_doc, .. } => Some(format!(
                "name longer text: documents below {min_doc} tokens (`--min-doc`) are left out"
            )),
            Self::Data(error) => error.hint(),
            Self::Mds(error) => error.hint(),
            _ => None,
        }
    }
}
