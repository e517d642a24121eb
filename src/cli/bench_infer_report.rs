//! What `prulong bench infer` prints: the tables and the JSON object.

use crate::cli::bandwidth::Bandwidth;
use crate::cli::compute::Compute;
use crate::estimate::inference::Prefill;
use crate::eval::method::Streaming;
use crate::eval::results::MachineIdentity;
use crate::infer::task::Cost;
use serde_json::{Value, json};

/// Stable word for programs that read the object.
const SCHEMA: &str = "prulong.bench-infer/1";

/// What one method costs.
#[derive(Debug, serde::Serialize)]
pub(super) struct Case {
    /// Its name.
    pub(super) method: String,
    /// Share of streaming kv heads, of a mask.
    pub(super) sparsity: Option<f64>,
    /// Sink, window and rule, of a mask.
    pub(super) streaming: Option<Streaming>,
    /// Times of every answer, and keys and values.
    pub(super) cost: Cost,
    /// Median wall time of the prefill.
    pub(super) prefill_s: f64,
    /// Median wall time of decoding, per token.
    pub(super) decode_ms_per_token: f64,
    /// The most held in an answer: tensors of a CUDA device, else resident memory.
    pub(super) peak_bytes: Option<u64>,
    /// Held before the first answer.
    pub(super) start_bytes: Option<u64>,
    /// Whether the peak leaves out what came before the answers.
    pub(super) is_peak_of_answers: bool,
    /// Keys and values at the end by the closed formula; the least they can be where a method's choice depends on the text.
    pub(super) formula_kv_bytes: u64,
    /// Most keys and values in one call, by the formula.
    pub(super) formula_kv_peak_bytes: u64,
    /// FLOPs of the prefill, by (query, key) pairs that the caches counted.
    pub(super) prefill_flops: Prefill,
    /// The same by the median, in units of 10^12.
    pub(super) prefill_tflops_per_s: f64,
    /// Share of the peak, where one was given.
    pub(super) mfu: Option<f64>,
    /// What a decoded token reads at least.
    pub(super) decode: Roof,
    /// Beside full attention, where it was measured.
    pub(super) to_full: Option<Ratios>,
}

/// The roofline of a decoded token.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub(super) struct Roof {
    /// Weights.
    pub(super) weight_bytes: u64,
    /// Keys and values kept, the mean of those after the prefill and at the end.
    pub(super) kv_bytes: f64,
    /// How long the device needs to read both.
    pub(super) roof_ms: f64,
    /// The same as a share of the time it took.
    pub(super) roof_share: f64,
}

/// A method beside full attention.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub(super) struct Ratios {
    /// Full attention's prefill time by the method's.
    pub(super) prefill_speedup: f64,
    /// Full attention's time for a decoded token by the method's.
    pub(super) decode_speedup: f64,
    /// The method's keys and values at the end by full attention's.
    pub(super) kv_share: f64,
    /// The method's peak by full attention's.
    pub(super) peak_share: Option<f64>,
}

impl Ratios {
    fn new(case: &Case, full: &Case) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "memory below 2^52 bytes")]
        let share = |part: u64, whole: u64| part as f64 / whole as f64;
        let peaks = case.peak_bytes.zip(full.peak_bytes);
        Self {
            prefill_speedup: full.prefill_s / case.prefill_s,
            decode_speedup: full.decode_ms_per_token / case.decode_ms_per_token,
            kv_share: share(case.cost.kv_bytes, full.cost.kv_bytes),
            peak_share: peaks.map(|(part, whole)| share(part, whole)),
        }
    }
}

/// What is the same for all methods.
pub(super) struct Header {
    /// The model's name.
    pub(super) name: String,
    /// Tokens of the prompt.
    pub(super) prompt_len: usize,
    /// Tokens decoded.
    pub(super) num_new_tokens: usize,
    /// Tokens per prefill chunk.
    pub(super) chunk_len: usize,
    /// How fast memory is read.
    pub(super) bandwidth: Bandwidth,
    /// The device's peak.
    pub(super) peak_tflops: Option<f64>,
}

