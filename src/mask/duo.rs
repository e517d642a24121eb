//! The DuoAttention directory: `full_attention_heads.tsv` and `config.json`, read by duo_attn, PruLong's evaluation, OmniServe
//! and two SGLang forks (masks.md sections 2 and 9).
//!
//! ```text
//! full_attention_heads.tsv    one line per layer, one number per kv head, tabs; higher = retrieval
//! config.json                 sink_size, recent_size (window_len unchanged), deploy_*, and what made the mask
//! ```
//!
//! The format stores scores, and its readers binarise them with random noise. Ours holds 0 and 1, and the exact sparsity at
//! which those readers return it unchanged.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::mask::canonical;
use crate::mask::error::{MaskError, MaskProblem, MaskWarning};
use crate::mask::head_mask::HeadMask;
use crate::mask::sidecar::content::Sidecar;
use serde_json::json;
use std::path::Path;

/// Name of the table.
pub const TABLE_NAME: &str = "full_attention_heads.tsv";
/// Name of the settings.
pub const CONFIG_NAME: &str = "config.json";

/// Largest table accepted, in bytes.
const MAX_TABLE_BYTES: usize = 16 << 20;
/// Most layers and most columns accepted.
const MAX_AXIS: usize = 4096;
/// Where 0/1 readers cut: half way.
const THRESHOLD: f64 = 0.5;

/// A table of scores as a foreign file holds it, higher = retrieval.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoreTable {
    /// Lines.
    pub num_layers: usize,
    /// Columns; kv heads, unless the file counts query heads.
    pub num_columns: usize,
    /// Row-major, finite, as written.
    pub scores: Vec<f64>,
}

/// Sizes that a Duo `config.json` states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DuoSizes {
    /// Sink tokens.
    pub sink_size: usize,
    /// Window, in tokens.
    pub recent_size: usize,
}

/// The table of a mask.
pub fn table_text(mask: &HeadMask) -> String {
    let mut text = String::new();
    for layer in 0..mask.num_layers() {
        let digits: Vec<&str> = mask
            .layer(layer)
            .iter()
            .map(|retrieval| if *retrieval { "1" } else { "0" })
            .collect();
        text.push_str(&digits.join("\t"));
        text.push('\n');
    }
    text
}

/// The `config.json` of a mask. Both pairs of sizes are the ones to deploy with: some readers take one, some the other.
pub fn config_text(sidecar: &Sidecar) -> String {
    let (sink_len, window_len) = (sidecar.span.sink_len(), sidecar.span.window_len());
    let config = json!({
        "model_name": sidecar.base.model,
        "sink_size": sink_len,
        "recent_size": window_len,
        "deploy_sink_size": sink_len,
        "deploy_recent_size": window_len,
        "threshold": THRESHOLD,
        "sparsity": sidecar.mask.sparsity(),
    });
    format!("{}\n", canonical::to_string(&config))
}

/// What NumPy-based readers will trip over.
pub fn warnings(mask: &HeadMask) -> Vec<MaskWarning> {
    let (num_layers, num_kv_heads) = (mask.num_layers(), mask.num_kv_heads());
    if num_layers > 1 && num_kv_heads > 1 {
        return Vec::new();
    }
    vec![MaskWarning::TsvSqueezed {
        num_layers,
        num_kv_heads,
    }]
}

/// Reads a table: tabs between numbers, LF or CRLF, integers or floats. `file` only names it in errors.
///
/// # Errors
/// [`MaskProblem::HeaderRow`], [`MaskProblem::Separator`], [`MaskProblem::Values`], [`MaskProblem::Ragged`] with the place, or
/// [`MaskProblem::Shape`] for an empty or absurdly large one.
pub fn parse_table(bytes: &[u8], file: &Path) -> Result<ScoreTable, MaskError> {
    table(bytes).map_err(|problem| MaskError::new(file, problem))
}

fn table(bytes: &[u8]) -> Result<ScoreTable, MaskProblem> {
    if bytes.len() > MAX_TABLE_BYTES {
        return Err(size(format!("{} bytes", bytes.len())));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| MaskProblem::Values {
        place: format!("byte {}", error.valid_up_to()),
        found: "no UTF-8 text".to_owned(),
        expected: "a number",
    })?;
    let mut table = ScoreTable {
        num_layers: 0,
        num_columns: 0,
        scores: Vec::new(),
    };
    for (line, text) in text.lines().enumerate() {
        table.push_line(line.saturating_add(1), text)?;
    }
    let axes = [table.num_layers, table.num_columns];
    if axes.iter().any(|len| !(1..=MAX_AXIS).contains(len)) {
        return Err(size(format!("a {} x {} table", axes[0], axes[1])));
    }
    Ok(table)
}

