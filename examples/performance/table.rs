//! One table of what this machine does: ours, its share of the roofline, and the stored ratio to a peer.

use super::results::{Case, Found, Step, Stored};
use std::fmt::Write;

/// A line per case of `cases`.
///
/// Ours: tokens per second by the median sample. Roofline share: useful FLOPs of a training step per second, over those of a
/// large matrix product on the same thread in the same process. Ratio: the stored CPU time of a peer over ours in the same
/// case, with its own commit and machine; not measured now.
pub(crate) fn table(cases: &[Case], stored: &Stored) -> String {
    let mut text = format!(
        "{:<44} {:>12} {:>9} {:>10}  {:<22} {}",
        "case", "ours, tok/s", "peak MiB", "roofline", "stored ratio to peer", "peer"
    );
    for case in cases {
        let roofline = case
            .roofline_share
            .map_or("-".to_owned(), |share| format!("{:.1} %", 100.0 * share));
        let peer = ratio(case, stored);
        let (ratio, name) = peer.map_or(("-".to_owned(), String::new()), |found| {
            let peer = &found.result.peer.backend;
            let place = format!("{peer} ({}, {})", found.machine, found.commit);
            (found.result.ratio_cpu.text(), place)
        });
        let _ = write!(
            text,
            "\n{:<44} {:>12.1} {:>9} {roofline:>10}  {ratio:<22} {name}",
            case.case,
            case.tokens_per_s,
            case.peak_rss_bytes
                .map_or("-".to_owned(), |bytes| (bytes >> 20).to_string()),
        );
    }
    text
}

/// The last stored comparison of a training step `step/SHAPE/TOKENS/DTYPE/POLICY` with the peer that one writes first.
fn ratio<'a>(case: &Case, stored: &'a Stored) -> Option<&'a Found<Step>> {
    let parts: Vec<&str> = case.case.split('/').collect();
    let ["step", shape, tokens, dtype, saving] = parts.as_slice() else {
        return None;
    };
    stored.steps.iter().rev().find(|found| {
        let stored = &found.result.case;
        stored.shape == *shape
            && stored.num_tokens.to_string() == *tokens
            && stored.dtype == *dtype
            && stored.saving == *saving
            && Some([stored.sink, stored.window, stored.block]) == case.span
            && found.result.peer.backend.ends_with("dense mask")
    })
}
