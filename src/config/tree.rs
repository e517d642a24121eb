//! A parsed file as a tree whose nodes know where they were written.

use std::collections::BTreeMap;

/// Where a node was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// At this byte of the file.
    File(usize),
    /// In the override of this index.
    Override(usize),
}

/// A value and its place.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub(super) origin: Origin,
    pub(super) value: Value,
}

/// TOML's values; dates have no setting and stay text.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    String(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    Datetime(String),
    Array(Vec<Node>),
    Table(BTreeMap<String, Entry>),
}

/// A key's place and its value.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub(super) key_origin: Origin,
    pub(super) node: Node,
}

impl Value {
    /// What an error calls this value.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::String(text) => format!("the text \"{text}\""),
            Self::Integer(value) => format!("the integer {value}"),
            Self::Float(value) => format!("the number {value}"),
            Self::Boolean(value) => format!("the boolean {value}"),
            Self::Datetime(value) => format!("the date {value}"),
            Self::Array(_) => "a list".to_owned(),
            Self::Table(_) => "a table".to_owned(),
        }
    }
}

impl Node {
    /// Where the setting `key` (dotted, list items by index) was written: its key if it exists, else the nearest table above.
    pub(super) fn origin_of(&self, key: &str) -> Origin {
        let mut origin = self.origin;
        let mut node = self;
        for part in key.split('.').filter(|part| !part.is_empty()) {
            match node.child(part) {
                Some((at, child)) => (origin, node) = (at, child),
                None => break,
            }
        }
        origin
    }

    fn child(&self, part: &str) -> Option<(Origin, &Self)> {
        match &self.value {
            Value::Table(table) => {
                let entry = table.get(part)?;
                let overridden = matches!(entry.node.origin, Origin::Override(_));
                let origin = if overridden {
                    entry.node.origin
                } else {
                    entry.key_origin
                };
                Some((origin, &entry.node))
            }
            Value::Array(items) => {
                let item = items.get(part.parse::<usize>().ok()?)?;
                Some((item.origin, item))
            }
            _ => None,
        }
    }
}
