//! What `prulong bench train` prints: the table and the JSON object.

use crate::cli::compute::Compute;
use crate::config::loss::Offload;
use crate::estimate::plan::Plan;
use crate::eval::results::MachineIdentity;
use crate::profile::summary::Summary;
use serde_json::{Value, json};

/// Stable word for programs that read the object.
const SCHEMA: &str = "prulong.bench-train/1";

/// What one share of streaming heads costs.
#[derive(Debug, serde::Serialize)]
pub(super) struct Case {
    /// Gates at 0, as a share.
    pub(super) sparsity: f64,
    /// Gates strictly between 0 and 1, as a share: their heads run both branches.
    pub(super) between: f64,
    /// Wall time of each step.
    pub(super) samples_s: Vec<f64>,
    /// Their median.
    pub(super) median_s: f64,
    /// Tokens by the median.
    pub(super) tokens_per_s: f64,
    /// FLOPs that the gradients need, by `prulong estimate`'s count.
    pub(super) useful_flops: f64,
    /// The same by the median, in units of 10^12.
    pub(super) useful_tflops_per_s: f64,
    /// Share of the peak, where one was given.
    pub(super) mfu: Option<f64>,
    /// The most held at one time: tensors of a CUDA device, else resident memory.
    pub(super) peak_bytes: Option<u64>,
    /// Held before the first step.
    pub(super) start_bytes: Option<u64>,
    /// Whether the peak leaves out what came before the steps.
    pub(super) is_peak_of_steps: bool,
    /// Beside weights: what `prulong estimate` counts for a step.
    pub(super) estimated_step_bytes: f64,
    /// Where the time of one recorded step went.
    pub(super) profile: Summary,
}

impl Case {
    /// What the steps held beside what was there before them.
    fn step_bytes(&self) -> Option<f64> {
        let (peak, start) = self.peak_bytes.zip(self.start_bytes)?;
        #[expect(clippy::cast_precision_loss, reason = "memory below 2^52 bytes")]
        let bytes = peak.saturating_sub(start) as f64;
        Some(bytes)
    }
}

/// All shares of one model and length.
pub(super) struct Report {
    name: String,
    plan: Plan,
    machine: MachineIdentity,
    peak_tflops: Option<f64>,
    /// One for each share.
    pub(super) cases: Vec<Case>,
}

impl Report {
    /// A report without cases.
    pub(super) fn new(
        name: String,
        plan: Plan,
        compute: &Compute,
        peak_tflops: Option<f64>,
    ) -> Self {
        Self {
            name,
            plan,
            machine: compute.identity(),
            peak_tflops,
            cases: Vec::new(),
        }
    }

    /// The object of `--json`.
    pub(super) fn object(&self) -> Value {
        json!({
            "schema": SCHEMA,
            "model": { "name": self.name, "sizes": self.plan.model },
            "num_tokens": self.plan.num_tokens,
            "span": self.plan.span,
            "save": self.plan.memory.saving,
            "offload": self.plan.memory.offload,
            "mlp_chunk_len": self.plan.memory.mlp_chunk_len,
            "loss_chunk_len": self.plan.loss.chunk_len,
            "machine": self.machine,
            "peak_tflops": self.peak_tflops,
            "cases": self.cases,
        })
    }

    /// The tables.
    pub(super) fn lines(&self) -> Vec<String> {
        let machine = &self.machine;
        let saving = serde_json::to_value(self.plan.memory.saving).unwrap_or_default();
        let place = match self.plan.memory.offload {
            Offload::None => "",
            Offload::Host => " in host memory",
        };
        let mut lines = vec![
            format!(
                "{}: one row of {} tokens, {} on {}, {}, {} threads, keeping {}{place}",
                self.name,
                self.plan.num_tokens,
                machine.dtype,
                machine.device,
                machine.backend,
                machine.num_threads,
                saving.as_str().unwrap_or_default(),
            ),
            String::new(),
            format!(
                "{:>8} {:>8} {:>10} {:>10} {:>10} {:>7} {:>9} {:>9} {:>9}",
                "sparsity",
                "between",
                "s a row",
                "tokens/s",
                "TFLOP/s",
                "MFU",
                "peak GB",
                "step GB",
                "estimate"
            ),
        ];
        lines.extend(self.cases.iter().map(row));
        for case in &self.cases {
            lines.push(String::new());
            let Case {
                sparsity, between, ..
            } = case;
            let gates = format!("sparsity {sparsity}, {between} of the gates between");
            lines.push(format!("{gates}, one recorded step"));
            lines.extend(case.profile.table().lines().map(str::to_owned));
        }
        lines
    }
}

fn row(case: &Case) -> String {
    let gigabytes =
        |bytes: Option<f64>| bytes.map_or("-".to_owned(), |b| format!("{:.3}", b / 1e9));
    #[expect(clippy::cast_precision_loss, reason = "memory below 2^52 bytes")]
    let peak = case.peak_bytes.map(|bytes| bytes as f64);
    format!(
        "{:>8} {:>8} {:>10.3} {:>10.1} {:>10.4} {:>7} {:>9} {:>9} {:>9}",
        case.sparsity,
        case.between,
        case.median_s,
        case.tokens_per_s,
        case.useful_tflops_per_s,
        case.mfu
            .map_or("-".to_owned(), |mfu| format!("{:.1} %", 100.0 * mfu)),
        gigabytes(peak),
        gigabytes(case.step_bytes()),
        gigabytes(Some(case.estimated_step_bytes)),
    )
}
