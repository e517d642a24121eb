//! How documents are packed.

use super::error::PackError;

/// What rows are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PackMode {
    /// Documents of at least a row yield rows of their own; what is shorter is packed best-fit.
    #[default]
    LongFirst,
    /// Only rows that one document fills; everything shorter is dropped.
    LongOnly,
    /// One running buffer in document order, cut every row: what other packers do, for comparison.
    Concat,
}

/// Where a begin token stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BosMode {
    /// At the start of every span, continuations too: at inference position 0 always is the begin token, and sinks form
    /// there.
    #[default]
    Span,
    /// At the start of documents only.
    Document,
    /// Nowhere.
    None,
}

/// How documents become rows. Lengths in tokens.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackSettings {
    /// Tokens per row.
    pub row_len: u64,
    /// What rows are made of.
    pub mode: PackMode,
    /// Shorter documents (before begin and end tokens), and shorter remainders of long ones, are dropped whole.
    pub min_doc: u64,
    /// Rows that one document may fill.
    pub max_rows_per_doc: u64,
    /// Where a begin token stands.
    pub bos: BosMode,
    /// Whether an end token follows a document's last token.
    pub eos: bool,
    /// Best-fit rows with a smaller share of real tokens are dropped.
    pub min_fill: f64,
    /// Order of equal pieces, and of rows in the output.
    pub seed: u64,
}

impl PackSettings {
    /// The defaults, for rows of `row_len` tokens.
    pub fn new(row_len: u64) -> Self {
        Self {
            row_len,
            mode: PackMode::default(),
            min_doc: 256,
            max_rows_per_doc: 16,
            bos: BosMode::default(),
            eos: true,
            min_fill: 0.5,
            seed: 0,
        }
    }

    /// Checks every range.
    ///
    /// # Errors
    /// [`PackError::Setting`].
    pub fn check(&self) -> Result<(), PackError> {
        let bad = |setting, value: String, allowed| {
            Err(PackError::Setting {
                setting,
                value,
                allowed,
            })
        };
        if !(8..=1 << 28).contains(&self.row_len) {
            return bad(
                "row-len",
                self.row_len.to_string(),
                "between 8 and 268435456 tokens",
            );
        }
        if self.max_rows_per_doc == 0 {
            return bad("max-rows-per-doc", "0".to_owned(), "at least 1");
        }
        if !(0.0..=1.0).contains(&self.min_fill) {
            return bad(
                "min-fill",
                self.min_fill.to_string(),
                "a share between 0 and 1",
            );
        }
        Ok(())
    }

    /// Begin tokens of a span: 1 or 0.
    pub fn num_bos(&self, is_continuation: bool) -> u64 {
        let has_bos = match self.bos {
            BosMode::Span => true,
            BosMode::Document => !is_continuation,
            BosMode::None => false,
        };
        u64::from(has_bos)
    }
}
