//! `[data]`: which packed rows a run trains on.

use crate::config::check;
use crate::config::error::Bad;
use crate::config::instruct_mask::InstructMask;
use std::path::PathBuf;

/// How much of a stream an epoch holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum StreamWeight {
    /// Its share of the rows, relative to the other streams' shares.
    Proportion(f64),
    /// So many times all its rows; 1 when nothing is said.
    Repeat(f64),
}

/// One MDS folder of a mixture: `"dir"`, `"dir@0.3"`, `"dir#2"` or `{ path = "dir", proportion = 0.3 }`.
///
/// In the string form the last `@` or `#` followed by a plain positive number splits; anything else is path.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamSpec {
    /// The MDS folder.
    pub path: PathBuf,
    /// How much of it.
    pub weight: StreamWeight,
}

/// The unambiguous form of a stream.
#[derive(Debug, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct StreamTable {
    path: PathBuf,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    proportion: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    repeat: Option<f64>,
}

impl StreamSpec {
    /// Reads the string form.
    pub fn parse(text: &str) -> Self {
        let split = text.rfind(['@', '#']).and_then(|at| {
            let (path, weight) = (&text[..at], &text[at + 1..]);
            let plain = weight
                .bytes()
                .all(|byte| byte.is_ascii_digit() || byte == b'.');
            let value: f64 = weight.parse().ok().filter(|value| *value > 0.0)?;
            (plain && !path.is_empty()).then_some((path, text.as_bytes()[at], value))
        });
        match split {
            Some((path, b'@', value)) => Self::new(path, StreamWeight::Proportion(value)),
            Some((path, _, value)) => Self::new(path, StreamWeight::Repeat(value)),
            None => Self::new(text, StreamWeight::Repeat(1.0)),
        }
    }

    fn new(path: &str, weight: StreamWeight) -> Self {
        let path = PathBuf::from(path);
        Self { path, weight }
    }
}

impl serde::Serialize for StreamSpec {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (proportion, repeat) = match self.weight {
            StreamWeight::Proportion(value) => (Some(value), None),
            StreamWeight::Repeat(value) => (None, Some(value)),
        };
        let path = self.path.clone();
        let table = StreamTable {
            path,
            proportion,
            repeat,
        };
        table.serialize(serializer)
    }
}

impl<'de> serde::Deserialize<'de> for StreamSpec {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StreamVisitor)
    }
}

struct StreamVisitor;

impl<'de> serde::de::Visitor<'de> for StreamVisitor {
    type Value = StreamSpec;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a folder such as `\"dir@0.3\"`, or a table with `path`")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<StreamSpec, E> {
        Ok(StreamSpec::parse(text))
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<StreamSpec, A::Error> {
        let table: StreamTable =
            serde::Deserialize::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
        let weight = match (table.proportion, table.repeat) {
            (Some(_), Some(_)) => {
                let text = "`proportion` and `repeat` exclude each other";
                return Err(serde::de::Error::custom(text));
            }
            (Some(value), None) => StreamWeight::Proportion(value),
            (None, repeat) => StreamWeight::Repeat(repeat.unwrap_or(1.0)),
        };
        let path = table.path;
        Ok(StreamSpec { path, weight })
    }
}

impl schemars::JsonSchema for StreamSpec {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "StreamSpec".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let table = generator.subschema_for::<StreamTable>();
        schemars::json_schema!({ "anyOf": [{ "type": "string" }, table] })
    }
}

/// When the bytes of a shard are compared with the hashes in its index.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Verification {
    /// Never.
    Off,
    /// The first time a shard is read in a run.
    FirstUse,
    /// Every shard, before the first step.
    All,
}

/// Rows to train on.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DataSettings {
    /// The mixture. All streams have proportions, or none has.
    pub train: Vec<StreamSpec>,
    /// Rows of one epoch; absent = the sum of the streams' own counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch_rows: Option<u64>,
    /// Hash checks. First use: every byte that trains is checked once, and nothing waits at the start.
    #[serde(default = "first_use")]
    pub verify: Verification,
    /// Rows decoded ahead in the background. 8: two steps of four rows, more than a step consumes while one is read.
    #[serde(default = "eight")]
    pub prefetch_rows: usize,
    /// Cut rows that are longer than a step may hold, and report the tokens lost. Off: nothing is lost silently.
    #[serde(default)]
    pub clip_rows: bool,
    /// Treat a row as one document. Off: attention never crosses the documents packed in a row.
    #[serde(default)]
    pub single_document: bool,
    /// Train only on tokens whose `mask` column is not 0: `true`, or `"where-present"` for a mixture with streams that have no such
    /// column. False: natural text has none.
    #[serde(default)]
    pub instruct_mask: InstructMask,
}

fn first_use() -> Verification {
    Verification::FirstUse
}

fn eight() -> usize {
    8
}

impl DataSettings {
    pub(super) fn check(&self) -> Result<(), Bad> {
        if self.train.is_empty() {
            return Err(check::conflict(
                "data.train",
                "names no folder of packed rows",
            ));
        }
        for (at, stream) in self.train.iter().enumerate() {
            let (StreamWeight::Proportion(value) | StreamWeight::Repeat(value)) = stream.weight;
            check::positive(&format!("data.train.{at}"), value)?;
        }
        self.check_mixture()?;
        check::len("data.prefetch_rows", self.prefetch_rows)?;
        self.epoch_rows
            .map_or(Ok(()), |rows| check::count("data.epoch_rows", rows))
    }

    fn check_mixture(&self) -> Result<(), Bad> {
        let proportion = |stream: &StreamSpec| matches!(stream.weight, StreamWeight::Proportion(_));
        let num_proportions = self
            .train
            .iter()
            .filter(|stream| proportion(stream))
            .count();
        if num_proportions != 0 && num_proportions != self.train.len() {
            let reason =
                "gives some streams a proportion and others none: give all of them one, or none";
            return Err(check::conflict("data.train", reason));
        }
        let repeated =
            |stream: &StreamSpec| !proportion(stream) && stream.weight != StreamWeight::Repeat(1.0);
        if self.epoch_rows.is_some() && self.train.iter().any(repeated) {
            let reason =
                "excludes a repeat in `data.train`: each of them fixes the rows of an epoch";
            return Err(check::conflict("data.epoch_rows", reason));
        }
        Ok(())
    }
}
