//! One opened shard: its offsets, and the bytes of any row.

use super::column::Column;
use super::decode::decode;
use super::error::{MdsError, Place};
use super::value::Value;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

/// Where an uncompressed shard's bytes are.
#[derive(Debug)]
pub enum Bytes {
    /// In a file, read row by row.
    File(File),
    /// In memory, after decompression.
    Memory(Vec<u8>),
}

/// An opened shard whose header agrees with the index.
#[derive(Debug)]
pub struct Shard {
    path: PathBuf,
    bytes: Bytes,
    offsets: Vec<u64>,
    columns: Arc<[Column]>,
    first_row: u64,
}

/// What the index says about a shard, needed to check its header.
#[derive(Debug)]
pub struct Declared {
    /// The file that error messages name.
    pub path: PathBuf,
    /// Size of the uncompressed shard.
    pub raw_bytes: u64,
    /// Number of rows.
    pub samples: u64,
    /// Number of the shard's first row in the dataset.
    pub first_row: u64,
    /// Columns in payload order.
    pub columns: Arc<[Column]>,
}

impl Shard {
    /// Reads and checks row count and offsets.
    ///
    /// # Errors
    /// [`MdsError::Count`], [`MdsError::Offsets`], [`MdsError::Io`].
    pub fn open(declared: Declared, bytes: Bytes) -> Result<Self, MdsError> {
        let mut shard = Self {
            path: declared.path,
            bytes,
            offsets: Vec::new(),
            columns: declared.columns,
            first_row: declared.first_row,
        };
        if declared.raw_bytes < 8 {
            return Err(shard.misplaced(None, "a shard is at least 8 bytes long".to_owned()));
        }
        let found = words(&shard.read(0..4)?).first().copied().unwrap_or(0);
        if found != declared.samples {
            return Err(MdsError::Count {
                path: shard.path,
                declared: declared.samples,
                found,
            });
        }
        let header_end = found
            .checked_add(1)
            .and_then(|count| count.checked_mul(4))
            .and_then(|len| len.checked_add(4))
            .filter(|&end| end <= declared.raw_bytes)
            .ok_or_else(|| shard.misplaced(None, "the offset table leaves the file".to_owned()))?;
        shard.offsets = words(&shard.read(4..header_end)?);
        shard.check_offsets(header_end, declared.raw_bytes)?;
        Ok(shard)
    }

    /// Bytes this opened shard keeps in memory.
    pub fn resident_bytes(&self) -> u64 {
        let held = match &self.bytes {
            Bytes::File(_) => 0,
            Bytes::Memory(bytes) => bytes.len(),
        };
        u64::try_from(self.offsets.len().saturating_mul(8).saturating_add(held)).unwrap_or(u64::MAX)
    }

    /// Reads row `local` of this shard; its columns are decoded when asked for.
    ///
    /// # Errors
    /// [`MdsError::Columns`] if the row's sizes do not add up, [`MdsError::Io`]; [`MdsError::Offsets`] if there is no such
    /// row.
    pub fn row(&self, local: u64) -> Result<Row, MdsError> {
        let index = usize::try_from(local).unwrap_or(usize::MAX);
        let ends = self
            .offsets
            .get(index)
            .zip(self.offsets.get(index.saturating_add(1)));
        let Some((&start, &end)) = ends else {
            return Err(self.misplaced(None, format!("no row {local} in this shard")));
        };
        let place = self.place(Some(local));
        let bytes = self.read(start..end)?;
        let ranges =
            split(&self.columns, &bytes).map_err(|(column, reason)| MdsError::Columns {
                place: place.clone(),
                column,
                reason,
            })?;
        Ok(Row {
            place,
            columns: Arc::clone(&self.columns),
            bytes,
            ranges,
        })
    }

    fn place(&self, local: Option<u64>) -> Place {
        Place {
            path: self.path.clone(),
            row: local.and_then(|local| self.first_row.checked_add(local)),
        }
    }

    fn misplaced(&self, local: Option<u64>, reason: String) -> MdsError {
        MdsError::Offsets {
            place: self.place(local),
            reason,
        }
    }

