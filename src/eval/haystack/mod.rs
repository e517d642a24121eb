//! Held-out text to hide needles in, one file per place it comes from.

use super::error::EvalError;
use rand_chacha::ChaCha8Rng;

pub mod documents;
pub mod rows;

/// Text as tokens, drawn at random.
pub trait Haystack {
    /// Draws `len` tokens: consecutive ones of one document where one is long enough, else several documents with end and
    /// begin tokens between them.
    ///
    /// # Errors
    /// [`EvalError::Data`] or [`EvalError::Rows`] if the text cannot be read, [`EvalError::NoHaystack`] if it is empty.
    fn draw(&self, rng: &mut ChaCha8Rng, len: usize) -> Result<Vec<u32>, EvalError>;

    /// What results say about it.
    fn identity(&self) -> HaystackIdentity;
}

/// Which text hid the needles.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct HaystackIdentity {
    /// `documents` or `rows`.
    pub kind: String,
    /// Names of the sources; name of the folder and its index's blake3 for rows.
    pub sources: Vec<String>,
    /// Whether the text is known to be held out of training.
    pub held_out: bool,
    /// Share of documents held out of training; nothing for rows, which were held out when they were packed.
    pub held_out_share: Option<f64>,
    /// Documents or rows found.
    pub num_units: u64,
}
