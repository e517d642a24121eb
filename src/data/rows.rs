//! Packed rows: the meaning of the columns `input_ids`, `indices`, `mask` and `domain` of an MDS dataset.
//!
//! **Invariant:** the spans of a [`TokenRow`] are ascending, disjoint and inside the row, and its ids are inside the
//! vocabulary; whoever reads it later need not check again.

use super::mds::dataset::Dataset;
use super::mds::error::{MdsError, Place};
use super::mds::shard::Row;
use super::mds::value::Value;
use crate::config::instruct_mask::InstructMask;
use std::ops::Range;

/// What a reader asks of a row.
#[derive(Debug, Clone, Copy, Default)]
pub struct RowNeeds {
    /// Ids must be below this.
    pub vocab_size: Option<u64>,
    /// Whether the `mask` column is read.
    pub instruct_mask: InstructMask,
}

/// One row's tokens and documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRow {
    /// Where it came from, for messages.
    pub place: Place,
    /// Token ids.
    pub ids: Vec<i64>,
    /// Half-open token ranges of the documents.
    pub spans: Vec<Range<usize>>,
    /// Whether each token is trained on, if instruction masks were asked for.
    pub mask: Option<Vec<bool>>,
    /// The `domain` column, if there is one.
    pub domain: Option<String>,
}

/// Reads row `row` of `dataset`. A row without `indices` is one document.
///
/// # Errors
/// [`MdsError::Columns`] without integer `input_ids`, [`MdsError::TokenRange`], [`MdsError::Spans`],
/// [`MdsError::MaskLen`], [`MdsError::EmptySample`], and whatever reading the row can fail with.
pub fn read_row(dataset: &Dataset, row: u64, needs: RowNeeds) -> Result<TokenRow, MdsError> {
    parse_row(&dataset.row(row)?, needs)
}

/// Reads the columns of an MDS row; see [`read_row`].
///
/// # Errors
/// As [`read_row`].
pub fn parse_row(row: &Row, needs: RowNeeds) -> Result<TokenRow, MdsError> {
    let place = row.place();
    let ids = required(row, "input_ids")?;
    if ids.is_empty() {
        return Err(MdsError::EmptySample {
            place: place.clone(),
        });
    }
    let ids = check_ids(place, &ids, needs.vocab_size)?;
    let spans = match integers(row, "indices")? {
        Some((shape, values)) => check_spans(place, &shape, &values, ids.len())?,
        None => std::iter::once(0..ids.len()).collect(),
    };
    let mask = mask(row, needs.instruct_mask, ids.len())?;
    let domain = match row.value("domain")? {
        Some(Value::Str(domain)) => Some(domain),
        _ => None,
    };
    Ok(TokenRow {
        place: place.clone(),
        ids,
        spans,
        mask,
        domain,
    })
}

/// The `mask` column where it is wanted, of as many values as the row has tokens.
fn mask(row: &Row, wanted: InstructMask, num_tokens: usize) -> Result<Option<Vec<bool>>, MdsError> {
    let mask = match wanted {
        InstructMask::Ignored => None,
        InstructMask::Needed => Some(required(row, "mask")?),
        InstructMask::WherePresent => integers(row, "mask")?.map(|(_, values)| values),
    };
    let Some(mask) = mask else {
        return Ok(None);
    };
    if mask.len() != num_tokens {
        return Err(MdsError::MaskLen {
            place: row.place().clone(),
            tokens: num_tokens,
            mask: mask.len(),
        });
    }
    Ok(Some(mask.into_iter().map(|value| value != 0).collect()))
}

fn required(row: &Row, column: &str) -> Result<Vec<i128>, MdsError> {
    match integers(row, column)? {
        Some((_, values)) => Ok(values),
        None => Err(bad_column(row, column, "missing")),
    }
}

/// Shape and values of an array of integers.
type Integers = (Vec<u64>, Vec<i128>);

/// An integer array column; nothing if there is no such column.
fn integers(row: &Row, column: &str) -> Result<Option<Integers>, MdsError> {
    let Some(value) = row.value(column)? else {
        return Ok(None);
    };
    let Value::Array(array) = value else {
        return Err(bad_column(row, column, "not an array"));
    };
    let values = array
        .integers()
        .ok_or_else(|| bad_column(row, column, "an array of floats, not of integers"))?;
    Ok(Some((array.shape().to_vec(), values)))
}

fn bad_column(row: &Row, column: &str, reason: &str) -> MdsError {
    MdsError::Columns {
        place: row.place().clone(),
        column: column.to_owned(),
        reason: reason.to_owned(),
    }
}

fn check_ids(place: &Place, ids: &[i128], vocab_size: Option<u64>) -> Result<Vec<i64>, MdsError> {
    let limit = vocab_size.unwrap_or(1 << 32);
    ids.iter()
        .enumerate()
        .map(|(position, &id)| {
            u64::try_from(id)
                .ok()
                .filter(|&id| id < limit)
                .and_then(|id| i64::try_from(id).ok())
                .ok_or_else(|| MdsError::TokenRange {
                    place: place.clone(),
                    position,
                    id,
                    vocab_size: limit,
                })
        })
        .collect()
}

fn check_spans(
    place: &Place,
    shape: &[u64],
    values: &[i128],
    num_tokens: usize,
) -> Result<Vec<Range<usize>>, MdsError> {
    let fault = |reason: String| MdsError::Spans {
        place: place.clone(),
        reason,
    };
    if !matches!(shape, [_, 2]) || values.is_empty() {
        return Err(fault(format!(
            "`indices` has shape {shape:?}, not [spans, 2]"
        )));
    }
    let mut end_of_previous = 0_usize;
    let mut spans = Vec::with_capacity(values.len() / 2);
    for pair in values.as_chunks::<2>().0 {
        let [start, end] = pair.map(|value| usize::try_from(value).ok());
        let span = start
            .zip(end)
            .filter(|&(start, end)| end_of_previous <= start && start <= end && end <= num_tokens);
        let Some((start, end)) = span else {
            return Err(fault(format!(
                "span [{}, {}) after token {end_of_previous} in a row of {num_tokens}",
                pair[0], pair[1]
            )));
        };
        spans.push(start..end);
        end_of_previous = end;
    }
    Ok(spans)
}
