//! One method of `prulong bench infer`: what has been seen of it, and what that says.

use crate::cli::bench_infer_report::{Case, Header, Roof};
use crate::estimate::inference::{Prefill, decode_roof_s};
use crate::eval::method::{Keeps, Method};
use crate::footprint::holdings::Bill;
use crate::footprint::workload::Workload;
use crate::infer::task::{Answer, Task, Times};
use crate::mask::head_mask::HeadMask;
use crate::model::llama::Llama;
use crate::model::tensor_names;
use crate::profile::measure::quantile;
use crate::real::real;

/// A method and what has been seen of it.
pub(super) struct Run {
    /// The method.
    pub(super) method: Method,
    /// Of every answer.
    pub(super) times: Times,
    /// The first answer.
    pub(super) first: Option<Answer>,
    /// The most held in any answer.
    pub(super) peak_bytes: Option<u64>,
    /// Held before the first.
    pub(super) start_bytes: Option<u64>,
    /// Whether the peak leaves out what came before.
    pub(super) is_peak_of_answers: bool,
}

impl Run {
    /// Nothing has been seen yet.
    pub(super) fn new(method: Method) -> Self {
        Self {
            method,
            times: Times::default(),
            first: None,
            peak_bytes: None,
            start_bytes: None,
            is_peak_of_answers: false,
        }
    }

    /// What its answers say; nothing if there are none.
    pub(super) fn case(
        mut self,
        llama: &Llama,
        workload: &Workload,
        (task, header): (&Task<'_>, &Header),
    ) -> Option<Case> {
        let answer = self.first.take()?;
        let cost = task.cost(&answer, self.times);
        let config = llama.config();
        let bill = self
            .method
            .keeps
            .holdings(config.shape.group_size())
            .bill(workload);
        let usage = &answer.usage;
        let of_formula = |entries: f64| whole(entries * wide(usage.num_heads * usage.entry_bytes));
        let prefill_s = quantile(&cost.prefill_ms, 0.5) / 1e3;
        let pairs = wide(answer.prefill_usage.attended_pairs);
        let prefill_flops = Prefill::new(&config.sizes(), header.prompt_len - 1, pairs);
        let prefill_tflops_per_s = prefill_flops.total() / prefill_s / 1e12;
        let decode_ms_per_token = quantile(&cost.decode_ms, 0.5) / real(header.num_new_tokens);
        let Bill { model: account, .. } = bill;
        Some(Case {
            sparsity: self.method.mask().map(HeadMask::sparsity),
            streaming: match &self.method.keeps {
                Keeps::Mask(_, streaming) => Some(*streaming),
                _ => None,
            },
            method: self.method.name,
            prefill_s,
            decode_ms_per_token,
            peak_bytes: self.peak_bytes,
            start_bytes: self.start_bytes,
            is_peak_of_answers: self.is_peak_of_answers,
            formula_kv_bytes: of_formula(account.end_entries),
            formula_kv_peak_bytes: of_formula(account.peak_entries),
            prefill_flops,
            prefill_tflops_per_s,
            mfu: header.peak_tflops.map(|peak| prefill_tflops_per_s / peak),
            decode: roof(llama, &answer, header, decode_ms_per_token),
            to_full: None,
            cost,
        })
    }
}

/// What a decoded token of `answer` reads at least, and how long that takes.
fn roof(llama: &Llama, answer: &Answer, header: &Header, ms_per_token: f64) -> Roof {
    let weight_bytes = decoded_bytes(llama);
    let (first, last) = (&answer.prefill_usage, &answer.usage);
    let kept = f64::midpoint(wide(first.stored_entries), wide(last.stored_entries));
    let kv_bytes = kept * wide(last.entry_bytes);
    let roof_s = decode_roof_s(wide(weight_bytes), kv_bytes, header.bandwidth.bytes_per_s);
    Roof {
        weight_bytes,
        kv_bytes,
        roof_ms: roof_s * 1e3,
        roof_share: roof_s * 1e3 / ms_per_token,
    }
}

/// Bytes of the weights that a decoded token needs, as they lie in memory: all but the embeddings of other tokens, unless these are
/// the output matrix too.
fn decoded_bytes(llama: &Llama) -> u64 {
    let tensors = llama.named_tensors().into_iter();
    let needed = tensors.filter(|(name, _)| llama.is_tied() || name != tensor_names::EMBEDDING);
    needed
        .map(|(_, weight)| weight.numel() as u64 * weight.kind().elt_size_in_bytes() as u64)
        .sum()
}

#[expect(clippy::cast_precision_loss, reason = "counts and bytes below 2^52")]
fn wide(count: u64) -> f64 {
    count as f64
}

/// The nearest count: means over heads, times heads, are whole but for rounding.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "bytes between 0 and 2^52"
)]
fn whole(bytes: f64) -> u64 {
    bytes.round() as u64
}
