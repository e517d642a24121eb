//! Methods that differ only in how much they keep: one curve.

use crate::eval::method::MethodKind;
use crate::eval::results::MethodResult;
use crate::eval::table::{Column, columns};

/// Methods that differ only in how much they keep.
pub struct Family<'a> {
    /// The method's word without how much it keeps.
    pub name: String,
    /// Their kind.
    pub kind: MethodKind,
    /// One for every amount, in the order of the tables.
    pub(in crate::eval) settings: Vec<Column<'a>>,
}

/// The families among the methods of a task, in the order of the tables; full attention and methods that keep everything are
/// in none.
pub fn families<'a>(methods: impl IntoIterator<Item = &'a MethodResult>) -> Vec<Family<'a>> {
    let mut families: Vec<Family<'a>> = Vec::new();
    let mut end = None;
    for column in columns(methods) {
        match column.kind() {
            MethodKind::Full | MethodKind::Skipping => continue,
            MethodKind::AllStreaming => {
                end = Some(column);
                continue;
            }
            _ => {}
        }
        let name = name(&column);
        match families.iter_mut().find(|family| family.name == name) {
            Some(family) => family.settings.push(column),
            None => families.push(Family {
                name,
                kind: column.kind(),
                settings: vec![column],
            }),
        }
    }
    if let Some(end) = end {
        finish_sweeps(&mut families, &end);
    }
    families
}

/// Ends every sweep of head masks with all heads streaming, which is a family of its own where there is no sweep.
fn finish_sweeps<'a>(families: &mut Vec<Family<'a>>, end: &Column<'a>) {
    let is_sweep =
        |family: &&mut Family<'_>| matches!(family.kind, MethodKind::Mask | MethodKind::Random);
    let mut found = false;
    for family in families.iter_mut().filter(is_sweep) {
        family.settings.push(end.clone());
        found = true;
    }
    if !found {
        let family = Family {
            name: end.kind().name().to_owned(),
            kind: end.kind(),
            settings: vec![end.clone()],
        };
        families.insert(0, family);
    }
}

/// A method that evicts is named `NAME:SPARSITY[:OPTION]...`: its family is all but the sparsity.
fn name(column: &Column<'_>) -> String {
    match (column.kind(), column.methods()) {
        (MethodKind::Eviction, [method]) => {
            let words = method.name.split(':').enumerate();
            let kept: Vec<&str> = words
                .filter(|(place, _)| *place != 1)
                .map(|(_, word)| word)
                .collect();
            kept.join(":")
        }
        (kind, _) => kind.name().to_owned(),
    }
}
