//! `[text]` of an evaluation file: what facts are hidden in.

use crate::config::check;
use crate::config::corpus::SourceSettings;
use crate::config::error::Bad;
use std::path::PathBuf;

/// Text that no training has seen.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum TextSettings {
    /// Documents held out of training, by a rule on their ids.
    Documents {
        /// Where documents come from. Crates: what every machine that builds this has.
        #[serde(default = "crates")]
        sources: Vec<SourceSettings>,
        /// Share of documents held out. 0.05: what packing keeps out.
        #[serde(default = "twentieth")]
        held_out: f64,
    },
    /// Packed rows; of the held-out split `val`, where there is one.
    Rows {
        /// The folder of the packed data.
        path: PathBuf,
    },
}

fn crates() -> Vec<SourceSettings> {
    vec![SourceSettings::Crates { path: None }]
}

fn twentieth() -> f64 {
    0.05
}

impl Default for TextSettings {
    fn default() -> Self {
        Self::Documents {
            sources: crates(),
            held_out: twentieth(),
        }
    }
}

impl TextSettings {
    pub(super) fn check(&self) -> Result<(), Bad> {
        let Self::Documents { sources, held_out } = self else {
            return Ok(());
        };
        if sources.is_empty() {
            return Err(check::conflict("text.sources", "names no source of text"));
        }
        check::positive("text.held_out", *held_out)?;
        check::share("text.held_out", *held_out)
    }

    pub(super) fn paths(&mut self) -> Vec<(String, &mut PathBuf)> {
        match self {
            Self::Rows { path } => vec![("text.path".to_owned(), path)],
            Self::Documents { sources, .. } => {
                let sources = sources.iter_mut().enumerate();
                sources
                    .filter_map(|(at, source)| {
                        let key = format!("text.sources.{at}.path");
                        source.path_mut().map(|path| (key, path))
                    })
                    .collect()
            }
        }
    }
}