/// All methods of one model and prompt.
pub(super) struct Report {
    header: Header,
    machine: MachineIdentity,
    cases: Vec<Case>,
}

impl Report {
    /// A report on `cases`, each beside the one of full attention.
    pub(super) fn new(header: Header, compute: &Compute, mut cases: Vec<Case>) -> Self {
        if let Some(full) = cases.iter().position(|case| case.method == "full") {
            let ratios: Vec<Ratios> = cases
                .iter()
                .map(|case| Ratios::new(case, &cases[full]))
                .collect();
            for (case, ratios) in cases.iter_mut().zip(ratios) {
                case.to_full = Some(ratios);
            }
        }
        Self {
            header,
            machine: compute.identity(),
            cases,
        }
    }

    /// The object of `--json`.
    pub(super) fn object(&self) -> Value {
        let header = &self.header;
        json!({
            "schema": SCHEMA,
            "model": header.name,
            "prompt_len": header.prompt_len,
            "num_new_tokens": header.num_new_tokens,
            "chunk_len": header.chunk_len,
            "bandwidth": header.bandwidth,
            "peak_tflops": header.peak_tflops,
            "machine": self.machine,
            "cases": self.cases,
        })
    }

    /// The tables.
    pub(super) fn lines(&self) -> Vec<String> {
        let (header, machine) = (&self.header, &self.machine);
        let source = if header.bandwidth.is_measured {
            "measured by a sum"
        } else {
            "as given"
        };
        let mut lines = vec![
            format!(
                "{}: a prompt of {} tokens in chunks of {}, {} decoded; {} on {}, {}, {} threads",
                header.name,
                header.prompt_len,
                header.chunk_len,
                header.num_new_tokens,
                machine.dtype,
                machine.device,
                machine.backend,
                machine.num_threads,
            ),
            format!(
                "roof: weights and keys and values read at {:.1} GB/s, {source}",
                header.bandwidth.bytes_per_s / 1e9
            ),
            String::new(),
            format!(
                "{:<16} {:>10} {:>10} {:>8} {:>7} {:>9} {:>9} {:>7} {:>9} {:>9} {:>9}",
                "method",
                "prefill s",
                "tokens/s",
                "TFLOP/s",
                "MFU",
                "ms/token",
                "roof ms",
                "share",
                "peak GB",
                "KV GB",
                "formula"
            ),
        ];
        lines.extend(self.cases.iter().map(row));
        if self.cases.iter().any(|case| case.to_full.is_some()) {
            lines.push(String::new());
            lines.push(format!(
                "{:<16} {:>16} {:>16} {:>10} {:>10}",
                "beside full", "prefill faster", "decode faster", "KV", "peak"
            ));
            lines.extend(self.cases.iter().filter_map(ratio_row));
        }
        lines
    }
}

#[expect(clippy::cast_precision_loss, reason = "memory below 2^52 bytes")]
fn gigabytes(bytes: u64) -> String {
    format!("{:.4}", bytes as f64 / 1e9)
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

fn row(case: &Case) -> String {
    format!(
        "{:<16} {:>10.3} {:>10.1} {:>8.3} {:>7} {:>9.3} {:>9.3} {:>7} {:>9} {:>9} {:>9}",
        case.method,
        case.prefill_s,
        case.cost.prefill_tokens_per_s,
        case.prefill_tflops_per_s,
        case.mfu.map_or("-".to_owned(), percent),
        case.decode_ms_per_token,
        case.decode.roof_ms,
        percent(case.decode.roof_share),
        case.peak_bytes.map_or("-".to_owned(), gigabytes),
        gigabytes(case.cost.kv_bytes),
        gigabytes(case.formula_kv_bytes),
    )
}

fn ratio_row(case: &Case) -> Option<String> {
    let ratios = case.to_full?;
    Some(format!(
        "{:<16} {:>16.3} {:>16.3} {:>10.3} {:>10}",
        case.method,
        ratios.prefill_speedup,
        ratios.decode_speedup,
        ratios.kv_share,
        ratios
            .peak_share
            .map_or("-".to_owned(), |share| format!("{share:.3}")),
    ))
}
