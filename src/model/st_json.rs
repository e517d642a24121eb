//! The JSON of a safetensors header, before its meaning is checked; memory stays in proportion to the text.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::st_header::MAX_RANK;
use super::weights_error::SafetensorsFault;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// Tensors in file order, duplicates included.
#[derive(Debug, Default)]
pub(super) struct RawHeader {
    /// Name and description.
    pub(super) entries: Vec<(String, Entry)>,
    bad_metadata: Option<String>,
}

/// One tensor as the file describes it.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    /// The format's name of the element type.
    pub(super) dtype: String,
    /// Sizes.
    pub(super) shape: Numbers,
    data_offsets: Numbers,
}

/// A list whose first items are kept, each an unsigned integer or not.
#[derive(Debug)]
pub(super) struct Numbers {
    kept: Vec<Option<u64>>,
    is_longer: bool,
}

/// Items kept of any list; more cannot be valid.
const MAX_KEPT: usize = MAX_RANK;

impl RawHeader {
    /// Parses the header's bytes.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, SafetensorsFault> {
        let text = std::str::from_utf8(bytes).map_err(|error| SafetensorsFault::HeaderText {
            reason: format!("byte {} is not UTF-8", error.valid_up_to()),
        })?;
        if !text.starts_with('{') {
            let reason = "it does not begin with `{`".to_owned();
            return Err(SafetensorsFault::HeaderText { reason });
        }
        let raw: Self =
            serde_json::from_str(text).map_err(|error| SafetensorsFault::HeaderText {
                reason: error.to_string(),
            })?;
        match raw.bad_metadata {
            Some(key) => Err(SafetensorsFault::Metadata { key }),
            None => Ok(raw),
        }
    }
}

impl Entry {
    /// The two data offsets.
    pub(super) fn range(&self, name: &str) -> Result<(u64, u64), SafetensorsFault> {
        match (
            self.data_offsets.kept.as_slice(),
            self.data_offsets.is_longer,
        ) {
            (&[Some(begin), Some(end)], false) => Ok((begin, end)),
            _ => Err(SafetensorsFault::Offsets {
                name: name.to_owned(),
                begin: 0,
                end: 0,
                problem: "`data_offsets` are not two unsigned integers",
            }),
        }
    }
}

impl Numbers {
    /// The items as sizes, if all of them are and there are at most `max_rank`.
    pub(super) fn sizes(&self, max_rank: usize) -> Option<Vec<usize>> {
        if self.is_longer || self.kept.len() > max_rank {
            return None;
        }
        let size = |item: &Option<u64>| item.and_then(|value| usize::try_from(value).ok());
        self.kept.iter().map(size).collect()
    }
}

impl<'de> Deserialize<'de> for RawHeader {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(HeaderVisitor)
    }
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = RawHeader;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawHeader, A::Error> {
        let mut header = RawHeader::default();
        while let Some(name) = map.next_key::<String>()? {
            if name == "__metadata__" {
                let metadata: serde_json::Value = map.next_value()?;
                header.bad_metadata = header.bad_metadata.or(bad_metadata(&metadata));
            } else {
                header.entries.push((name, map.next_value()?));
            }
        }
        Ok(header)
    }
}

/// The first key whose value is not a string, or the whole object's name if it is none.
fn bad_metadata(metadata: &serde_json::Value) -> Option<String> {
    let Some(map) = metadata.as_object() else {
        return Some("__metadata__".to_owned());
    };
    let bad = map.iter().find(|(_, value)| !value.is_string());
    bad.map(|(key, _)| key.clone())
}

impl<'de> Deserialize<'de> for Numbers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(NumbersVisitor)
    }
}

struct NumbersVisitor;

impl<'de> Visitor<'de> for NumbersVisitor {
    type Value = Numbers;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list of numbers")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Numbers, A::Error> {
        let mut kept = Vec::new();
        while kept.len() < MAX_KEPT {
            let Some(number) = items.next_element::<serde_json::Number>()? else {
                let is_longer = false;
                return Ok(Numbers { kept, is_longer });
            };
            kept.push(number.as_u64());
        }
        let mut is_longer = false;
        while items.next_element::<IgnoredAny>()?.is_some() {
            is_longer = true;
        }
        Ok(Numbers { kept, is_longer })
    }
}
