//! Applies `--set a.b=value` to the tree.

use crate::config::error::ConfigError;
use crate::config::parse;
use crate::config::tree::{Entry, Node, Origin, Value};
use std::collections::BTreeMap;

/// Puts the override `text`, the one of this `index`, into the tree; list items are named by index, `stage.0.steps=10`.
pub(super) fn apply(root: &mut Node, text: &str, index: usize) -> Result<(), ConfigError> {
    let refuse = |reason| ConfigError::Override {
        text: text.to_owned(),
        reason,
    };
    let (key, value) = text.split_once('=').ok_or_else(|| refuse("has no `=`"))?;
    let parts: Vec<&str> = key.trim().split('.').map(str::trim).collect();
    if parts.iter().any(|part| part.is_empty()) {
        return Err(refuse("has an empty name before `=`"));
    }
    let value = parse::parse_override(value.trim(), index);
    let target = descend(root, &parts, index).map_err(refuse)?;
    *target = value;
    Ok(())
}

fn descend<'a>(
    root: &'a mut Node,
    parts: &[&str],
    index: usize,
) -> Result<&'a mut Node, &'static str> {
    let mut node = root;
    for part in parts {
        node = match &mut node.value {
            Value::Table(table) => enter(table, part, index),
            Value::Array(items) => {
                let at: usize = part
                    .parse()
                    .map_err(|_| "names an item of a list: use its index, from 0")?;
                items
                    .get_mut(at)
                    .ok_or("names an item beyond the end of its list")?
            }
            _ => return Err("goes into a value that is no table"),
        };
    }
    Ok(node)
}

fn enter<'a>(table: &'a mut BTreeMap<String, Entry>, part: &str, index: usize) -> &'a mut Node {
    let key_origin = Origin::Override(index);
    let entry = table.entry(part.to_owned()).or_insert_with(|| Entry {
        key_origin,
        node: Node {
            origin: key_origin,
            value: Value::Table(BTreeMap::new()),
        },
    });
    &mut entry.node
}
