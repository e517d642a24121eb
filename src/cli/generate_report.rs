//! What an answer of `prulong generate` was and cost, as one line or as JSON.

use super::machine::show_bytes;
use crate::eval::results::{MachineIdentity, MaskIdentity};
use crate::infer::completion::{Completion, End, Ends, Prompt};
use std::fmt;

/// Name and version of the JSON.
pub(super) const SCHEMA: &str = "prulong.generation/1";

/// An answer as JSON.
#[derive(Debug, serde::Serialize)]
pub(super) struct Answer<'a> {
    pub(super) schema: &'static str,
    pub(super) text: &'a str,
    /// The end token and those of the stop text included.
    pub(super) output_ids: &'a [i64],
    pub(super) method: &'a str,
    pub(super) mask: Option<&'a MaskIdentity>,
    pub(super) chunk_len: usize,
    pub(super) machine: MachineIdentity,
    pub(super) report: Report<'a>,
}

/// What an answer cost.
#[derive(Debug, serde::Serialize)]
pub(super) struct Report<'a> {
    /// The begin token included.
    prompt_len: usize,
    output_len: usize,
    finish: &'static str,
    /// The text that ended it.
    stop_text: Option<&'a str>,
    kv_footprint: f64,
    kv_peak: f64,
    kv_peak_bytes: u64,
    /// Share of the (query, key) pairs attended.
    compute_share: f64,
    timing: Timing,
}

#[derive(Debug, serde::Serialize)]
struct Timing {
    prefill_ms: f64,
    decode_ms: f64,
    prefill_tokens_per_s: f64,
    decode_tokens_per_s: f64,
}

impl<'a> Report<'a> {
    pub(super) fn new(prompt: &Prompt, completion: &Completion, ends: &'a Ends) -> Self {
        let generation = &completion.generation;
        let (finish, stop_text) = match completion.end {
            End::Eos => ("eos", None),
            End::StopText(at) => ("stop", ends.stop_texts.get(at)),
            End::Length => ("length", None),
        };
        let (prompt_len, output_len) = (prompt.ids().len(), generation.output.len());
        let usage = &generation.usage;
        Self {
            prompt_len,
            output_len,
            finish,
            stop_text: stop_text.map(String::as_str),
            kv_footprint: usage.kv_footprint(),
            kv_peak: usage.kv_peak(),
            kv_peak_bytes: usage.peak_bytes(),
            compute_share: usage.compute_share(),
            timing: Timing {
                prefill_ms: generation.prefill_ms,
                decode_ms: generation.decode_ms,
                prefill_tokens_per_s: rate(prompt_len - 1, generation.prefill_ms),
                decode_tokens_per_s: rate(output_len, generation.decode_ms),
            },
        }
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let timing = &self.timing;
        let why = match (self.finish, self.stop_text) {
            ("eos", _) => "end token".to_owned(),
            (_, Some(text)) => format!("stop text {text:?}"),
            _ => "length limit".to_owned(),
        };
        write!(
            f,
            "{} prompt tokens at {:.0}/s, {} new at {:.1}/s, ended by {why}; KV footprint {:.4}, peak {:.4}, {} at most",
            self.prompt_len,
            timing.prefill_tokens_per_s,
            self.output_len,
            timing.decode_tokens_per_s,
            self.kv_footprint,
            self.kv_peak,
            show_bytes(self.kv_peak_bytes)
        )
    }
}

/// Tokens per second; 0 where there are none.
#[expect(clippy::cast_precision_loss, reason = "lengths stay below 2^52")]
fn rate(num_tokens: usize, ms: f64) -> f64 {
    if num_tokens == 0 || ms <= 0.0 {
        return 0.0;
    }
    num_tokens as f64 * 1e3 / ms
}
