//! Packed rows of a split that was held out when it was packed.

use super::{Haystack, HaystackIdentity};
use crate::config::instruct_mask::InstructMask;
use crate::data::mds::dataset::{Dataset, ReadOptions};
use crate::data::rows::{RowNeeds, TokenRow, read_row};
use crate::data::tokenizer::Tokenizer;
use crate::eval::error::EvalError;
use crate::random::{below, index_below};
use rand_chacha::ChaCha8Rng;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// Rows looked at for one document that is long enough, before short ones are joined.
const MAX_LOOKS: usize = 16;

/// Name of the split that packing holds out of training.
const HELD_OUT_SPLIT: &str = "val";

/// The rows of one MDS dataset.
pub struct PackedRows {
    name: String,
    held_out: bool,
    dataset: Dataset,
    tokenizer: Arc<Tokenizer>,
}

impl PackedRows {
    /// Opens the held-out split of the packed data in `dir`; `dir` itself if it has no splits.
    ///
    /// # Errors
    /// [`EvalError::NoHaystack`] if there is a training split and no held-out one, or no row; [`EvalError::Rows`] if the
    /// data cannot be read.
    pub fn open(dir: &Path, tokenizer: Arc<Tokenizer>) -> Result<Self, EvalError> {
        let name = dir.file_name().unwrap_or(dir.as_os_str());
        let name = name.to_string_lossy().into_owned();
        let split = dir.join(HELD_OUT_SPLIT);
        let held_out = split.is_dir() || dir.ends_with(HELD_OUT_SPLIT);
        if !held_out && dir.join("train").is_dir() {
            return Err(EvalError::NoHaystack {
                found: format!("`{name}` has a `train` split and no `{HELD_OUT_SPLIT}`"),
                remedy: "pack again with --held-out above 0, or name other text with --source",
            });
        }
        let root = if split.is_dir() { &split } else { dir };
        let dataset = Dataset::open(root, ReadOptions::default())?;
        if dataset.num_rows() == 0 {
            return Err(EvalError::NoHaystack {
                found: format!("`{name}` holds no rows"),
                remedy: "name packed data with held-out rows with --data",
            });
        }
        Ok(Self {
            name,
            held_out,
            dataset,
            tokenizer,
        })
    }

    /// A random row's document, drawn by length, begin and end tokens left out.
    fn document(&self, rng: &mut ChaCha8Rng) -> Result<Vec<u32>, EvalError> {
        let row = below(rng, self.dataset.num_rows());
        let needs = RowNeeds {
            vocab_size: Some(self.tokenizer.vocab_size() as u64),
            instruct_mask: InstructMask::Ignored,
        };
        let row = read_row(&self.dataset, row, needs)?;
        let span = draw_span(rng, &row);
        let marks = [self.tokenizer.bos(), self.tokenizer.eos()];
        let ids = row.ids[span]
            .iter()
            .filter_map(|id| u32::try_from(*id).ok());
        Ok(ids.filter(|id| !marks.contains(id)).collect())
    }
}

impl Haystack for PackedRows {
    fn draw(&self, rng: &mut ChaCha8Rng, len: usize) -> Result<Vec<u32>, EvalError> {
        for _ in 0..MAX_LOOKS {
            let document = self.document(rng)?;
            if let Some(spare) = document.len().checked_sub(len) {
                let start = index_below(rng, spare + 1);
                return Ok(document[start..start + len].to_vec());
            }
        }
        let mut tokens = Vec::with_capacity(len);
        let mut fruitless = 0;
        while tokens.len() < len {
            let document = self.document(rng)?;
            fruitless = if document.is_empty() {
                fruitless + 1
            } else {
                0
            };
            if fruitless > MAX_LOOKS {
                return Err(EvalError::NoHaystack {
                    found: format!("the rows of `{}` hold no text", self.name),
                    remedy: "name other packed data with --data",
                });
            }
            if !tokens.is_empty() {
                tokens.extend([self.tokenizer.eos(), self.tokenizer.bos()]);
            }
            tokens.extend(document);
        }
        tokens.truncate(len);
        Ok(tokens)
    }

    fn identity(&self) -> HaystackIdentity {
        HaystackIdentity {
            kind: "rows".to_owned(),
            sources: vec![self.name.clone(), self.dataset.index_blake3().to_owned()],
            held_out: self.held_out,
            held_out_share: None,
            num_units: self.dataset.num_rows(),
        }
    }
}

/// Draws one of the row's documents with probability proportional to its length.
fn draw_span(rng: &mut ChaCha8Rng, row: &TokenRow) -> Range<usize> {
    let total: usize = row.spans.iter().map(ExactSizeIterator::len).sum();
    let mut at = index_below(rng, total.max(1));
    for span in &row.spans {
        if at < span.len() {
            return span.clone();
        }
        at -= span.len();
    }
    0..row.ids.len()
}
