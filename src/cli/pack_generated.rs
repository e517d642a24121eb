//! `prulong pack --generate`: rows of generated documents.

use crate::cli::amounts::parse_bytes;
use crate::config::generator::GeneratorSettings;
use crate::data::generate::build::Materials;
use crate::data::generate::corpus::{MemoryCorpus, NaturalText};
use crate::data::mds::writer::WriteOptions;
use crate::data::pack::generated::{GeneratedJob, GeneratedRows, pack_generated};
use crate::data::pack::report::PackReport;
use crate::data::source::Source;
use crate::data::source::select::{Selection, Split};
use crate::data::tokenizer::Tokenizer;
use crate::fault::AnyFault;
use std::path::Path;
use std::sync::Arc;

/// What to generate.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Generated documents")]
pub(super) struct GenerateArgs {
    /// Make documents of this kind instead of packing the text, one a row, with a `mask` of the tokens that are labels (train with
    /// `data.instruct_mask=true`): `KIND` or `KIND:KEY=VALUE,...`, e.g. `multiple-passkey:num_passkeys=4,num_words=8`. Several kinds
    /// share the rows by their `weight`. The kinds and their settings are those of a pretraining stage's `mix`. Their text is what
    /// `--held-out` leaves for training.
    #[arg(long = "generate", value_name = "KIND", requires = "rows",
        conflicts_with_all = ["mode", "min_doc", "max_rows_per_doc", "bos", "min_fill", "max_documents"])]
    pub(super) kinds: Vec<GeneratorSettings>,

    /// Rows to make.
    #[arg(long, value_name = "N", requires = "kinds")]
    rows: Option<u64>,

    /// Tokens of the shortest document; the longest fills its row [default: every one does].
    #[arg(long, value_name = "N", requires = "kinds")]
    min_len: Option<u64>,

    /// Lengths of documents, evenly spaced.
    #[arg(long, value_name = "N", requires = "kinds", default_value_t = 50)]
    num_lens: u64,

    /// Text to read for them, e.g. `64MB`.
    #[arg(long, value_name = "SIZE", requires = "kinds", default_value = "4MB", value_parser = parse_bytes)]
    text_bytes: u64,
}

/// What the rows are made from and where they go.
pub(super) struct Made<'a> {
    pub(super) sources: &'a [Box<dyn Source>],
    pub(super) tokenizer: Tokenizer,
    pub(super) row_len: u64,
    pub(super) held_out: f64,
    pub(super) seed: u64,
    pub(super) write: WriteOptions,
}

impl GenerateArgs {
    /// Makes the rows and writes them to `output`.
    ///
    /// # Errors
    /// Settings that make no sense, text that is missing or too short, a target that exists.
    pub(super) fn run(&self, made: Made, output: &Path) -> Result<PackReport, AnyFault> {
        let rows = GeneratedRows {
            row_len: made.row_len,
            num_rows: self.rows.unwrap_or_default(),
            min_len: self.min_len.unwrap_or(made.row_len),
            num_lens: self.num_lens,
            seed: made.seed,
        };
        rows.check()?;
        let tokenizer = Arc::new(made.tokenizer);
        let (corpus, text) = self
            .text(made.sources, made.held_out, made.seed, &tokenizer)?
            .unzip();
        let materials = Materials::new(tokenizer.clone(), text)?;
        let mixture = materials.mixture(&self.kinds)?;
        let job = GeneratedJob {
            kinds: &self.kinds,
            mixture: &mixture,
            tokenizer: &tokenizer,
            sources: made.sources,
            corpus,
            held_out: made.held_out,
            rows,
            write: made.write,
        };
        Ok(pack_generated(&job, output)?)
    }

    /// The text and its fingerprint, if a kind needs some and there are sources.
    fn text(
        &self,
        sources: &[Box<dyn Source>],
        held_out_share: f64,
        seed: u64,
        tokenizer: &Tokenizer,
    ) -> Result<Option<(String, NaturalText)>, AnyFault> {
        if sources.is_empty() || !self.kinds.iter().any(GeneratorSettings::needs_corpus) {
            return Ok(None);
        }
        let selection = Selection {
            split: Split::Train,
            held_out_share,
            max_bytes: Some(self.text_bytes),
            seed,
        };
        let corpus = MemoryCorpus::build(sources, &selection, tokenizer)?;
        let fingerprint = corpus.fingerprint();
        Ok(Some((
            fingerprint,
            NaturalText::new(Arc::new(corpus), tokenizer)?,
        )))
    }
}
