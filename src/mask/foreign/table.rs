//! Tables of numbers as `NumPy` writes them: one line per layer, tabs, LF or CRLF, integers or floats, no header.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::content::{Content, Input, NamedBytes, Reading};
use super::fold::Fold;
use super::sniff;
use crate::mask::error::{MaskError, MaskProblem};
use crate::mask::head_mask::HeadMask;
use crate::shape::AttentionShape;
use std::path::Path;

/// Largest table accepted, in bytes.
pub const MAX_TABLE_BYTES: usize = 16 << 20;
/// Most layers and most columns accepted.
pub const MAX_AXIS: usize = 4096;

/// A table of numbers, higher = retrieval.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoreTable {
    /// Lines.
    pub num_layers: usize,
    /// Columns; kv heads, unless the file counts query heads.
    pub num_columns: usize,
    /// Row-major, finite, as written.
    pub scores: Vec<f64>,
}

/// Reads a table. `file` only names it in errors.
///
/// # Errors
/// [`MaskProblem::HeaderRow`], [`MaskProblem::Separator`], [`MaskProblem::Values`], [`MaskProblem::Ragged`] with the place,
/// [`MaskProblem::Shape`] for an empty or absurdly large one, and what [`sniff::refuse`] says about bytes of another kind.
pub fn parse_table(bytes: &[u8], file: &Path) -> Result<ScoreTable, MaskError> {
    table(bytes).map_err(|problem| MaskError::new(file, problem))
}

/// Reads the table of a format whose columns are kv heads, and checks it against the model.
///
/// # Errors
/// As [`parse_table`] and [`ScoreTable::check_shape`], or that a fold was asked for.
pub fn read_kv(input: &Input, reading: &Reading) -> Result<ScoreTable, MaskError> {
    let NamedBytes { path, bytes } = &input.main;
    Fold::refuse(reading.fold).map_err(|problem| MaskError::new(path, problem))?;
    let table = parse_table(bytes, path)?;
    if let Some(shape) = &reading.shape {
        table.check_shape(shape, path)?;
    }
    Ok(table)
}

/// The table of a mask: `0` and `1`, tabs, LF after every line; the bytes of `np.savetxt(fmt="%d", delimiter="\t")`.
pub fn mask_text(mask: &HeadMask) -> String {
    let flags = mask.flags().iter();
    let digits = flags.map(|retrieval| u8::from(*retrieval));
    text(mask.num_kv_heads(), &digits.collect::<Vec<_>>())
}

/// Numbers in rows of `num_columns`, in their shortest spelling.
pub fn text<T: ToString>(num_columns: usize, numbers: &[T]) -> String {
    let mut text = String::new();
    for row in numbers.chunks(num_columns.max(1)) {
        let row: Vec<String> = row.iter().map(ToString::to_string).collect();
        text.push_str(&row.join("\t"));
        text.push('\n');
    }
    text
}

fn table(bytes: &[u8]) -> Result<ScoreTable, MaskProblem> {
    if bytes.len() > MAX_TABLE_BYTES {
        return Err(size(format!("{} bytes", bytes.len())));
    }
    sniff::refuse(bytes)?;
    let text = sniff::utf8(bytes)?;
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

    /// The first number that is neither 0 nor 1, with its line and column; `None` for a decision.
    pub fn first_grade(&self) -> Option<(usize, usize, f64)> {
        let is_flag = |score: f64| score == 0.0 || score.to_bits() == 1.0_f64.to_bits();
        let (index, score) = self
            .scores
            .iter()
            .enumerate()
            .find(|(_, s)| !is_flag(**s))?;
        let line = index.checked_div(self.num_columns)?.checked_add(1)?;
        let column = index.checked_rem(self.num_columns)?.checked_add(1)?;
        Some((line, column, *score))
    }

    /// The table as the mask it is, if it holds nothing but 0 and 1. Scores are never cut here: that needs a count.
    ///
    /// # Errors
    /// [`MaskProblem::NotBinary`] with the first graded score.
    pub fn to_mask(&self, file: &Path) -> Result<HeadMask, MaskError> {
        if let Some((line, column, example)) = self.first_grade() {
            let place = format!("line {line}, column {column}");
            let problem = MaskProblem::NotBinary { place, example };
            return Err(MaskError::new(file, problem));
        }
        let flags = self.scores.iter().map(|score| *score > 0.5).collect();
        let mask = HeadMask::new(self.num_layers, self.num_columns, flags);
        mask.ok_or_else(|| MaskError::new(file, size("a ragged table".to_owned())))
    }

    /// A decision where the table holds nothing but 0 and 1, else scores, clipped to [0, 1] as `DuoAttention`'s loader does.
    ///
    /// # Errors
    /// Never for a table that [`parse_table`] made.
    pub fn clipped(self, file: &Path) -> Result<Content, MaskError> {
        if self.first_grade().is_none() {
            return Ok(Content::Mask(self.to_mask(file)?));
        }
        Ok(self.graded())
    }

    /// Scores, clipped to [0, 1] as `DuoAttention`'s loader does, even if all are 0 or 1.
    pub fn graded(self) -> Content {
        let scores = self.scores.iter().map(|score| score.clamp(0.0, 1.0));
        Content::Scores {
            num_layers: self.num_layers,
            num_kv_heads: self.num_columns,
            scores: scores.collect(),
        }
    }

    /// Checks the table against a model.
    ///
    /// # Errors
    /// [`MaskProblem::Shape`], naming both shapes, so that a table of query heads, a short one or a transposed one shows.
    pub fn check_shape(&self, shape: &AttentionShape, file: &Path) -> Result<(), MaskError> {
        let problem = shape_problem(("lines", self.num_layers), self.num_columns, shape);
        problem.map_or(Ok(()), |problem| Err(MaskError::new(file, problem)))
    }
}

/// Why `num_rows` of `num_columns` are not the kv heads of a model; `None` if they are. `rows` is the file's word for layers.
pub(crate) fn shape_problem(
    (rows, num_rows): (&str, usize),
    num_columns: usize,
    shape: &AttentionShape,
) -> Option<MaskProblem> {
    let fits = (num_rows, num_columns) == (shape.num_layers, shape.num_kv_heads);
    let reason = match (num_rows, num_columns) {
        (rows, columns) if rows == shape.num_kv_heads && columns == shape.num_layers => {
            ": it is transposed"
        }
        (rows, columns) if rows == shape.num_layers && columns == shape.num_heads => {
            ": it counts query heads"
        }
        (rows, columns) if rows < shape.num_layers && columns == shape.num_kv_heads => {
            ": it ends early"
        }
        _ => "",
    };
    (!fits).then(|| MaskProblem::Shape {
        found: format!("{num_rows} {rows} of {num_columns} columns{reason}"),
        expected: format!(
            "the model has {} layers with {} kv heads and {} heads",
            shape.num_layers, shape.num_kv_heads, shape.num_heads
        ),
    })
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
        Some(separator) if looks_numeric => Err(MaskProblem::Separator {
            line,
            column,
            separator,
        }),
        _ if line == 1 && field.starts_with(|c: char| c.is_alphabetic() && !is_nan(field)) => {
            Err(MaskProblem::HeaderRow {
                column,
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

pub(crate) fn size(found: String) -> MaskProblem {
    MaskProblem::Shape {
        found,
        expected: format!("masks have 1 to {MAX_AXIS} layers and columns"),
    }
}

#[cfg(test)]
mod tests;
