//! A module uses only what stands before it, and its own children.

use crate::lexer::words;
use crate::tree::{SourceFile, Tree, declared_module};

/// The whole order, lowest first. A module that is not here has no place yet.
const ORDER: [&str; 25] = [
    "fault",
    "random",
    "real",
    "shape",
    "span",
    "schedule",
    "footprint",
    "mask",
    "config",
    "estimate",
    "torch",
    "cuda",
    "profile",
    "attention",
    "gate",
    "model",
    "data",
    "hub",
    "checkpoint",
    "metrics",
    "train",
    "infer",
    "eval",
    "cli",
    "main",
];

fn rank(module: &str) -> Option<usize> {
    ORDER.iter().position(|name| *name == module)
}

/// Modules of `src/lib.rs` that are unknown or out of order.
pub(crate) fn unlisted(tree: &Tree) -> Vec<String> {
    let Some(root) = tree.file("src/lib.rs") else {
        return vec!["src/lib.rs: not found".to_owned()];
    };
    let mut last = 0;
    let mut complaints = Vec::new();
    for name in root
        .code
        .lines()
        .filter_map(|line| declared_module(line.trim()))
    {
        match rank(name) {
            None => complaints.push(format!(
                "src/lib.rs: `{name}` has no place in the layer order"
            )),
            Some(rank) if rank < last => {
                complaints.push(format!("src/lib.rs: `{name}` is out of order"));
            }
            Some(rank) => last = rank,
        }
    }
    complaints
}

/// Paths to a later module.
pub(crate) fn upward(file: &SourceFile) -> Vec<String> {
    let module = file.module();
    let Some(own) = rank(&module[0]) else {
        return Vec::new();
    };
    let mut complaints = Vec::new();
    for (at, target) in crate_paths(&file.code)
        .into_iter()
        .chain(super_paths(&file.code, module.len()))
    {
        if rank(&target).is_some_and(|rank| rank > own) {
            complaints.push(format!(
                "{}: `{}` may not use `{target}`, which stands above it",
                file.at(at),
                module[0]
            ));
        }
    }
    complaints
}

/// Top-level modules named after `crate::`, also inside nested groups.
fn crate_paths(code: &str) -> Vec<(usize, String)> {
    let starts = words(code, "crate").filter_map(|at| {
        let rest = code[at + "crate".len()..].trim_start().strip_prefix("::")?;
        Some((at, code.len() - rest.len()))
    });
    starts
        .flat_map(|(at, start)| {
            heads(&code[start..])
                .into_iter()
                .map(move |head| (at, head))
        })
        .collect()
}

/// Top-level modules reached by `super::super::...` from a file `depth` modules deep.
fn super_paths(code: &str, depth: usize) -> Vec<(usize, String)> {
    let chain = vec!["super"; depth].join("::");
    let starts = words(code, &chain).filter_map(|at| {
        let rest = code[at + chain.len()..].strip_prefix("::")?;
        Some((at, code.len() - rest.len()))
    });
    starts
        .flat_map(|(at, start)| {
            heads(&code[start..])
                .into_iter()
                .map(move |head| (at, head))
        })
        .collect()
}

/// The first names of a path, or of each path in a group.
fn heads(path: &str) -> Vec<String> {
    let path = path.trim_start();
    let Some(group) = path.strip_prefix('{') else {
        return vec![
            path.chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect(),
        ];
    };
    let (mut depth, mut start, mut found) = (0_usize, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                found.extend(
                    heads(&group[start..at])
                        .into_iter()
                        .filter(|head| !head.is_empty()),
                );
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    found
}

#[test]
fn arrows_upward_are_found_in_every_form() {
    for text in [
        "use crate::train::step;",
        "use crate::{span::Span, train::step};",
        "use crate::{\n    shape::{A, B},\n    eval,\n};",
        "fn f() { crate::cli::run() }",
        "use super::super::train;",
    ] {
        assert_eq!(
            upward(&SourceFile::new("src/gate/bank.rs", text, false)).len(),
            1,
            "{text}"
        );
    }
    for text in [
        "use crate::torch::x;",
        "use super::bank;",
        "// use crate::train;",
        "use crate::{span, shape::{A}};",
    ] {
        assert!(
            upward(&SourceFile::new("src/gate/bank.rs", text, false)).is_empty(),
            "{text}"
        );
    }
}
