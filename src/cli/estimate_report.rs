//! What `prulong estimate` prints: the table and the JSON object.

use crate::cli::estimate_run::RunWork;
use crate::config::loss::{Offload, Saving};
use crate::estimate::flops::Flops;
use crate::estimate::memory::Memory;
use crate::estimate::plan::{Gates, Plan, WeightUpdates};
use crate::estimate::remedy::{Change, Offloaded, Remedy, offloaded, remedies};
use serde_json::{Value, json};

/// Stable word for programs that read the object.
const SCHEMA: &str = "prulong.estimate/1";

/// An answered plan.
pub(super) struct Report {
    name: String,
    plan: Plan,
    /// Bytes by part.
    pub(super) memory: Memory,
    /// FLOPs by part.
    pub(super) flops: Flops,
    limit_bytes: Option<f64>,
    remedies: Vec<Remedy>,
    offloaded: Option<Offloaded>,
    flops_per_s: Option<f64>,
    work: Option<RunWork>,
}

impl Report {
    /// Estimates `plan`, and all rows of a run, for a device of `limit_bytes` that does `flops_per_s`.
    pub(super) fn new(
        name: String,
        (plan, work): (Plan, Option<RunWork>),
        limit_bytes: Option<f64>,
        flops_per_s: Option<f64>,
    ) -> Self {
        let memory = Memory::new(&plan);
        let unfit = limit_bytes.filter(|limit| memory.peak() > *limit);
        Self {
            flops: Flops::new(&plan),
            remedies: unfit.map_or_else(Vec::new, |limit| remedies(&plan, limit)),
            offloaded: unfit.and_then(|limit| offloaded(&plan, limit)),
            memory,
            name,
            plan,
            limit_bytes,
            flops_per_s,
            work,
        }
    }

    /// The changes that make it fit, in one sentence; nothing if it fits.
    pub(super) fn way_out(&self) -> String {
        way_out(&self.remedies) + &beside(self.offloaded.as_ref())
    }

    fn seconds(&self) -> Option<f64> {
        self.flops_per_s.map(|rate| self.flops.performed() / rate)
    }

    /// The object of `--json`.
    pub(super) fn object(&self) -> Value {
        let plan = &self.plan;
        let remedy = |remedy: &Remedy| {
            json!({
                "change": remedy.change.setting(),
                "peak_bytes": remedy.peak_bytes,
                "fits": remedy.fits,
            })
        };
        let offloaded = |found: &Offloaded| {
            json!({
                "changes": settings(&found.changes),
                "peak_bytes": found.peak_bytes,
                "host_bytes": found.host_bytes,
            })
        };
        json!({
            "schema": SCHEMA,
            "model": { "name": self.name, "num_params": plan.model.num_params(), "sizes": plan.model },
            "plan": {
                "num_tokens": plan.num_tokens,
                "span": plan.span,
                "dtype": plan.dtype,
                "save": plan.memory.saving,
                "offload": plan.memory.offload,
                "mlp_chunk_len": plan.memory.mlp_chunk_len,
                "loss_chunk_len": plan.loss.chunk_len,
                "gates": plan.gates,
                "weights": plan.weights,
            },
            "bytes": self.memory,
            "peak_bytes": self.memory.peak(),
            "flops": self.flops,
            "useful_flops": self.flops.useful(),
            "performed_flops": self.flops.performed(),
            "flops_per_s": self.flops_per_s,
            "seconds_per_row": self.seconds(),
            "run": self.work.as_ref().map(|work| work.object(self.flops_per_s)),
            "limit_bytes": self.limit_bytes,
            "fits": self.limit_bytes.map(|limit| self.memory.peak() <= limit),
            "remedies": self.remedies.iter().map(remedy).collect::<Vec<_>>(),
            "offloaded": self.offloaded.as_ref().map(offloaded),
        })
    }

