//! Writing a dataset: equal rows and settings make equal bytes, and the index comes last.

use super::codec::Codec;
use super::column::{Column, Encoding};
use super::encode::encode;
use super::error::{MdsError, Place};
use super::hash;
use super::index;
use super::json_text;
use super::publish::publish;
use super::value::Value;
use serde_json::{Map, Value as Json, json};
use std::path::{Path, PathBuf};

/// How a dataset is written.
#[derive(Debug, Clone)]
pub struct WriteOptions {
    /// Bytes after which a new shard begins; `None` for one shard of up to 4 GiB.
    pub size_limit: Option<u64>,
    /// Hash names, as Python spells them.
    pub hashes: Vec<String>,
    /// zstd level, or no compression.
    pub zstd_level: Option<i32>,
}

impl Default for WriteOptions {
    fn default() -> Self {
        Self {
            size_limit: Some(64 << 20),
            hashes: vec!["xxh3_64".to_owned()],
            zstd_level: None,
        }
    }
}

/// A dataset being written. Until [`Writer::finish`] the folder has no index, so no reader takes it for complete.
#[derive(Debug)]
pub struct Writer {
    dir: PathBuf,
    columns: Vec<Column>,
    options: WriteOptions,
    config: String,
    rows: Vec<Vec<u8>>,
    running_bytes: u64,
    shards: Vec<Json>,
    num_rows: u64,
}

impl Writer {
    /// Starts a dataset in `dir`, which must be missing or empty; columns are stored sorted by name.
    ///
    /// # Errors
    /// [`MdsError::Exists`], [`MdsError::Index`] for a hash this build cannot compute or a limit above 4 GiB,
    /// [`MdsError::Io`].
    pub fn create(
        dir: &Path,
        columns: &[(&str, Encoding)],
        options: WriteOptions,
    ) -> Result<Self, MdsError> {
        let fault = |reason| MdsError::Index {
            path: dir.to_path_buf(),
            reason,
        };
        if let Some(name) = options.hashes.iter().find(|name| !hash::is_known(name)) {
            return Err(fault(format!("unknown hash `{name}`")));
        }
        if options
            .size_limit
            .is_some_and(|limit| limit > u64::from(u32::MAX))
        {
            return Err(fault("size_limit must be below 4 GiB".to_owned()));
        }
        claim(dir)?;
        let mut columns: Vec<Column> = columns
            .iter()
            .map(|(name, encoding)| Column {
                name: (*name).to_owned(),
                encoding: encoding.clone(),
            })
            .collect();
        columns.sort_by(|a, b| a.name.cmp(&b.name));
        let mut options = options;
        options.hashes.sort();
        options.hashes.dedup();
        let config =
            json_text::to_string(&Json::Object(describe(&columns, &options))).map_err(fault)?;
        let mut writer = Self {
            dir: dir.to_path_buf(),
            columns,
            options,
            config,
            rows: Vec::new(),
            running_bytes: 0,
            shards: Vec::new(),
            num_rows: 0,
        };
        writer.running_bytes = writer.empty_bytes();
        Ok(writer)
    }

    /// The folder being written.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Appends one row: name and value of every column, in any order.
    ///
    /// # Errors
    /// [`MdsError::Columns`] for a missing or surplus column, [`MdsError::Encoding`] for a value that does not fit,
    /// [`MdsError::TooLarge`], [`MdsError::Io`].
    pub fn write(&mut self, values: &[(&str, &Value)]) -> Result<(), MdsError> {
        let row = self.encode_row(values)?;
        let cost = size(row.len()).saturating_add(4);
        let limit = self.options.size_limit.unwrap_or(u64::MAX);
        if !self.rows.is_empty() && self.running_bytes.saturating_add(cost) > limit {
            self.flush()?;
        }
        self.running_bytes = self.running_bytes.saturating_add(cost);
        if self.running_bytes > u64::from(u32::MAX) {
            return Err(MdsError::TooLarge {
                path: self.dir.join(self.shard_name()),
                bytes: self.running_bytes,
            });
        }
        self.rows.push(row);
        self.num_rows = self.num_rows.saturating_add(1);
        Ok(())
    }

    /// Writes the last shard and the index; returns the number of rows.
    ///
    /// # Errors
    /// [`MdsError::Io`]; [`MdsError::TooSmall`] if no row was written, since readers refuse an empty index.
    pub fn finish(mut self) -> Result<u64, MdsError> {
        if !self.rows.is_empty() {
            self.flush()?;
        }
        if self.num_rows == 0 {
            return Err(MdsError::TooSmall { rows: 0, needed: 1 });
        }
        let shards = std::mem::take(&mut self.shards);
        let index = json!({ "shards": shards, "version": 2 });
        let text = json_text::to_string(&index).map_err(|reason| MdsError::Index {
            path: self.dir.clone(),
            reason,
        })?;
        publish(&self.dir, index::FILE_NAME, text.as_bytes())?;
        Ok(self.num_rows)
    }

