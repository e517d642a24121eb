//! The table of `kernels/README.md`: every kernel, and where it was measured.

use super::results::{Found, Kernel, Ratio};
use prulong::cuda::source::Family;
use prulong::profile::measure::quantile;
use std::fmt::Write;

const HEADER: &str = "\
| kernel | shape | device | median | GB/s | share of peak | ratio to libtorch's operators | commit |
|---|---|---|---|---|---|---|---|
";

/// Cells behind a kernel's name.
const NUM_CELLS: usize = 7;

/// A row for each kernel and device where it was measured, and one that says so for a kernel that was not.
pub(crate) fn table(stored: &[Found<Kernel>]) -> String {
    let mut text = HEADER.to_owned();
    for kernel in Family::ALL.into_iter().flat_map(Family::kernels) {
        let rows: Vec<String> = stored
            .iter()
            .filter_map(|ours| row(kernel, ours, stored))
            .collect();
        let lines = if rows.is_empty() {
            vec![["not measured"; NUM_CELLS].join(" | ")]
        } else {
            rows
        };
        for line in lines {
            let _ = writeln!(text, "| `{kernel}` | {line} |");
        }
    }
    text
}

/// The cells of `ours`, if it is of `kernel` and not of its twin.
fn row(kernel: &str, ours: &Found<Kernel>, stored: &[Found<Kernel>]) -> Option<String> {
    let parts: Vec<&str> = ours.result.case.split('/').collect();
    let ["kernel", name, shape] = parts.as_slice() else {
        return None;
    };
    if *name != kernel {
        return None;
    }
    let twin = format!("{}/aten", ours.result.case);
    let is_twin = |found: &&Found<Kernel>| {
        found.machine == ours.machine && found.commit == ours.commit && found.result.case == twin
    };
    let twin = stored.iter().find(is_twin);
    let ratio = twin.and_then(|twin| Ratio::of(&twin.result.samples_ms, &ours.result.samples_ms));
    Some(format!(
        "{shape} | {} | {:.1} us | {:.0} | {:.0} % | {} | `{}`",
        ours.machine,
        1e3 * quantile(&ours.result.samples_ms, 0.5),
        ours.result.gb_per_s,
        100.0 * ours.result.roofline_share,
        ratio.map_or("not measured".to_owned(), |ratio| ratio.text()),
        ours.commit,
    ))
}
