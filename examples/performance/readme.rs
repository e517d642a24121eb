//! The tables of README's performance section, and the place of tables in a document.

use super::results::{Found, Prompt, Step, Stored};
use super::{TableError, attention};
use std::fmt::Write;
use std::path::Path;

/// Before the tables.
pub(crate) const BEGIN: &str =
    "<!-- tables of benches/results: `make readme-performance` writes them -->";
/// Behind them.
pub(crate) const END: &str = "<!-- end of tables -->";

const STEPS: &str = "\
| training step: shape (heads / kv heads), tokens, dtype, sink + window | peer | machine, commit | CPU time, peer / ours | n | peak RSS, ours / peer, MiB | agreement: loss, gate gradients |
|---|---|---|---|---|---|---|
";

const PROMPTS: &str = "\
| inference: shape, method, tokens + decoded, chunk | machine, commit | prefill, CPU time, peer / ours | decode | n | KV held, ours / peer, MiB | agreement |
|---|---|---|---|---|---|---|
";

/// The tables.
pub(crate) fn tables(stored: &Stored) -> String {
    let mut text = STEPS.to_owned();
    for step in &stored.steps {
        let _ = writeln!(text, "{}", step_row(step));
    }
    let _ = write!(text, "\n{PROMPTS}");
    for prompt in &stored.prompts {
        let _ = writeln!(text, "{}", prompt_row(prompt));
    }
    let _ = write!(text, "\n{}", attention::table(&stored.attention));
    text
}

/// `document` with `tables` between its markers.
///
/// # Errors
/// [`TableError::Markers`] unless both are there once, in order.
pub(crate) fn replaced(path: &Path, document: &str, tables: &str) -> Result<String, TableError> {
    let parts = document.split_once(BEGIN).and_then(|(before, rest)| {
        let (_, behind) = rest.split_once(END)?;
        Some((before, behind))
    });
    let (before, behind) = parts.ok_or_else(|| TableError::Markers {
        path: path.to_path_buf(),
        begin: BEGIN,
        end: END,
    })?;
    Ok(format!("{before}{BEGIN}\n\n{tables}\n{END}{behind}"))
}

fn step_row(found: &Found<Step>) -> String {
    let (step, case) = (&found.result, &found.result.case);
    let peer = step.peer.backend.rsplit(", ").next().unwrap_or_default();
    let dz = step.error_to_peer.dz_rel.map_or("-".to_owned(), exponent);
    format!(
        "| {} ({} / {}), {}, {}, {} + {} | {peer} | {}, `{}` | {} | {} | {} / {} | {}, {dz} |",
        case.shape,
        case.num_heads,
        case.num_kv_heads,
        grouped(case.num_tokens),
        case.dtype,
        case.sink,
        case.window,
        found.machine,
        found.commit,
        step.ratio_cpu.text(),
        step.ratio_cpu.n,
        mebi(step.peak_rss_bytes, 0),
        mebi(step.peer_peak_rss_bytes, 0),
        exponent(step.error_to_peer.loss_abs),
    )
}

fn prompt_row(found: &Found<Prompt>) -> String {
    let (prompt, case) = (&found.result, &found.result.case);
    format!(
        "| {}, {}, {} + {}, {} | {}, `{}` | {} | {} | {} | {} / {} | {} |",
        case.shape,
        case.method,
        grouped(case.num_tokens),
        case.num_new_tokens,
        grouped(prompt.chunk_len),
        found.machine,
        found.commit,
        prompt.prefill_ratio_cpu.text(),
        prompt.decode_ratio_cpu.text(),
        prompt.decode_ratio_cpu.n,
        mebi(prompt.kv_bytes, 1),
        mebi(prompt.peer_kv_bytes, 1),
        agreement(prompt),
    )
}

/// How far the answers are the same, or why they cannot be.
fn agreement(prompt: &Prompt) -> String {
    if let Some(agreement) = &prompt.agreement {
        return format!(
            "{} of {} tokens, logits to {:.1e}",
            agreement.tokens_same, prompt.case.num_new_tokens, agreement.logits_rel
        );
    }
    let reason = if prompt.rule != prompt.peer.rule {
        "other rule"
    } else if prompt.chunk_len + 1 < prompt.case.num_tokens {
        "other chunks"
    } else {
        "other budgets"
    };
    reason.to_owned()
}

/// `6.2e-7`, or 0.
fn exponent(error: f64) -> String {
    if error > 0.0 {
        format!("{error:.1e}")
    } else {
        "0".to_owned()
    }
}

/// `16,384`.
pub(crate) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[expect(clippy::cast_precision_loss, reason = "shown with one decimal at most")]
fn mebi(bytes: u64, digits: usize) -> String {
    format!("{:.digits$}", bytes as f64 / f64::from(1 << 20))
}