    /// The table.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = vec![self.head(), self.subject(), String::new()];
        lines.extend(self.memory_lines());
        lines.push(String::new());
        lines.extend(self.flop_lines());
        lines.push(String::new());
        lines.push(self.time_line());
        lines.extend(self.work.as_ref().map(|work| work.line(self.flops_per_s)));
        lines.extend(self.fit_lines());
        lines
    }

    fn head(&self) -> String {
        let plan = &self.plan;
        format!(
            "{}: {:.3} billion weights; one row of {} tokens, {}, keeping {}",
            self.name,
            plan.model.num_params() / 1e9,
            plan.num_tokens,
            word(&plan.dtype),
            word(&plan.memory.saving),
        )
    }

    fn subject(&self) -> String {
        let span = self.plan.span;
        let gates = match self.plan.gates {
            Gates::Between => "gates between 0 and 1: every head runs both branches".to_owned(),
            Gates::Distilled => {
                "a teacher with full attention and a student with streaming attention in every head"
                    .to_owned()
            }
            Gates::Ends { sparsity } => format!("gates at 0 or 1, {sparsity} of them at 0"),
            Gates::Shares { full, streaming } => {
                format!("{full} of the heads run full attention, {streaming} streaming attention")
            }
        };
        let weights = match self.plan.weights {
            WeightUpdates::Frozen => "weights frozen",
            WeightUpdates::AdamW => "weights train",
        };
        format!(
            "{gates}; {weights}; sink {}, window {}, block {}",
            span.sink_len(),
            span.window_len(),
            span.block_len()
        )
    }

    fn memory_lines(&self) -> Vec<String> {
        let memory = &self.memory;
        let moment = if memory.loss > memory.backward {
            "beside it in the loss"
        } else {
            "beside it, last layer backward"
        };
        let mut rows = vec![("weights", memory.weights)];
        if memory.optimizer > 0.0 {
            rows.push(("gradients, masters, moments", memory.optimizer));
        }
        let [inputs, attention, rest] = match self.plan.memory.offload {
            Offload::None => [
                "kept: inputs of layers",
                "kept: attention and lse",
                "kept: q, k, v, feed-forward",
            ],
            Offload::Host => [
                "kept: input of one layer",
                "kept: its attention and lse",
                "kept: its q, k, v, feed-forward",
            ],
        };
        rows.push((inputs, memory.saved_inputs));
        if self.plan.memory.saving != Saving::Inputs {
            rows.push((attention, memory.saved_attention));
        }
        if self.plan.memory.saving == Saving::All {
            rows.push((rest, memory.saved_rest));
        }
        rows.push(("row: ids, rotary angles", memory.row));
        rows.push((moment, memory.transient()));
        let mut lines = vec![format!("{:<32} {:>10}", "memory", "GB")];
        let line = |(name, bytes): (&str, f64)| format!("{name:<32} {:>10.2}", bytes / 1e9);
        lines.extend(rows.into_iter().map(line));
        lines.push(line(("peak", memory.peak())));
        if self.plan.memory.offload == Offload::Host {
            lines.push(line(("in pinned host memory", memory.host)));
        }
        let chunk = self.plan.loss.chunk_len.min(self.plan.num_tokens);
        let logits = memory.logits_chunk / 1e9;
        lines.push(format!(
            "(gates, multipliers and their moments: below 0.01; logits of {chunk} tokens: {logits:.2})"
        ));
        lines
    }

    fn flop_lines(&self) -> Vec<String> {
        let flops = &self.flops;
        let (unit, name) = unit(flops.performed());
        let mut lines = vec![format!("{:<32} {:>10} {:>10}", name, "forward", "backward")];
        for (name, forward, backward) in [
            (
                "products with weights",
                flops.gemm_forward,
                flops.gemm_backward,
            ),
            ("full attention", flops.full_forward, flops.full_backward),
            (
                "streaming attention",
                flops.streaming_forward,
                flops.streaming_backward,
            ),
            ("logits", flops.head / 2.0, flops.head / 2.0),
        ] {
            lines.push(format!(
                "{name:<32} {:>10.3} {:>10.3}",
                forward / unit,
                backward / unit
            ));
        }
        for (name, amount) in [
            ("gradients of weights", flops.weight_grads),
            ("no gate needs", -flops.skipped),
            ("computed again", flops.recomputed),
        ] {
            if amount.abs() > 0.0 {
                lines.push(format!("{name:<43} {:>10.3}", amount / unit));
            }
        }
        lines.push(format!("{:<43} {:>10.3}", "all", flops.performed() / unit));
        lines
    }

    fn time_line(&self) -> String {
        match (self.flops_per_s, self.seconds()) {
            (Some(rate), Some(seconds)) => {
                format!("time: {seconds:.2} s a row at {:.1} TFLOP/s", rate / 1e12)
            }
            _ => "time: not estimated: give --tflops, a measured rate of this device".to_owned(),
        }
    }

    fn fit_lines(&self) -> Vec<String> {
        let Some(limit) = self.limit_bytes else {
            return Vec::new();
        };
        let gigabytes = limit / 1e9;
        let verdict = if self.memory.peak() <= limit {
            format!("fits into {gigabytes:.1} GB")
        } else if self.remedies.is_empty() {
            format!("does not fit into {gigabytes:.1} GB, nor does any shorter row")
        } else {
            format!("does not fit into {gigabytes:.1} GB; one after the other:")
        };
        let line = |remedy: &Remedy| {
            let end = if remedy.fits { ", fits" } else { "" };
            let peak = remedy.peak_bytes / 1e9;
            format!("  {:<44} -> {peak:.2} GB{end}", remedy.change.setting())
        };
        let alternative = self.offloaded.as_ref().map(|found| {
            let (settings, peak) = (settings(&found.changes), found.peak_bytes / 1e9);
            format!(
                "or, with {:.1} GB of pinned host memory (copies not measured on a GPU):\n  {settings:<44} -> {peak:.2} GB, fits",
                found.host_bytes / 1e9
            )
        });
        std::iter::once(verdict)
            .chain(self.remedies.iter().map(line))
            .chain(alternative)
            .collect()
    }
}

