//! `model.safetensors.index.json`: which shard holds which tensor.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::st_header::TensorEntry;
use super::weights_error::IndexFault;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

/// File name inside a model folder.
pub(super) const FILE_NAME: &str = "model.safetensors.index.json";
/// Real indexes have some 100 bytes per tensor.
pub(super) const MAX_FILE_BYTES: u64 = 16 << 20;

/// A checked index: plain file names, complete numbering.
#[derive(Debug)]
pub(super) struct ShardIndex {
    shard_of: BTreeMap<String, String>,
    total_bytes: Option<u64>,
}

#[derive(serde::Deserialize)]
struct Raw {
    #[serde(default)]
    metadata: RawMetadata,
    weight_map: Pairs,
}

#[derive(serde::Deserialize, Default)]
struct RawMetadata {
    #[serde(default)]
    total_size: Option<serde_json::Number>,
}

/// Tensor and shard in file order, duplicates included.
struct Pairs(Vec<(String, String)>);

impl ShardIndex {
    /// Parses the index and checks its file names.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, IndexFault> {
        let raw: Raw = serde_json::from_slice(bytes).map_err(|error| IndexFault::NotJson {
            reason: error.to_string(),
        })?;
        let mut shard_of = BTreeMap::new();
        for (name, shard) in raw.weight_map.0 {
            if !is_plain_name(&shard) {
                return Err(IndexFault::UnsafeName { shard });
            }
            if shard_of.insert(name.clone(), shard).is_some() {
                return Err(IndexFault::DuplicateTensor { name });
            }
        }
        let index = Self {
            shard_of,
            total_bytes: raw.metadata.total_size.and_then(|total| total.as_u64()),
        };
        index.check_numbering()?;
        Ok(index)
    }

    /// Shard files, sorted.
    pub(super) fn shards(&self) -> BTreeSet<&str> {
        self.shard_of.values().map(String::as_str).collect()
    }

    /// Names of the form `..-00001-of-00004..` must all be listed.
    fn check_numbering(&self) -> Result<(), IndexFault> {
        let numbered: Vec<(u64, u64)> = self.shards().into_iter().filter_map(numbering).collect();
        let Some(total) = numbered.iter().map(|(_, total)| *total).max() else {
            return Ok(());
        };
        let listed: BTreeSet<u64> = numbered.iter().map(|(number, _)| *number).collect();
        let first_gap = (1..=total).find(|number| !listed.contains(number));
        match first_gap {
            Some(number) => Err(IndexFault::Gap { number, total }),
            None => Ok(()),
        }
    }

    /// Every shard must exist in `dir`, under exactly the listed name.
    pub(super) fn check_files(&self, dir: &Path) -> Result<(), IndexFault> {
        for shard in self.shards() {
            if dir.join(shard).exists() {
                continue;
            }
            let shard = shard.to_owned();
            let same_letters = |name: &String| name.eq_ignore_ascii_case(&shard);
            return Err(match file_names(dir).find(same_letters) {
                Some(found) => IndexFault::Case { shard, found },
                None => IndexFault::MissingShard { shard },
            });
        }
        Ok(())
    }

    /// Compares the index with what one shard holds.
    pub(super) fn check_shard(
        &self,
        shard: &str,
        tensors: &BTreeMap<String, TensorEntry>,
    ) -> Result<(), IndexFault> {
        let listed = |name: &String| self.shard_of.get(name).map(String::as_str);
        for name in tensors.keys() {
            let (name, shard) = match listed(name) {
                Some(elsewhere) if elsewhere == shard => continue,
                Some(_) => {
                    let name = name.clone();
                    return Err(IndexFault::DuplicateTensor { name });
                }
                None => (name.clone(), shard.to_owned()),
            };
            return Err(IndexFault::Unlisted { name, shard });
        }
        let here = self.shard_of.iter().filter(|(_, file)| *file == shard);
        for (name, _) in here {
            if !tensors.contains_key(name) {
                return Err(IndexFault::NotInShard {
                    name: name.clone(),
                    shard: shard.to_owned(),
                });
            }
        }
        Ok(())
    }

    /// Compares the stated total with the bytes of all tensors.
    pub(super) fn check_total(&self, found: u64) -> Result<(), IndexFault> {
        match self.total_bytes {
            Some(stated) if stated != found => Err(IndexFault::Size { stated, found }),
            _ => Ok(()),
        }
    }
}

fn file_names(dir: &Path) -> impl Iterator<Item = String> + use<> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok())
}

/// A name that stays in its folder whatever the file system.
fn is_plain_name(name: &str) -> bool {
    let separators = ['/', '\\', '\0', ':'];
    !name.is_empty() && name != "." && name != ".." && !name.contains(separators)
}

/// `(1, 4)` of `model-00001-of-00004.safetensors`.
fn numbering(shard: &str) -> Option<(u64, u64)> {
    let stem = shard.strip_suffix(".safetensors")?;
    let (rest, total) = stem.rsplit_once("-of-")?;
    let (_, number) = rest.rsplit_once('-')?;
    Some((number.parse().ok()?, total.parse().ok()?))
}

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(PairsVisitor)
    }
}

struct PairsVisitor;

impl<'de> Visitor<'de> for PairsVisitor {
    type Value = Pairs;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object that maps tensors to shards")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = map.next_entry()? {
            pairs.push(pair);
        }
        Ok(Pairs(pairs))
    }
}
