//! `index.json`: which shards a dataset has, their columns, sizes and hashes.

use super::codec::Codec;
use super::column::{Column, Encoding};
use super::error::{MdsError, Place};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

/// Name of the index inside a dataset's folder.
pub const FILE_NAME: &str = "index.json";

/// An index of more bytes is refused: it would describe millions of shards.
const MAX_INDEX_BYTES: u64 = 256 << 20;

/// Offsets inside a shard have 32 bits.
const MAX_SHARD_BYTES: u64 = 0xffff_ffff;

/// One file of a shard.
#[derive(Debug, Clone, Deserialize)]
pub struct FileEntry {
    /// Path relative to the dataset, which may have a directory part.
    pub basename: String,
    /// Size.
    pub bytes: u64,
    /// Hash name to hex digest.
    #[serde(default)]
    pub hashes: BTreeMap<String, String>,
}

/// One shard.
#[derive(Debug, Clone)]
pub struct ShardEntry {
    /// Columns in the order of their payloads.
    pub columns: Arc<[Column]>,
    /// How `zip` is compressed.
    pub codec: Option<Codec>,
    /// The uncompressed file.
    pub raw: FileEntry,
    /// The compressed file.
    pub zip: Option<FileEntry>,
    /// Number of rows.
    pub samples: u64,
}

/// A checked index.
#[derive(Debug, Clone)]
pub struct Index {
    /// Shards in row order.
    pub shards: Vec<ShardEntry>,
    /// blake3 of the index file, hex: the dataset's identity.
    pub blake3: String,
}

#[derive(Deserialize)]
struct RawIndex {
    version: serde_json::Value,
    shards: Vec<RawShard>,
}

#[derive(Deserialize)]
struct RawShard {
    column_encodings: Vec<String>,
    column_names: Vec<String>,
    column_sizes: Vec<Option<u64>>,
    #[serde(default)]
    compression: Option<String>,
    format: String,
    raw_data: FileEntry,
    samples: u64,
    version: serde_json::Value,
    #[serde(default)]
    zip_data: Option<FileEntry>,
}

/// Reads and checks the index of the dataset in `root`.
///
/// # Errors
/// [`MdsError::Index`], [`MdsError::UnsafeName`], [`MdsError::Columns`], [`MdsError::Encoding`], or [`MdsError::Io`].
pub fn load(root: &Path) -> Result<Index, MdsError> {
    let path = root.join(FILE_NAME);
    let broken = |reason: String| MdsError::Index {
        path: root.to_path_buf(),
        reason,
    };
    let io = |source| MdsError::Io {
        action: "read",
        path: path.clone(),
        source,
    };
    match std::fs::metadata(&path) {
        Ok(meta) if meta.len() > MAX_INDEX_BYTES => {
            return Err(broken(format!("index.json has {} bytes", meta.len())));
        }
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(broken(missing(root)));
        }
        Err(error) => return Err(io(error)),
    }
    let bytes = std::fs::read(&path).map_err(io)?;
    let raw: RawIndex = serde_json::from_slice(&bytes)
        .map_err(|error| broken(format!("index.json is malformed: {error}")))?;
    if raw.version != 2 {
        return Err(broken(format!("version {} (supported: 2)", raw.version)));
    }
    if raw.shards.is_empty() {
        return Err(broken("index.json lists no shards".to_owned()));
    }
    let shards = raw
        .shards
        .into_iter()
        .map(|shard| check_shard(root, shard))
        .collect::<Result<_, _>>()?;
    Ok(Index {
        shards,
        blake3: blake3::hash(&bytes).to_hex().to_string(),
    })
}

/// Says why there is no index: no folder, an unfinished dataset, or datasets one level below.
fn missing(root: &Path) -> String {
    let Ok(entries) = std::fs::read_dir(root) else {
        return "no such folder".to_owned();
    };
    let paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    let below: BTreeSet<String> = paths
        .iter()
        .filter(|path| path.join(FILE_NAME).is_file())
        .filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned()))
        .collect();
    if !below.is_empty() {
        let names: Vec<_> = below.into_iter().collect();
        return format!(
            "no index.json, but datasets below it: name one of `{}`",
            names.join("`, `")
        );
    }
    let has_shards = paths.iter().any(|path| {
        path.file_name()
            .is_some_and(|name| name.to_string_lossy().contains(".mds"))
    });
    if has_shards {
        "shards but no index.json: writing it was interrupted".to_owned()
    } else {
        "no index.json".to_owned()
    }
}

fn check_shard(root: &Path, raw: RawShard) -> Result<ShardEntry, MdsError> {
    let broken = |reason: String| MdsError::Index {
        path: root.to_path_buf(),
        reason: format!("shard `{}`: {reason}", raw.raw_data.basename),
    };
    if raw.version != 2 {
        return Err(broken(format!("version {} (supported: 2)", raw.version)));
    }
    if raw.format != "mds" {
        return Err(broken(format!("format `{}` (supported: mds)", raw.format)));
    }
    if raw.raw_data.bytes > MAX_SHARD_BYTES {
        return Err(broken(format!("{} bytes exceed 4 GiB", raw.raw_data.bytes)));
    }
    if raw.zip_data.is_some() && raw.compression.is_none() {
        return Err(broken("a compressed file, but no compression".to_owned()));
    }
    for file in [Some(&raw.raw_data), raw.zip_data.as_ref()]
        .into_iter()
        .flatten()
    {
        check_name(root, &file.basename)?;
    }
    Ok(ShardEntry {
        columns: check_columns(root, &raw)?,
        codec: raw.compression.as_deref().map(Codec::parse),
        raw: raw.raw_data,
        zip: raw.zip_data,
        samples: raw.samples,
    })
}

fn check_name(root: &Path, name: &str) -> Result<(), MdsError> {
    use std::path::Component;
    let plain = Path::new(name)
        .components()
        .all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if name.is_empty() || !plain || name.contains(['\\', '\0']) {
        return Err(MdsError::UnsafeName {
            path: root.to_path_buf(),
            name: name.to_owned(),
        });
    }
    Ok(())
}

fn check_columns(root: &Path, raw: &RawShard) -> Result<Arc<[Column]>, MdsError> {
    let place = || Place {
        path: root.join(&raw.raw_data.basename),
        row: None,
    };
    let num_columns = raw.column_names.len();
    if raw.column_encodings.len() != num_columns || raw.column_sizes.len() != num_columns {
        return Err(MdsError::Columns {
            place: place(),
            column: raw.column_names.join(","),
            reason: "index.json lists names, encodings and sizes of different counts".to_owned(),
        });
    }
    let mut columns: Vec<Column> = Vec::with_capacity(num_columns);
    let described = raw
        .column_names
        .iter()
        .zip(&raw.column_encodings)
        .zip(&raw.column_sizes);
    for ((name, encoding), size) in described {
        let encoding = Encoding::parse(encoding).map_err(|reason| MdsError::Encoding {
            place: place(),
            column: name.clone(),
            reason,
        })?;
        let fault = |reason| MdsError::Columns {
            place: place(),
            column: name.clone(),
            reason,
        };
        if encoding.fixed_bytes() != *size {
            let spelled = |size: Option<u64>| size.map_or("null".to_owned(), |n| n.to_string());
            return Err(fault(format!(
                "size {} in index.json, `{}` has {}",
                spelled(*size),
                encoding.name(),
                spelled(encoding.fixed_bytes())
            )));
        }
        if columns.iter().any(|column| column.name == *name) {
            return Err(fault("listed twice".to_owned()));
        }
        columns.push(Column {
            name: name.clone(),
            encoding,
        });
    }
    Ok(columns.into())
}