    fn encode_row(&self, values: &[(&str, &Value)]) -> Result<Vec<u8>, MdsError> {
        let place = || Place {
            path: self.dir.join(self.shard_name()),
            row: Some(self.num_rows),
        };
        let surplus = values
            .iter()
            .find(|(name, _)| !self.columns.iter().any(|column| column.name == *name));
        if let Some((name, _)) = surplus {
            return Err(MdsError::Columns {
                place: place(),
                column: (*name).to_owned(),
                reason: "not a column of this dataset".to_owned(),
            });
        }
        let mut sizes = Vec::new();
        let mut payload = Vec::new();
        for column in &self.columns {
            let value = values.iter().find(|(name, _)| *name == column.name);
            let Some((_, value)) = value else {
                return Err(MdsError::Columns {
                    place: place(),
                    column: column.name.clone(),
                    reason: "missing".to_owned(),
                });
            };
            let before = payload.len();
            encode(&column.encoding, value, &mut payload).map_err(|reason| MdsError::Encoding {
                place: place(),
                column: column.name.clone(),
                reason,
            })?;
            if column.encoding.fixed_bytes().is_none() {
                let bytes = payload.len().saturating_sub(before);
                sizes.extend(self.word(size(bytes))?.to_le_bytes());
            }
        }
        sizes.append(&mut payload);
        Ok(sizes)
    }

    fn flush(&mut self) -> Result<(), MdsError> {
        let raw_name = self.shard_name();
        let raw = self.assemble()?;
        let raw_data = self.file_entry(&raw_name, &raw);
        let mut shard = describe(&self.columns, &self.options);
        let samples = self.rows.len();
        let zip_data = if let Some(level) = self.options.zstd_level {
            let zip_name = format!("{raw_name}.zstd");
            let zip = zstd::bulk::compress(&raw, level).map_err(|source| MdsError::Io {
                action: "compress",
                path: self.dir.join(&zip_name),
                source,
            })?;
            publish(&self.dir, &zip_name, &zip)?;
            self.file_entry(&zip_name, &zip)
        } else {
            publish(&self.dir, &raw_name, &raw)?;
            Json::Null
        };
        shard.insert("raw_data".to_owned(), raw_data);
        shard.insert("samples".to_owned(), json!(samples));
        shard.insert("zip_data".to_owned(), zip_data);
        shard.sort_keys();
        self.shards.push(Json::Object(shard));
        self.rows.clear();
        self.running_bytes = self.empty_bytes();
        Ok(())
    }

    fn assemble(&self) -> Result<Vec<u8>, MdsError> {
        let num_rows = self.word(size(self.rows.len()))?;
        let mut shard = num_rows.to_le_bytes().to_vec();
        let mut offset = u64::from(num_rows)
            .saturating_mul(4)
            .saturating_add(self.empty_bytes());
        shard.extend(self.word(offset)?.to_le_bytes());
        for row in &self.rows {
            offset = offset.saturating_add(size(row.len()));
            shard.extend(self.word(offset)?.to_le_bytes());
        }
        shard.extend_from_slice(self.config.as_bytes());
        self.rows
            .iter()
            .for_each(|row| shard.extend_from_slice(row));
        Ok(shard)
    }

    fn file_entry(&self, name: &str, bytes: &[u8]) -> Json {
        let hashes: Map<String, Json> = self
            .options
            .hashes
            .iter()
            .filter_map(|name| Some((name.clone(), json!(hash::digest(name, bytes)?))))
            .collect();
        json!({ "basename": name, "bytes": bytes.len(), "hashes": hashes })
    }

    fn shard_name(&self) -> String {
        format!("shard.{:05}.mds", self.shards.len())
    }

    /// Bytes of a shard without rows: count, one offset, header.
    fn empty_bytes(&self) -> u64 {
        size(self.config.len()).saturating_add(8)
    }

    fn word(&self, value: u64) -> Result<u32, MdsError> {
        u32::try_from(value).map_err(|_| MdsError::TooLarge {
            path: self.dir.join(self.shard_name()),
            bytes: value,
        })
    }
}

fn size(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

/// Creates `dir`, or makes sure that it is an empty folder.
fn claim(dir: &Path) -> Result<(), MdsError> {
    let io = |source| MdsError::Io {
        action: "create",
        path: dir.to_path_buf(),
        source,
    };
    std::fs::create_dir_all(dir).map_err(io)?;
    if std::fs::read_dir(dir).map_err(io)?.next().is_some() {
        return Err(MdsError::Exists {
            path: dir.to_path_buf(),
        });
    }
    Ok(())
}

/// The part of a shard's index entry that its header repeats, keys sorted.
fn describe(columns: &[Column], options: &WriteOptions) -> Map<String, Json> {
    let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    let encodings: Vec<String> = columns
        .iter()
        .map(|column| column.encoding.name())
        .collect();
    let sizes: Vec<Option<u64>> = columns
        .iter()
        .map(|column| column.encoding.fixed_bytes())
        .collect();
    let compression = options.zstd_level.map(spell_zstd);
    [
        ("column_encodings", json!(encodings)),
        ("column_names", json!(names)),
        ("column_sizes", json!(sizes)),
        ("compression", json!(compression)),
        ("format", json!("mds")),
        ("hashes", json!(options.hashes)),
        ("size_limit", json!(options.size_limit)),
        ("version", json!(2)),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value))
    .collect()
}

/// Python's spelling: the level only where it is not the default.
fn spell_zstd(level: i32) -> String {
    if Codec::parse("zstd") == Codec::Zstd(level) {
        "zstd".to_owned()
    } else {
        format!("zstd:{level}")
    }
}