/// The changes up to the first that fits, as one sentence; says so where none does.
pub(super) fn way_out(remedies: &[Remedy]) -> String {
    let Some(last) = remedies.last().filter(|last| last.fits) else {
        return "no row fits: the weights need most of the memory; use a larger device".to_owned();
    };
    let mut kept: Vec<String> = Vec::new();
    for Remedy { change, .. } in remedies {
        // A later policy replaces an earlier one.
        if matches!(change, Change::Saving(_)) {
            kept.clear();
        }
        kept.push(change.setting());
    }
    let peak = last.peak_bytes / 1e9;
    format!("{} needs {peak:.1} GB", kept.join(", "))
}

/// The alternative of keeping in host memory what is kept, behind [`way_out`]'s sentence; nothing where it does not help.
pub(super) fn beside(offloaded: Option<&Offloaded>) -> String {
    offloaded.map_or_else(String::new, |found| {
        format!(
            "; or {} needs {:.1} GB, and {:.1} GB of host memory",
            settings(&found.changes),
            found.peak_bytes / 1e9,
            found.host_bytes / 1e9
        )
    })
}

fn settings(changes: &[Change]) -> String {
    let settings: Vec<String> = changes.iter().map(|change| change.setting()).collect();
    settings.join(", ")
}

/// The word that files use for a setting.
fn word(value: &impl serde::Serialize) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}

/// A unit in which `flops` reads well.
fn unit(flops: f64) -> (f64, &'static str) {
    match flops {
        1e14.. => (1e15, "PFLOP a row"),
        1e11.. => (1e12, "TFLOP a row"),
        _ => (1e9, "GFLOP a row"),
    }
}
