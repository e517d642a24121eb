//! The files of a model folder that hold its weights: one, or the shards of an index.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::error::ModelError;
use super::shard_index::{self, ShardIndex};
use super::st_header::{self, TensorEntry};
use super::weights_error::IndexFault;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// File name of unsharded weights inside a model folder.
pub const FILE_NAME: &str = "model.safetensors";

/// A file and what its header says it holds.
pub(super) type OpenedFile = (PathBuf, File, BTreeMap<String, TensorEntry>);

/// Opens the single file if there is one, else the shards of the index.
///
/// # Errors
/// [`ModelError::MissingFile`], [`ModelError::Pickle`], [`ModelError::Safetensors`] or [`ModelError::Index`].
pub(super) fn open(dir: &Path) -> Result<Vec<OpenedFile>, ModelError> {
    let single = dir.join(FILE_NAME);
    let index = dir.join(shard_index::FILE_NAME);
    if single.exists() {
        let (file, tensors) = st_header::open(&single)?;
        return Ok(vec![(single, file, tensors)]);
    }
    if index.exists() {
        return open_shards(dir, &index);
    }
    match pickled_file(dir) {
        Some(path) => Err(ModelError::Pickle { path }),
        None => Err(ModelError::MissingFile { path: single }),
    }
}

fn pickled_file(dir: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(dir).ok()?.flatten();
    let mut pickles: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| {
            let extension = path.extension().and_then(|extension| extension.to_str());
            matches!(extension, Some("bin" | "pt" | "pth"))
        })
        .collect();
    pickles.sort();
    pickles.into_iter().next()
}

fn open_shards(dir: &Path, path: &Path) -> Result<Vec<OpenedFile>, ModelError> {
    let fault = |source| ModelError::Index {
        path: path.to_path_buf(),
        source,
    };
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| {
            file.take(shard_index::MAX_FILE_BYTES.saturating_add(1))
                .read_to_end(&mut bytes)
        })
        .map_err(|error| ModelError::io("read", path, error))?;
    if bytes.len() as u64 > shard_index::MAX_FILE_BYTES {
        let reason = format!("it has more than {} bytes", shard_index::MAX_FILE_BYTES);
        return Err(fault(IndexFault::NotJson { reason }));
    }
    let index = ShardIndex::parse(&bytes).map_err(fault)?;
    index.check_files(dir).map_err(fault)?;
    let mut opened = Vec::new();
    let mut total_bytes = 0_u64;
    for shard in index.shards() {
        let shard_path = dir.join(shard);
        let (file, tensors) = st_header::open(&shard_path)?;
        index.check_shard(shard, &tensors).map_err(fault)?;
        for entry in tensors.values() {
            total_bytes = total_bytes.saturating_add(entry.num_bytes());
        }
        opened.push((shard_path, file, tensors));
    }
    index.check_total(total_bytes).map_err(fault)?;
    Ok(opened)
}
