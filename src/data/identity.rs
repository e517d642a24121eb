//! What decides a run's order of rows, so that a changed dataset is noticed before training continues.

use super::mds::dataset::Dataset;
use super::mds::error::MdsError;
use crate::config::data::{StreamSpec, StreamWeight};

/// Everything besides the seed that decides the order. No paths: data may move.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataIdentity {
    /// Version of the order's definition.
    pub format: u32,
    /// `shuffled` or `sequential`.
    pub order: String,
    /// Rows of one epoch.
    pub epoch_rows: u64,
    /// Rows per shuffled block, 0 for whole streams.
    pub block_rows: u64,
    /// The streams, in order.
    pub streams: Vec<StreamIdentity>,
}

/// One stream of a [`DataIdentity`].
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamIdentity {
    /// Folder name, for messages only: not part of the fingerprint.
    pub name: String,
    /// `proportion` or `repeat`.
    pub kind: String,
    /// The weight.
    pub weight: f64,
    /// Rows on disk.
    pub rows: u64,
    /// blake3 of its index.json.
    pub index: String,
}

impl StreamIdentity {
    /// Describes an opened stream.
    pub fn new(stream: &StreamSpec, dataset: &Dataset) -> Self {
        let (kind, weight) = match stream.weight {
            StreamWeight::Proportion(weight) => ("proportion", weight),
            StreamWeight::Repeat(weight) => ("repeat", weight),
        };
        let name = stream.path.file_name().unwrap_or(stream.path.as_os_str());
        Self {
            name: name.to_string_lossy().into_owned(),
            kind: kind.to_owned(),
            weight,
            rows: dataset.num_rows(),
            index: dataset.index_blake3().to_owned(),
        }
    }
}

impl DataIdentity {
    /// blake3 of the canonical JSON form without names, hex.
    pub fn fingerprint(&self) -> String {
        let mut nameless = self.clone();
        nameless
            .streams
            .iter_mut()
            .for_each(|stream| stream.name.clear());
        // A struct of numbers and strings always has a JSON form.
        let text = serde_json::to_string(&nameless).unwrap_or_default();
        blake3::hash(text.as_bytes()).to_hex().to_string()
    }

    /// Compares with the identity that a checkpoint holds.
    ///
    /// # Errors
    /// [`MdsError::Fingerprint`] with what changed, oldest value first.
    pub fn check(&self, saved: &Self) -> Result<(), MdsError> {
        if self.fingerprint() == saved.fingerprint() {
            return Ok(());
        }
        Err(MdsError::Fingerprint {
            changes: self.changes_since(saved),
        })
    }

    fn changes_since(&self, saved: &Self) -> Vec<String> {
        let mut changes = Vec::new();
        let mut compare = |what: &str, old: &dyn std::fmt::Display, new: &dyn std::fmt::Display| {
            let (old, new) = (old.to_string(), new.to_string());
            if old != new {
                changes.push(format!("{what} {old} -> {new}"));
            }
        };
        compare("format", &saved.format, &self.format);
        compare("order", &saved.order, &self.order);
        compare("epoch rows", &saved.epoch_rows, &self.epoch_rows);
        compare("block rows", &saved.block_rows, &self.block_rows);
        compare("streams", &saved.streams.len(), &self.streams.len());
        for (old, new) in saved.streams.iter().zip(&self.streams) {
            let name = &new.name;
            compare(&format!("`{name}` rows"), &old.rows, &new.rows);
            compare(&format!("`{name}` weight kind"), &old.kind, &new.kind);
            compare(&format!("`{name}` weight"), &old.weight, &new.weight);
            if old.rows == new.rows {
                compare(
                    &format!("`{name}` index.json"),
                    &short(&old.index),
                    &short(&new.index),
                );
            }
        }
        changes
    }
}

fn short(hash: &str) -> &str {
    hash.get(..12).unwrap_or(hash)
}
