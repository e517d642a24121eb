//! TOML text to tree.

use crate::config::tree::{Entry, Node, Origin, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Why text is no TOML: byte offset and reason.
#[derive(Debug)]
pub(super) struct Malformed {
    pub(super) offset: usize,
    pub(super) reason: String,
}

/// Parses a whole file.
pub(super) fn parse(text: &str) -> Result<Node, Malformed> {
    let table = DeTable::parse(text).map_err(|error| Malformed {
        offset: error.span().map_or(0, |span| span.start),
        reason: error.message().to_owned(),
    })?;
    let value = convert_table(table.get_ref(), &|offset| Origin::File(offset))?;
    let origin = Origin::File(0);
    Ok(Node { origin, value })
}

/// What a file's bytes say, if they are TOML: its values in an order of their own, so that neither comments, spaces nor the order
/// of keys count.
pub fn values_alone(bytes: &[u8]) -> Option<String> {
    let table: toml::Table = toml::from_slice(bytes).ok()?;
    Some(table.to_string())
}

/// Parses the right side of an override: TOML if it is any, else text.
pub(super) fn parse_override(text: &str, index: usize) -> Node {
    let origin = Origin::Override(index);
    let parsed = DeValue::parse(text).ok();
    let value = parsed.and_then(|value| convert(&value, &|_| origin).ok());
    value.unwrap_or_else(|| {
        let value = Value::String(text.to_owned());
        Node { origin, value }
    })
}

fn convert(value: &Spanned<DeValue>, place: &dyn Fn(usize) -> Origin) -> Result<Node, Malformed> {
    let offset = value.span().start;
    let too_large = |kind: &str| Malformed {
        offset,
        reason: format!("{kind} out of range"),
    };
    let converted = match value.get_ref() {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Integer(digits) => i64::from_str_radix(digits.as_str(), digits.radix())
            .map(Value::Integer)
            .map_err(|_| too_large("integer"))?,
        DeValue::Float(digits) => digits
            .as_str()
            .parse()
            .map(Value::Float)
            .map_err(|_| too_large("number"))?,
        DeValue::Boolean(value) => Value::Boolean(*value),
        DeValue::Datetime(date) => Value::Datetime(date.to_string()),
        DeValue::Array(items) => {
            let items = items.iter().map(|item| convert(item, place));
            Value::Array(items.collect::<Result<_, _>>()?)
        }
        DeValue::Table(table) => convert_table(table, place)?,
    };
    let origin = place(offset);
    Ok(Node {
        origin,
        value: converted,
    })
}

fn convert_table(table: &DeTable, place: &dyn Fn(usize) -> Origin) -> Result<Value, Malformed> {
    let mut entries = std::collections::BTreeMap::new();
    for (key, value) in table {
        let node = convert(value, place)?;
        let key_origin = place(key.span().start);
        entries.insert(key.get_ref().to_string(), Entry { key_origin, node });
    }
    Ok(Value::Table(entries))
}
