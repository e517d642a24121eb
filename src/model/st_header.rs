//! The header of a safetensors file: bounded, checked, and turned into absolute byte ranges.
//!
//! File = 8-byte little-endian header length, header (one JSON object), data. Every tensor's bytes are a range of the
//! data; the ranges tile it without holes.
//!
//! **Invariant:** a header that left this module can be read blindly: every range lies inside the file and has exactly the
//! bytes of its shape and dtype.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::config::WeightDtype;
use super::error::ModelError;
use super::st_json::{Entry, RawHeader};
use super::weights_error::SafetensorsFault;
use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// The format's own limit.
const FORMAT_MAX_HEADER_BYTES: u64 = 100_000_000;
const MAX_HEADER_BYTES: u64 = 16 << 20;
const MAX_TENSORS: usize = 100_000;
/// Most dimensions a tensor may have.
pub(super) const MAX_RANK: usize = 8;
const LENGTH_FIELD_BYTES: u64 = 8;
/// Enough to recognise a pointer file or a web page.
const SNIFFED_BYTES: usize = 256;

/// Where one tensor lies in its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorEntry {
    /// Element type.
    pub dtype: WeightDtype,
    /// Sizes, outermost first; empty for a scalar.
    pub shape: Vec<usize>,
    /// Absolute byte range in the file.
    pub bytes: Range<u64>,
}

impl TensorEntry {
    /// Size of the stored tensor.
    pub fn num_bytes(&self) -> u64 {
        self.bytes.end.saturating_sub(self.bytes.start)
    }
}

/// Opens `path` and checks its header; tensors by name.
///
/// # Errors
/// [`ModelError::MissingFile`], [`ModelError::Io`], or [`ModelError::Safetensors`] with the first fault.
pub fn open(path: &Path) -> Result<(File, BTreeMap<String, TensorEntry>), ModelError> {
    let io = |error| ModelError::io("read", path, error);
    let metadata = std::fs::metadata(path).map_err(io)?;
    let fault = |source| ModelError::Safetensors {
        path: path.to_path_buf(),
        source,
    };
    if !metadata.is_file() {
        return Err(fault(SafetensorsFault::NotAFile));
    }
    let file = File::open(path).map_err(io)?;
    let file_bytes = file.metadata().map_err(io)?.len();
    let head = read_head(&file, file_bytes).map_err(io)?;
    let header_bytes = header_len(&head, file_bytes).map_err(fault)?;
    let mut text = vec![0; usize::try_from(header_bytes).unwrap_or(0)];
    file.read_exact_at(&mut text, LENGTH_FIELD_BYTES)
        .map_err(io)?;
    let tensors = parse(&text, file_bytes).map_err(fault)?;
    Ok((file, tensors))
}

fn read_head(file: &File, file_bytes: u64) -> std::io::Result<Vec<u8>> {
    let count = usize::try_from(file_bytes).map_or(SNIFFED_BYTES, |len| len.min(SNIFFED_BYTES));
    let mut head = vec![0; count];
    file.read_exact_at(&mut head, 0)?;
    Ok(head)
}

/// Length of the header, from the file's first bytes.
fn header_len(head: &[u8], file_bytes: u64) -> Result<u64, SafetensorsFault> {
    if head.starts_with(b"version https://git-lfs") {
        return Err(SafetensorsFault::LfsPointer);
    }
    let text = head.trim_ascii_start().to_ascii_lowercase();
    if text.starts_with(b"<!doctype") || text.starts_with(b"<html") || text.starts_with(b"<?xml") {
        return Err(SafetensorsFault::Html);
    }
    let Some((field, _)) = head.split_first_chunk::<8>() else {
        return Err(SafetensorsFault::TooShort { bytes: file_bytes });
    };
    let claimed = u64::from_le_bytes(*field);
    let left = file_bytes.saturating_sub(LENGTH_FIELD_BYTES);
    let possible = left.min(FORMAT_MAX_HEADER_BYTES);
    if claimed > possible {
        let max = possible;
        return Err(SafetensorsFault::HeaderLen { claimed, max });
    }
    if claimed > MAX_HEADER_BYTES {
        return Err(SafetensorsFault::TooMany {
            what: "bytes",
            found: claimed,
            max: MAX_HEADER_BYTES,
        });
    }
    Ok(claimed)
}

