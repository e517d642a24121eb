//! Reads settings out of the tree through serde, with errors that are data: which key, what is known there.

use crate::config::error::{Bad, Problem};
use crate::config::tree::{Entry, Node, Value};
use serde::de::{DeserializeSeed, IntoDeserializer, Unexpected, Visitor};
use std::fmt::Display;

/// Deserialises `node`, the root of a file.
pub(super) fn read<T: serde::de::DeserializeOwned>(node: &Node) -> Result<T, Bad> {
    T::deserialize(Reader(node)).map_err(|failure| {
        let key = failure
            .path
            .iter()
            .rev()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join(".");
        Bad {
            key,
            problem: failure.problem,
        }
    })
}

/// A problem on its way up; the path is collected from the inside out.
#[derive(Debug)]
struct Failure {
    path: Vec<String>,
    problem: Problem,
}

impl Failure {
    fn here(problem: Problem) -> Self {
        let path = Vec::new();
        Self { path, problem }
    }

    fn at(problem: Problem, key: &str) -> Self {
        let path = vec![key.to_owned()];
        Self { path, problem }
    }

    fn under(mut self, part: &str) -> Self {
        self.path.push(part.to_owned());
        self
    }
}

impl Display for Failure {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.problem.fmt(formatter)
    }
}

impl std::error::Error for Failure {}

impl serde::de::Error for Failure {
    fn custom<T: Display>(reason: T) -> Self {
        let reason = reason.to_string();
        Self::here(Problem::Value { reason })
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn serde::de::Expected) -> Self {
        let (found, expected) = (found.to_string(), expected.to_string());
        Self::here(Problem::Type { found, expected })
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn serde::de::Expected) -> Self {
        let value = match found {
            Unexpected::Signed(value) => value.to_string(),
            Unexpected::Unsigned(value) => value.to_string(),
            other => other.to_string(),
        };
        let expected = match expected.to_string().as_str() {
            "u64" | "usize" => "a whole number of 0 or above".to_owned(),
            other => other.to_owned(),
        };
        Self::here(Problem::Range { value, expected })
    }

    fn unknown_field(field: &str, known: &'static [&'static str]) -> Self {
        let known = known.to_vec();
        Self::at(Problem::UnknownKey { known }, field)
    }

    fn unknown_variant(value: &str, known: &'static [&'static str]) -> Self {
        let (value, known) = (value.to_owned(), known.to_vec());
        Self::here(Problem::UnknownValue { value, known })
    }

    fn missing_field(field: &'static str) -> Self {
        Self::at(Problem::Missing, field)
    }
}

#[derive(Clone, Copy)]
struct Reader<'a>(&'a Node);

impl<'de> serde::Deserializer<'de> for Reader<'_> {
    type Error = Failure;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match &self.0.value {
            Value::String(text) => visitor.visit_str(text),
            Value::Integer(value) => visitor.visit_i64(*value),
            Value::Float(value) if !value.is_finite() => {
                let value = *value;
                Err(Failure::here(Problem::NotFinite { value }))
            }
            Value::Float(value) => visitor.visit_f64(*value),
            Value::Boolean(value) => visitor.visit_bool(*value),
            Value::Datetime(_) => {
                let found = self.0.value.describe();
                let expected = "another type: no setting is a date".to_owned();
                Err(Failure::here(Problem::Type { found, expected }))
            }
            Value::Array(items) => visitor.visit_seq(Items { items, at: 0 }),
            Value::Table(table) => visitor.visit_map(Entries {
                rest: table.iter(),
                value: None,
            }),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        match &self.0.value {
            Value::String(text) => visitor.visit_enum(text.as_str().into_deserializer()),
            other => {
                let (found, expected) = (
                    other.describe(),
                    format!("one of \"{}\"", known.join("\", \"")),
                );
                Err(Failure::here(Problem::Type { found, expected }))
            }
        }
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

struct Items<'a> {
    items: &'a [Node],
    at: usize,
}

impl<'de> serde::de::SeqAccess<'de> for Items<'_> {
    type Error = Failure;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Failure> {
        let Some(item) = self.items.get(self.at) else {
            return Ok(None);
        };
        let index = self.at;
        self.at += 1;
        seed.deserialize(Reader(item))
            .map(Some)
            .map_err(|failure| failure.under(&index.to_string()))
    }
}

struct Entries<'a> {
    rest: std::collections::btree_map::Iter<'a, String, Entry>,
    value: Option<(&'a str, &'a Node)>,
}

impl<'de> serde::de::MapAccess<'de> for Entries<'_> {
    type Error = Failure;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Failure> {
        let Some((key, entry)) = self.rest.next() else {
            return Ok(None);
        };
        self.value = Some((key, &entry.node));
        seed.deserialize(key.as_str().into_deserializer()).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Failure> {
        let Some((key, node)) = self.value.take() else {
            return Err(serde::de::Error::custom("has no value"));
        };
        seed.deserialize(Reader(node))
            .map_err(|failure| failure.under(key))
    }
}
