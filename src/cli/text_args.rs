//! Which text an evaluation hides its facts in.

use super::amounts::parse_measuring_share;
use super::sources::{SourceSpec, open_sources};
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
    /// Opens the packed data or scans the sources.
    ///
    /// # Errors
    /// If there is none, or nothing in it is held out.
    pub fn open(&self, tokenizer: &Arc<Tokenizer>) -> Result<Box<dyn Haystack>, AnyFault> {
        let tokenizer = Arc::clone(tokenizer);
        let Some(dir) = &self.data else {
            let sources = open_sources(&self.sources)?;
            let documents = HeldOutDocuments::new(sources, self.held_out, tokenizer)?;
            return Ok(Box::new(documents));
        };
        Ok(Box::new(PackedRows::open(dir, tokenizer)?))
    }
}
