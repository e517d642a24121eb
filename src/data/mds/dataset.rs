//! Reading a dataset: opening costs one look at every shard's files, a row costs one read.

use super::cache::Cache;
use super::codec;
use super::error::{MdsError, Place};
use super::hash;
use super::index::{self, FileEntry, Index, ShardEntry};
use super::shard::{Bytes, Declared, Row, Shard};
use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// When the hashes of an index are checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Verify {
    /// Never.
    Off,
    /// The first time a shard is read.
    #[default]
    FirstUse,
    /// Every shard when the dataset is opened; a hash that this build cannot compute is an error.
    All,
}

/// How to read a dataset.
#[derive(Debug, Clone, Copy)]
pub struct ReadOptions {
    /// When hashes are checked.
    pub verify: Verify,
    /// Memory for decompressed shards; at least the shard in use is always kept.
    pub cache_bytes: u64,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self {
            verify: Verify::default(),
            cache_bytes: 1 << 30,
        }
    }
}

/// An MDS dataset, readable at any row from any thread.
#[derive(Debug)]
pub struct Dataset {
    root: PathBuf,
    index: Index,
    /// Rows before each shard, then the number of rows.
    starts: Vec<u64>,
    options: ReadOptions,
    cache: Mutex<Cache>,
    verified: Mutex<BTreeSet<usize>>,
}

impl Dataset {
    /// Opens the dataset in `root`: reads its index and compares the size of every shard file.
    ///
    /// # Errors
    /// [`MdsError::Index`] for a missing or malformed index or a missing shard, [`MdsError::UnsafeName`],
    /// [`MdsError::Size`], [`MdsError::Columns`], [`MdsError::Encoding`], and with [`Verify::All`] [`MdsError::Hash`].
    pub fn open(root: &Path, options: ReadOptions) -> Result<Self, MdsError> {
        let index = index::load(root)?;
        let mut starts = vec![0_u64];
        let mut total = 0_u64;
        for shard in &index.shards {
            total = total
                .checked_add(shard.samples)
                .ok_or_else(|| MdsError::Index {
                    path: root.to_path_buf(),
                    reason: "row counts overflow".to_owned(),
                })?;
            starts.push(total);
        }
        let dataset = Self {
            root: root.to_path_buf(),
            index,
            starts,
            options,
            cache: Mutex::new(Cache::new(options.cache_bytes)),
            verified: Mutex::new(BTreeSet::new()),
        };
        for shard in &dataset.index.shards {
            dataset.locate(shard)?;
        }
        if options.verify == Verify::All {
            dataset.verify_all()?;
        }
        Ok(dataset)
    }

    /// The dataset's folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Number of rows.
    pub fn num_rows(&self) -> u64 {
        self.starts.last().copied().unwrap_or(0)
    }

    /// Shards in row order.
    pub fn shards(&self) -> &[ShardEntry] {
        &self.index.shards
    }

    /// blake3 of `index.json`, hex.
    pub fn index_blake3(&self) -> &str {
        &self.index.blake3
    }

    /// Hash names in the index that this build cannot check.
    pub fn unknown_hashes(&self) -> BTreeSet<&str> {
        self.index
            .shards
            .iter()
            .flat_map(|shard| [Some(&shard.raw), shard.zip.as_ref()])
            .flatten()
            .flat_map(|file| file.hashes.keys())
            .map(String::as_str)
            .filter(|name| !hash::is_known(name))
            .collect()
    }

    /// Reads row `row`, counted from 0 over all shards.
    ///
    /// # Errors
    /// Whatever is wrong with the shard or the row: [`MdsError::Count`], [`MdsError::Offsets`], [`MdsError::Columns`],
    /// [`MdsError::Codec`], [`MdsError::Bomb`], [`MdsError::Hash`], [`MdsError::Io`].
    pub fn row(&self, row: u64) -> Result<Row, MdsError> {
        let after = self.starts.partition_point(|&start| start <= row);
        let found = after
            .checked_sub(1)
            .and_then(|index| Some((index, *self.starts.get(index)?)))
            .filter(|_| row < self.num_rows());
        let Some((index, first_row)) = found else {
            return Err(MdsError::Index {
                path: self.root.clone(),
                reason: format!("no row {row}: the dataset has {} rows", self.num_rows()),
            });
        };
        self.shard(index)?.row(row.saturating_sub(first_row))
    }

