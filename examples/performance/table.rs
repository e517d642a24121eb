//! One table of what this machine does: ours, its share of the roofline, and the ratio to a peer.

use super::attention;
use super::results::{Case, Found, Prompt, Ratio, Step, Stored};
use std::fmt::Write;

/// A ratio, and whom it compares with.
struct Beside {
    ratio: String,
    peer: String,
}

/// A line per case of `cases`, and one more for each peer behind the first.
///
/// Ours: tokens per second by the median sample. Roofline share: useful FLOPs of a training step per second, over those of a
/// large matrix product on the same thread in the same process; of a kernel, bytes per second over those of a large copy.
/// Ratio: the peer's time over ours. Of attention alone and of kernels both sides are among `cases`; of steps and prompts it is the
/// stored one of the same case, with its own commit and machine, not measured now.
pub(crate) fn table(cases: &[Case], stored: &Stored) -> String {
    let mut text = format!(
        "{:<44} {:>12} {:>9} {:>10}  {:<22} {}",
        "case", "ours, tok/s", "peak MiB", "roofline", "ratio to peer", "peer"
    );
    for case in cases {
        let roofline = case
            .roofline_share
            .map_or("-".to_owned(), |share| format!("{:.1} %", 100.0 * share));
        let mut peers = peers(case, cases, stored).into_iter();
        let (ratio, peer) = peers
            .next()
            .map_or(("-".to_owned(), String::new()), |b| (b.ratio, b.peer));
        let _ = write!(
            text,
            "\n{:<44} {:>12.1} {:>9} {roofline:>10}  {ratio:<22} {peer}",
            case.case,
            case.tokens_per_s,
            case.peak_rss_bytes
                .map_or("-".to_owned(), |bytes| (bytes >> 20).to_string()),
        );
        for Beside { ratio, peer } in peers {
            let _ = write!(text, "\n{:<79} {ratio:<22} {peer}", "");
        }
    }
    text
}

/// Everything that `case` can be compared with.
fn peers(case: &Case, cases: &[Case], stored: &Stored) -> Vec<Beside> {
    let parts: Vec<&str> = case.case.split('/').collect();
    match parts.as_slice() {
        ["step", shape, tokens, dtype, saving] => {
            let found = step(case, [shape, tokens, dtype, saving], stored);
            found.map(of_step).into_iter().collect()
        }
        ["infer", shape, method, tokens] => {
            let found = prompt([shape, method, tokens], stored);
            found.map(of_prompt).into_iter().collect()
        }
        ["attention", ..] => attention::peers(&case.case)
            .iter()
            .filter_map(|peer| among(cases, case, peer, |case| &case.cpu_ms))
            .collect(),
        ["kernel", _, _] => {
            let twin = format!("{}/aten", case.case);
            let found = among(cases, case, &twin, |case| &case.samples_ms);
            found.into_iter().collect()
        }
        _ => Vec::new(),
    }
}

/// The ratio to the case `peer` of the same output.
fn among(
    cases: &[Case],
    ours: &Case,
    peer: &str,
    times: impl Fn(&Case) -> &Vec<f64>,
) -> Option<Beside> {
    let is_beside = |case: &&Case| case.case == peer && case.threads == ours.threads;
    let found = cases.iter().find(is_beside)?;
    let ratio = Ratio::of(times(found), times(ours))?;
    let name = peer.rsplit('/').next().unwrap_or_default();
    Some(Beside {
        ratio: ratio.text(),
        peer: format!("{name} (this run)"),
    })
}

/// The last stored comparison of a training step with the peer that one writes first.
fn step<'a>(
    case: &Case,
    [shape, tokens, dtype, saving]: [&str; 4],
    stored: &'a Stored,
) -> Option<&'a Found<Step>> {
    stored.steps.iter().rev().find(|found| {
        let stored = &found.result.case;
        stored.shape == shape
            && stored.num_tokens.to_string() == tokens
            && stored.dtype == dtype
            && stored.saving == saving
            && Some([stored.sink, stored.window, stored.block]) == case.span
            && found.result.peer.backend.ends_with("dense mask")
    })
}

fn of_step(found: &Found<Step>) -> Beside {
    let peer = &found.result.peer.backend;
    Beside {
        ratio: found.result.ratio_cpu.text(),
        peer: format!("{peer} (stored: {}, {})", found.machine, found.commit),
    }
}

/// The last stored comparison of a prompt of so many tokens; a case's prompts are f32.
fn prompt<'a>([shape, method, tokens]: [&str; 3], stored: &'a Stored) -> Option<&'a Found<Prompt>> {
    stored.prompts.iter().rev().find(|found| {
        let stored = &found.result.case;
        stored.shape == shape
            && stored.method == method
            && stored.num_tokens.to_string() == tokens
            && stored.dtype == "f32"
    })
}

/// Prefill and decoding apart; chunk and answer are the stored ones, and may be others than a case's.
fn of_prompt(found: &Found<Prompt>) -> Beside {
    let prompt = &found.result;
    let [prefill, decode] =
        [prompt.prefill_ratio_cpu, prompt.decode_ratio_cpu].map(|ratio| ratio.median);
    Beside {
        ratio: format!("{prefill:.2} / {decode:.2}"),
        peer: format!(
            "{}, prefill / decode (stored: chunk {}, {} decoded; {}, {})",
            prompt.peer.backend,
            prompt.chunk_len,
            prompt.case.num_new_tokens,
            found.machine,
            found.commit
        ),
    }
}
