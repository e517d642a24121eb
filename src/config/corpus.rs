//! `[corpus]` of a pretraining file: text found on this machine.

use crate::config::check;
use crate::config::error::Bad;
use std::path::PathBuf;

/// One source of documents.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum SourceSettings {
    /// Sources of the crates in cargo's registry.
    Crates {
        /// The registry's `src` folder; absent = cargo's own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        path: Option<PathBuf>,
    },
    /// The books among rustup's documentation.
    RustBooks {
        /// The documentation's folder; absent = rustup's own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        path: Option<PathBuf>,
    },
    /// A file or folder of UTF-8 text.
    Text {
        /// The file or folder.
        path: PathBuf,
    },
    /// A folder of UTF-8 text whose sub-folders are one document each.
    TextDirs {
        /// The folder.
        path: PathBuf,
    },
}

/// The natural text of a pretraining run.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CorpusSettings {
    /// Where documents come from.
    pub sources: Vec<SourceSettings>,
    /// Share of documents kept out of training, by a rule on their ids. 0.05: what packing and evaluation keep out too.
    #[serde(default = "twentieth")]
    pub held_out: f64,
    /// Bytes of text read, in the seed's order of documents.
    pub max_bytes: u64,
    /// Seed of the order of documents.
    pub seed: u64,
}

fn twentieth() -> f64 {
    0.05
}

impl SourceSettings {
    /// Its path, where one is written.
    pub(super) fn path_mut(&mut self) -> Option<&mut PathBuf> {
        match self {
            Self::Crates { path } | Self::RustBooks { path } => path.as_mut(),
            Self::Text { path } | Self::TextDirs { path } => Some(path),
        }
    }
}

impl CorpusSettings {
    pub(super) fn check(&self) -> Result<(), Bad> {
        if self.sources.is_empty() {
            return Err(check::conflict("corpus.sources", "names no source of text"));
        }
        check::share_below_one("corpus.held_out", self.held_out)?;
        check::count("corpus.max_bytes", self.max_bytes)
    }

    pub(super) fn paths(&mut self) -> impl Iterator<Item = (String, &mut PathBuf)> {
        let sources = self.sources.iter_mut().enumerate();
        sources.filter_map(|(at, source)| {
            let path = source.path_mut();
            path.map(|path| (format!("corpus.sources.{at}.path"), path))
        })
    }
}