    fn shard(&self, index: usize) -> Result<Arc<Shard>, MdsError> {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shard) = cache.find(index) {
            return Ok(shard);
        }
        if let Some(entry) = self.index.shards.get(index) {
            cache.make_room(entry.raw.bytes);
        }
        let shard = Arc::new(self.open_shard(index)?);
        cache.insert(index, Arc::clone(&shard));
        Ok(shard)
    }

    fn open_shard(&self, index: usize) -> Result<Shard, MdsError> {
        let (Some(entry), Some(&first_row)) =
            (self.index.shards.get(index), self.starts.get(index))
        else {
            return Err(MdsError::Index {
                path: self.root.clone(),
                reason: format!("no shard {index}"),
            });
        };
        let (path, is_packed) = self.locate(entry)?;
        let mut verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        let check = self.options.verify != Verify::Off && !verified.contains(&index);
        let bytes = if is_packed {
            Bytes::Memory(unpack(&path, entry, check)?)
        } else {
            let file = open(&path)?;
            if check {
                hash::verify(&path, &file, &entry.raw.hashes)?;
            }
            Bytes::File(file)
        };
        let declared = Declared {
            path,
            raw_bytes: entry.raw.bytes,
            samples: entry.samples,
            first_row,
            columns: Arc::clone(&entry.columns),
        };
        let shard = Shard::open(declared, bytes)?;
        verified.insert(index);
        Ok(shard)
    }

    /// The file to read a shard from, and whether it is the compressed one. The uncompressed file wins where both exist.
    fn locate(&self, entry: &ShardEntry) -> Result<(PathBuf, bool), MdsError> {
        if let Some(path) = self.stat(&entry.raw)? {
            return Ok((path, false));
        }
        if let Some(zip) = &entry.zip
            && let Some(path) = self.stat(zip)?
        {
            return Ok((path, true));
        }
        let missing = match &entry.zip {
            Some(zip) => format!("neither `{}` nor `{}`", entry.raw.basename, zip.basename),
            None => format!("no `{}`", entry.raw.basename),
        };
        Err(MdsError::Index {
            path: self.root.clone(),
            reason: format!("{missing}: a shard named in index.json is missing"),
        })
    }

    fn stat(&self, file: &FileEntry) -> Result<Option<PathBuf>, MdsError> {
        let path = self.root.join(&file.basename);
        let meta = match std::fs::metadata(&path) {
            Ok(meta) => meta,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => {
                return Err(MdsError::Io {
                    action: "look at",
                    path,
                    source,
                });
            }
        };
        if !self.holds(&path) {
            return Err(MdsError::UnsafeName {
                path: self.root.clone(),
                name: file.basename.clone(),
            });
        }
        if !meta.is_file() || meta.len() != file.bytes {
            return Err(MdsError::Size {
                path,
                declared: file.bytes,
                found: meta.len(),
            });
        }
        Ok(Some(path))
    }

    /// Whether `path`, links resolved, is inside the dataset's folder.
    fn holds(&self, path: &Path) -> bool {
        match (self.root.canonicalize(), path.canonicalize()) {
            (Ok(root), Ok(path)) => path.starts_with(root),
            _ => false,
        }
    }

    fn verify_all(&self) -> Result<(), MdsError> {
        if let Some(name) = self.unknown_hashes().first() {
            return Err(MdsError::Hash {
                path: self.root.clone(),
                algorithm: (*name).to_owned(),
                expected: "a hash this program can compute".to_owned(),
                found: "an unknown algorithm".to_owned(),
            });
        }
        for index in 0..self.index.shards.len() {
            self.open_shard(index)?;
        }
        Ok(())
    }

    /// Reads every column of every row, for callers that want to know whether the whole dataset is sound.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check_rows(&self) -> Result<(), MdsError> {
        (0..self.num_rows()).try_for_each(|row| self.row(row)?.values().map(drop))
    }

    /// Whether every shard has a column called `name`.
    ///
    /// # Errors
    /// [`MdsError::Columns`] naming the first shard without it.
    pub fn require_column(&self, name: &str) -> Result<(), MdsError> {
        for shard in &self.index.shards {
            if !shard.columns.iter().any(|column| column.name == name) {
                return Err(MdsError::Columns {
                    place: Place {
                        path: self.root.join(&shard.raw.basename),
                        row: None,
                    },
                    column: name.to_owned(),
                    reason: "missing".to_owned(),
                });
            }
        }
        Ok(())
    }
}

fn open(path: &Path) -> Result<File, MdsError> {
    File::open(path).map_err(|source| MdsError::Io {
        action: "open",
        path: path.to_path_buf(),
        source,
    })
}

fn unpack(path: &Path, entry: &ShardEntry, check: bool) -> Result<Vec<u8>, MdsError> {
    let packed = std::fs::read(path).map_err(|source| MdsError::Io {
        action: "read",
        path: path.to_path_buf(),
        source,
    })?;
    if check && let Some(zip) = &entry.zip {
        hash::verify(path, packed.as_slice(), &zip.hashes)?;
    }
    let Some(codec) = &entry.codec else {
        return Err(MdsError::Codec {
            path: path.to_path_buf(),
            reason: "index.json names no compression".to_owned(),
        });
    };
    let raw = codec::decompress(codec, path, &packed, entry.raw.bytes)?;
    if check {
        hash::verify(path, raw.as_slice(), &entry.raw.hashes)?;
    }
    Ok(raw)
}