/// Parses a header's bytes for a file of `file_bytes` bytes.
fn parse(
    header: &[u8],
    file_bytes: u64,
) -> Result<BTreeMap<String, TensorEntry>, SafetensorsFault> {
    let raw = RawHeader::parse(header)?;
    if raw.entries.len() > MAX_TENSORS {
        return Err(SafetensorsFault::TooMany {
            what: "tensors",
            found: raw.entries.len() as u64,
            max: MAX_TENSORS as u64,
        });
    }
    let data_start = LENGTH_FIELD_BYTES.saturating_add(header.len() as u64);
    let mut tensors = BTreeMap::new();
    for (name, entry) in raw.entries {
        let tensor = check_entry(&name, &entry, data_start)?;
        if tensors.insert(name.clone(), tensor).is_some() {
            return Err(SafetensorsFault::DuplicateKey { name });
        }
    }
    check_tiling(&tensors, data_start, file_bytes)?;
    Ok(tensors)
}

fn check_entry(
    name: &str,
    entry: &Entry,
    data_start: u64,
) -> Result<TensorEntry, SafetensorsFault> {
    let dtype = match entry.dtype.as_str() {
        "F32" => WeightDtype::F32,
        "F16" => WeightDtype::F16,
        "BF16" => WeightDtype::Bf16,
        other => {
            return Err(SafetensorsFault::Dtype {
                name: name.to_owned(),
                dtype: other.chars().take(20).collect(),
            });
        }
    };
    let bad_shape = || SafetensorsFault::Shape {
        name: name.to_owned(),
        max_rank: MAX_RANK,
    };
    let shape = entry.shape.sizes(MAX_RANK).ok_or_else(bad_shape)?;
    let num_bytes = byte_count(&shape, dtype).ok_or_else(bad_shape)?;
    let (begin, end) = entry.range(name)?;
    let problem = match end.checked_sub(begin) {
        None => "the range is reversed",
        Some(len) if len != num_bytes => "the range does not have the bytes of shape and dtype",
        Some(_) => "the range is beyond any file",
    };
    let absolute = |offset: u64| offset.checked_add(data_start);
    match (absolute(begin), absolute(end)) {
        (Some(first), Some(last)) if end.checked_sub(begin) == Some(num_bytes) => Ok(TensorEntry {
            dtype,
            shape,
            bytes: first..last,
        }),
        _ => Err(SafetensorsFault::Offsets {
            name: name.to_owned(),
            begin,
            end,
            problem,
        }),
    }
}

/// Bytes of a tensor, if they can be addressed; also by libtorch, whose sizes are signed.
fn byte_count(shape: &[usize], dtype: WeightDtype) -> Option<u64> {
    let elements = shape
        .iter()
        .try_fold(1_usize, |product, size| product.checked_mul(*size))?;
    let bytes = elements.checked_mul(dtype.num_bytes())?;
    i64::try_from(bytes).ok()?;
    u64::try_from(bytes).ok()
}

/// The ranges must follow each other from the first data byte to the last byte of the file.
fn check_tiling(
    tensors: &BTreeMap<String, TensorEntry>,
    data_start: u64,
    file_bytes: u64,
) -> Result<(), SafetensorsFault> {
    let mut ranges: Vec<_> = tensors
        .iter()
        .map(|(name, entry)| (entry.bytes.start, entry.bytes.end, name))
        .collect();
    ranges.sort_unstable();
    let mut next = data_start;
    for (begin, end, name) in ranges {
        if begin != next {
            return Err(SafetensorsFault::Offsets {
                name: name.clone(),
                begin: begin.saturating_sub(data_start),
                end: end.saturating_sub(data_start),
                problem: if begin < next {
                    "the range overlaps another tensor"
                } else {
                    "bytes before the range belong to no tensor"
                },
            });
        }
        next = end;
    }
    match (next, file_bytes) {
        (expected, found) if expected > found => {
            Err(SafetensorsFault::Truncated { expected, found })
        }
        (expected, found) if expected < found => Err(SafetensorsFault::TrailingBytes {
            bytes: found.saturating_sub(expected),
        }),
        _ => Ok(()),
    }
}
