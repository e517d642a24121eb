//! The table of attention alone: how much longer libtorch's flash attention takes than the fused kernel.

use super::readme::grouped;
use super::results::{Found, Ratio, Timed};
use std::collections::BTreeMap;
use std::fmt::Write;

const HEADER: &str = "\
| attention alone, forward and backward: gates, peer | tokens | machine, commit | heads of 32 numbers, CPU time of `cpu-flash` / ours | of 64 | of 128 | n |
|---|---|---|---|---|---|---|
";

/// Sizes of heads, in the order of the columns.
const HEAD_DIMS: [u64; 3] = [32, 64, 128];
/// What is measured against `cpu-fused`: gates and solver as a case names them, and what a row says.
const ROWS: [(&str, &str, &str); 5] = [
    (
        "sampled",
        "cpu-flash-unskipped",
        "a third open, a third between, a third closed; flash computes both branches of every head",
    ),
    (
        "sampled",
        "cpu-flash",
        "the same; flash skips what a gate switches off, as ours does",
    ),
    ("mixed", "cpu-flash", "every one between 0 and 1"),
    ("streaming", "cpu-flash", "every head streaming"),
    ("full", "cpu-flash", "every head full"),
];

/// A place of the table: kind of machine, threads, tokens, and the row.
type Row = (String, u64, u64, usize);

/// A row for each machine, length and kind of gates that has a peer's case beside ours.
pub(crate) fn table(stored: &[Found<Timed>]) -> String {
    let mut rows: BTreeMap<Row, Vec<(u64, Ratio, &str)>> = BTreeMap::new();
    for ours in stored {
        let Some((head_dim, tokens, gates, "cpu-fused")) = parts(&ours.result.case) else {
            continue;
        };
        let of_gates = ROWS.iter().enumerate().filter(|(_, (of, ..))| *of == gates);
        for (at, (_, solver, _)) in of_gates {
            let name = format!("attention/{head_dim}/{tokens}/{gates}/{solver}");
            let peer = stored.iter().find(|peer| is_beside(peer, ours, &name));
            let ratio = peer.and_then(|peer| Ratio::of(&peer.result.cpu_ms, &ours.result.cpu_ms));
            if let Some(ratio) = ratio {
                let row = (ours.machine.clone(), ours.result.threads, tokens, at);
                let cells = rows.entry(row).or_default();
                cells.push((head_dim, ratio, &ours.commit));
            }
        }
    }
    let mut text = HEADER.to_owned();
    for (row, cells) in &rows {
        let _ = writeln!(text, "{}", line(row, cells));
    }
    text
}

/// Names of the cases that `case` is measured against, those that compute the same work first; none unless it is `cpu-fused`.
pub(crate) fn peers(case: &str) -> Vec<String> {
    let Some((head_dim, tokens, gates, "cpu-fused")) = parts(case) else {
        return Vec::new();
    };
    let of = ROWS.iter().rev().filter(|(row, ..)| *row == gates);
    of.map(|(_, solver, _)| format!("attention/{head_dim}/{tokens}/{gates}/{solver}"))
        .collect()
}

/// Whether `peer` is the case `name`, measured like `ours`.
fn is_beside(peer: &Found<Timed>, ours: &Found<Timed>, name: &str) -> bool {
    let is_alike = peer.machine == ours.machine
        && peer.commit == ours.commit
        && peer.result.threads == ours.result.threads;
    is_alike && peer.result.case == name
}

/// Head dimension, tokens, gates, solver.
fn parts(case: &str) -> Option<(u64, u64, &str, &str)> {
    let parts: Vec<&str> = case.split('/').collect();
    let ["attention", head_dim, tokens, gates, solver] = parts.as_slice() else {
        return None;
    };
    Some((head_dim.parse().ok()?, tokens.parse().ok()?, gates, solver))
}

fn line((machine, threads, tokens, at): &Row, cells: &[(u64, Ratio, &str)]) -> String {
    let cell = |head_dim: u64| {
        let found = cells.iter().find(|(of, ..)| *of == head_dim);
        found.map_or("not measured".to_owned(), |(_, ratio, _)| ratio.text())
    };
    let columns = HEAD_DIMS.map(cell).join(" | ");
    let n = cells.iter().map(|(_, ratio, _)| ratio.n).min().unwrap_or(0);
    let commit = cells.first().map_or("", |(_, _, commit)| commit);
    let (_, _, gates) = ROWS.get(*at).copied().unwrap_or_default();
    let tokens = grouped(*tokens);
    format!("| {gates} | {tokens} | {machine}, {threads} threads, `{commit}` | {columns} | {n} |")
}