    fn check_offsets(&self, header_end: u64, raw_bytes: u64) -> Result<(), MdsError> {
        let mut previous = header_end;
        for (row, &offset) in (0_u64..).zip(&self.offsets) {
            if offset < previous || offset > raw_bytes {
                return Err(self.misplaced(
                    Some(row),
                    format!("starts at byte {offset}, outside {previous}..={raw_bytes}"),
                ));
            }
            previous = offset;
        }
        if previous != raw_bytes {
            return Err(self.misplaced(
                None,
                format!("rows end at byte {previous}, the shard at {raw_bytes}"),
            ));
        }
        Ok(())
    }

    fn read(&self, range: Range<u64>) -> Result<Vec<u8>, MdsError> {
        let outside = || self.misplaced(None, format!("bytes {range:?} are outside the shard"));
        let start = usize::try_from(range.start).map_err(|_| outside())?;
        let end = usize::try_from(range.end).map_err(|_| outside())?;
        let len = end.checked_sub(start).ok_or_else(outside)?;
        match &self.bytes {
            Bytes::Memory(bytes) => Ok(bytes.get(start..end).ok_or_else(outside)?.to_vec()),
            Bytes::File(file) => {
                let mut buffer = vec![0_u8; len];
                file.read_exact_at(&mut buffer, range.start)
                    .map_err(|source| MdsError::Io {
                        action: "read",
                        path: self.path.clone(),
                        source,
                    })?;
                Ok(buffer)
            }
        }
    }
}

/// Little-endian u32 words, widened.
fn words(bytes: &[u8]) -> Vec<u64> {
    bytes
        .as_chunks::<4>()
        .0
        .iter()
        .map(|word| u64::from(u32::from_le_bytes(*word)))
        .collect()
}

/// Where each column's bytes are inside a row, or the column that does not fit and why.
fn split(columns: &[Column], bytes: &[u8]) -> Result<Vec<Range<usize>>, (String, String)> {
    let num_sizes = columns
        .iter()
        .filter(|column| column.encoding.fixed_bytes().is_none())
        .count();
    let mut start = num_sizes.saturating_mul(4);
    let header = bytes.get(..start).ok_or_else(|| {
        let reason = format!("{num_sizes} size words in a row of {} bytes", bytes.len());
        (String::new(), reason)
    })?;
    let mut sizes = words(header).into_iter();
    let mut ranges = Vec::with_capacity(columns.len());
    for column in columns {
        let size = column.encoding.fixed_bytes().or_else(|| sizes.next());
        let end = size
            .and_then(|size| usize::try_from(size).ok())
            .and_then(|size| start.checked_add(size))
            .filter(|&end| end <= bytes.len());
        let Some(end) = end else {
            let reason = format!(
                "{} bytes at byte {start} of a row of {}",
                size.unwrap_or(0),
                bytes.len()
            );
            return Err((column.name.clone(), reason));
        };
        ranges.push(start..end);
        start = end;
    }
    if start != bytes.len() {
        let last = columns.last().map(|column| column.name.clone());
        let reason = format!("columns end at byte {start} of a row of {}", bytes.len());
        return Err((last.unwrap_or_default(), reason));
    }
    Ok(ranges)
}

/// One row's bytes, split into columns.
#[derive(Debug, Clone)]
pub struct Row {
    place: Place,
    columns: Arc<[Column]>,
    bytes: Vec<u8>,
    ranges: Vec<Range<usize>>,
}

impl Row {
    /// Shard file and row number, for messages.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Columns in payload order.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// Decodes the column called `name`; nothing if there is none.
    ///
    /// # Errors
    /// [`MdsError::Encoding`].
    pub fn value(&self, name: &str) -> Result<Option<Value>, MdsError> {
        self.columns
            .iter()
            .zip(&self.ranges)
            .find(|(column, _)| column.name == name)
            .map(|(column, range)| self.decode(column, range))
            .transpose()
    }

    /// Decodes every column, in payload order.
    ///
    /// # Errors
    /// [`MdsError::Encoding`] for the first column that fails.
    pub fn values(&self) -> Result<Vec<Value>, MdsError> {
        self.columns
            .iter()
            .zip(&self.ranges)
            .map(|(column, range)| self.decode(column, range))
            .collect()
    }

    fn decode(&self, column: &Column, range: &Range<usize>) -> Result<Value, MdsError> {
        let bytes = self.bytes.get(range.clone()).unwrap_or_default();
        decode(&column.encoding, bytes).map_err(|reason| MdsError::Encoding {
            place: self.place.clone(),
            column: column.name.clone(),
            reason,
        })
    }
}
