//! Typed access to a JSON object, with errors that name the key and what stands there.
//!
//! `null` counts as absent everywhere, as Hugging Face writes it for "not set".

use super::error::ConfigFault;
use serde_json::{Map, Value};

/// One JSON object and the path that leads to it, e.g. `rope_scaling.`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a> {
    map: &'a Map<String, Value>,
    prefix: &'static str,
}

impl<'a> Fields<'a> {
    /// The whole document; it must be an object.
    pub(super) fn root(value: &'a Value) -> Result<Self, ConfigFault> {
        let map = value
            .as_object()
            .ok_or_else(|| wrong_type("(document)".to_owned(), "an object", value))?;
        Ok(Self { map, prefix: "" })
    }

    /// The object under `key`; `prefix` is `key` with a dot.
    pub(super) fn object(
        &self,
        key: &str,
        prefix: &'static str,
    ) -> Result<Option<Fields<'a>>, ConfigFault> {
        self.typed(key, "an object", Value::as_object)
            .map(|found| found.map(|map| Fields { map, prefix }))
    }

    /// Keys that hold something, in file order.
    pub(super) fn keys(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let present = self.map.iter().filter(|(_, value)| !value.is_null());
        present.map(|(key, _)| key.as_str())
    }

    /// The value under `key`, unless it is absent or null.
    pub(super) fn get(&self, key: &str) -> Option<&'a Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    /// `key` with the path that leads to it.
    pub(super) fn path(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    /// A count or size; `32.0` and `"32"` are type errors.
    pub(super) fn count(&self, key: &str) -> Result<Option<usize>, ConfigFault> {
        self.typed(key, "an integer, 0 or more", |value| {
            value.as_u64().and_then(|count| usize::try_from(count).ok())
        })
    }

    /// A length in tokens.
    pub(super) fn length(&self, key: &str) -> Result<Option<u32>, ConfigFault> {
        self.typed(key, "an integer, 0 or more, below 2^32", |value| {
            value.as_u64().and_then(|len| u32::try_from(len).ok())
        })
    }

    /// A number; integers count as numbers.
    pub(super) fn number(&self, key: &str) -> Result<Option<f64>, ConfigFault> {
        self.typed(key, "a number", Value::as_f64)
    }

    /// A truth value.
    pub(super) fn flag(&self, key: &str) -> Result<Option<bool>, ConfigFault> {
        self.typed(key, "`true` or `false`", Value::as_bool)
    }

    /// A string.
    pub(super) fn text(&self, key: &str) -> Result<Option<&'a str>, ConfigFault> {
        self.typed(key, "a string", Value::as_str)
    }

    /// One token id or a list of them.
    pub(super) fn token_ids(&self, key: &str) -> Result<Vec<i64>, ConfigFault> {
        let ids = |value: &Value| match value {
            Value::Array(items) => items.iter().map(Value::as_i64).collect(),
            single => single.as_i64().map(|id| vec![id]),
        };
        let found = self.typed(key, "a token id or a list of token ids", ids)?;
        Ok(found.unwrap_or_default())
    }

    /// Turns an absent value into an error.
    pub(super) fn required<T>(&self, key: &str, found: Option<T>) -> Result<T, ConfigFault> {
        found.ok_or_else(|| ConfigFault::MissingKey {
            key: self.path(key),
        })
    }

    fn typed<T>(
        &self,
        key: &str,
        expected: &'static str,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, ConfigFault> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        match read(value) {
            Some(found) => Ok(Some(found)),
            None => Err(wrong_type(self.path(key), expected, value)),
        }
    }
}

/// At most this much of a foreign value is quoted.
const MAX_QUOTED_CHARS: usize = 60;

/// Renders a foreign value for a message.
pub(super) fn quoted(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= MAX_QUOTED_CHARS {
        return text;
    }
    let head: String = text.chars().take(MAX_QUOTED_CHARS).collect();
    format!("{head}...")
}

fn wrong_type(key: String, expected: &'static str, value: &Value) -> ConfigFault {
    ConfigFault::Type {
        key,
        expected,
        found: quoted(value),
    }
}

/// Parses a document, telling Python's `NaN` and `Infinity` apart from other syntax errors.
pub(super) fn parse(text: &str) -> Result<Value, ConfigFault> {
    serde_json::from_str(text).map_err(|error| match non_finite_literal(text) {
        Some((line, literal)) => ConfigFault::NotFinite { line, literal },
        None => ConfigFault::NotJson { source: error },
    })
}

/// Line and spelling of the first non-finite literal outside strings.
fn non_finite_literal(text: &str) -> Option<(usize, &'static str)> {
    let mut in_string = false;
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'N' | b'I' if !in_string => {
                let rest = text.get(at..).unwrap_or_default();
                let literal = ["NaN", "Infinity"]
                    .into_iter()
                    .find(|literal| rest.starts_with(literal));
                if let Some(literal) = literal {
                    let before = text.get(..at).unwrap_or_default();
                    return Some((before.matches('\n').count() + 1, literal));
                }
            }
            _ => {}
        }
    }
    None
}