impl ScoreTable {
    fn push_line(&mut self, line: usize, text: &str) -> Result<(), MaskProblem> {
        let mut num_columns: usize = 0;
        for (column, field) in text.split('\t').enumerate() {
            let place = (line, column.saturating_add(1));
            self.scores.push(number(field.trim(), place)?);
            num_columns = num_columns.saturating_add(1);
        }
        if self.num_layers == 0 {
            self.num_columns = num_columns;
        } else if num_columns != self.num_columns {
            return Err(MaskProblem::Ragged {
                line,
                found: num_columns,
                expected: self.num_columns,
            });
        }
        self.num_layers = self.num_layers.saturating_add(1);
        Ok(())
    }

    /// The table as the mask it is, if it holds nothing but 0 and 1. Scores are never cut here: that needs a count.
    ///
    /// # Errors
    /// [`MaskProblem::NotBinary`] with the first graded score.
    pub fn to_mask(&self, file: &Path) -> Result<HeadMask, MaskError> {
        let is_flag = |score: f64| score.to_bits() == 0 || score.to_bits() == 1.0_f64.to_bits();
        if let Some(example) = self.scores.iter().copied().find(|score| !is_flag(*score)) {
            return Err(MaskError::new(file, MaskProblem::NotBinary { example }));
        }
        let flags = self.scores.iter().map(|score| *score > THRESHOLD).collect();
        let mask = HeadMask::new(self.num_layers, self.num_columns, flags);
        mask.ok_or_else(|| MaskError::new(file, size("a ragged table".to_owned())))
    }

    /// Checks the table against a model.
    ///
    /// # Errors
    /// [`MaskProblem::Shape`], saying so if the columns count query heads.
    pub fn check_shape(
        &self,
        shape: &crate::shape::AttentionShape,
        file: &Path,
    ) -> Result<(), MaskError> {
        if self.num_layers == shape.num_layers && self.num_columns == shape.num_kv_heads {
            return Ok(());
        }
        let problem = MaskProblem::Shape {
            found: format!("{} lines of {} columns", self.num_layers, self.num_columns),
            expected: format!(
                "the model has {} layers with {} kv heads and {} heads",
                shape.num_layers, shape.num_kv_heads, shape.num_heads
            ),
        };
        Err(MaskError::new(file, problem))
    }
}

/// Reads the sizes of a `config.json`; everything else in it is its writer's business.
///
/// # Errors
/// [`MaskProblem::Metadata`] for a missing or impossible size.
pub fn parse_config(bytes: &[u8], file: &Path) -> Result<DuoSizes, MaskError> {
    let malformed = |key: &str, expected, found: Option<String>| {
        let key = key.to_owned();
        let problem = MaskProblem::Metadata {
            key,
            expected,
            found,
        };
        MaskError::new(file, problem)
    };
    let config: serde_json::Value = serde_json::from_slice(bytes)
        .map_err(|error| malformed(CONFIG_NAME, "a JSON object", Some(error.to_string())))?;
    let len = |key: &str| {
        let value = config.get(key);
        value
            .and_then(serde_json::Value::as_u64)
            .and_then(|len| usize::try_from(len).ok())
            .ok_or_else(|| malformed(key, "a whole number", value.map(ToString::to_string)))
    };
    let sizes = DuoSizes {
        sink_size: len("sink_size")?,
        recent_size: len("recent_size")?,
    };
    if sizes.recent_size == 0 {
        let found = Some("0".to_owned());
        return Err(malformed("recent_size", "at least 1 token", found));
    }
    Ok(sizes)
}

fn number(field: &str, (line, column): (usize, usize)) -> Result<f64, MaskProblem> {
    if let Ok(value) = field.parse::<f64>()
        && value.is_finite()
    {
        return Ok(value);
    }
    let separator = field.chars().find(|c| [',', ';', ' '].contains(c));
    let looks_numeric = field.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '.');
    match separator {
        Some(separator) if looks_numeric => Err(MaskProblem::Separator { line, separator }),
        _ if line == 1 && field.starts_with(|c: char| c.is_alphabetic() && !is_nan(field)) => {
            Err(MaskProblem::HeaderRow {
                found: field.to_owned(),
            })
        }
        _ => Err(MaskProblem::Values {
            place: format!("line {line}, column {column}"),
            found: format!("`{field}`"),
            expected: "a finite number",
        }),
    }
}

/// Whether Rust reads the field as NaN or infinity: a bad value, not a column name.
fn is_nan(field: &str) -> bool {
    field.parse::<f64>().is_ok()
}

fn size(found: String) -> MaskProblem {
    MaskProblem::Shape {
        found,
        expected: format!("masks have 1 to {MAX_AXIS} layers and columns"),
    }
}

#[cfg(test)]
mod tests;
