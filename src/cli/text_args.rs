//! Which text an evaluation hides its facts in.

use super::amounts::parse_measuring_share;
use super::sources::{SourceSpec, open_sources};
use crate::config::corpus::SourceSettings;
use crate::config::eval_text::TextSettings;
use crate::data::source::held_out::DEFAULT_SHARE;
use crate::data::tokenizer::Tokenizer;
use crate::eval::haystack::Haystack;
use crate::eval::haystack::documents::HeldOutDocuments;
use crate::eval::haystack::rows::PackedRows;
use crate::fault::AnyFault;
use std::path::PathBuf;
use std::sync::Arc;

/// The text to hide facts in.
#[derive(clap::Args, Debug)]
pub struct TextArgs {
    /// Text to hide facts in: `crates`, `rust-books`, `text=PATH` or `text-dirs=PATH`; may be repeated. Only documents
    /// held out of training are used.
    #[arg(long = "source", value_name = "SOURCE", default_value = "crates")]
    sources: Vec<SourceSpec>,

    /// Share of documents held out of training.
    #[arg(long, value_name = "SHARE", default_value_t = DEFAULT_SHARE, value_parser = parse_measuring_share)]
    held_out: f64,

    /// Packed data to hide facts in instead; its held-out split `val` is used where it has one.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["sources", "held_out"])]
    data: Option<PathBuf>,
}

impl TextArgs {
    /// The same as a configuration says it.
    pub fn settings(&self) -> TextSettings {
        if let Some(path) = &self.data {
            return TextSettings::Rows { path: path.clone() };
        }
        TextSettings::Documents {
            sources: self.sources.iter().map(SourceSettings::from).collect(),
            held_out: self.held_out,
        }
    }
}

/// Opens packed data or scans sources.
///
/// # Errors
/// If there is none, or nothing in it is held out.
pub fn open(
    settings: &TextSettings,
    tokenizer: &Arc<Tokenizer>,
) -> Result<Box<dyn Haystack>, AnyFault> {
    let tokenizer = Arc::clone(tokenizer);
    Ok(match settings {
        TextSettings::Rows { path } => Box::new(PackedRows::open(path, tokenizer)?),
        TextSettings::Documents { sources, held_out } => {
            let specs: Vec<SourceSpec> = sources.iter().map(SourceSpec::from).collect();
            let sources = open_sources(&specs)?;
            Box::new(HeldOutDocuments::new(sources, *held_out, tokenizer)?)
        }
    })
}
