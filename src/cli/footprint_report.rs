//! The figures of `prulong footprint`, as rows, as JSON, as text.

use crate::cli::footprint_methods::Subject;
use crate::cli::machine::show_bytes;
use crate::cli::shape_args::Model;
use crate::eval::method::Streaming;
use crate::fault::AnyFault;
use crate::footprint::gap::{Gap, gaps};
use crate::footprint::predict::{Account, Prediction};
use crate::footprint::workload::{Convention, Workload};
use crate::model::config::WeightDtype;
use crate::real::real;

/// Name and version of the JSON.
const SCHEMA: &str = "prulong.footprint/1";

/// A dtype of keys and values.
#[derive(clap::ValueEnum, Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum CacheDtype {
    /// 32-bit float.
    F32,
    /// IEEE half precision.
    F16,
    /// Brain float.
    Bf16,
}

/// What is generated, whatever the chunk.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lengths {
    pub(super) prompt_len: usize,
    pub(super) output_len: usize,
    pub(super) convention: Convention,
}

/// What all rows share.
pub(super) struct Report<'a> {
    model: &'a Model,
    dtype: CacheDtype,
    lengths: Lengths,
}

/// One method in chunks of one length.
#[derive(Debug, serde::Serialize)]
pub(super) struct Row {
    method: String,
    chunk_len: usize,
    streaming: Option<StreamingText>,
    num_retrieval: Option<usize>,
    kv_footprint: f64,
    kv_peak: f64,
    /// Where heads choose for themselves.
    at_most: Option<Prediction>,
    end_bytes: u64,
    peak_bytes: u64,
    full_bytes: u64,
    /// One per layer where layers differ, else none.
    layers: Vec<LayerRow>,
    left_out: Vec<Gap>,
}

/// How streaming heads stream.
#[derive(Debug, PartialEq, Eq, serde::Serialize)]
struct StreamingText {
    rule: &'static str,
    sink_len: usize,
    window_len: usize,
}

/// One layer.
#[derive(Debug, serde::Serialize)]
struct LayerRow {
    layer: usize,
    kv_footprint: f64,
    kv_peak: f64,
    end_bytes: u64,
    peak_bytes: u64,
}

impl CacheDtype {
    fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
        }
    }

    fn num_bytes(self) -> usize {
        match self {
            Self::F32 => WeightDtype::F32.num_bytes(),
            Self::F16 => WeightDtype::F16.num_bytes(),
            Self::Bf16 => WeightDtype::Bf16.num_bytes(),
        }
    }

    fn of(weights: WeightDtype) -> Self {
        match weights {
            WeightDtype::F32 => Self::F32,
            WeightDtype::F16 => Self::F16,
            WeightDtype::Bf16 => Self::Bf16,
        }
    }
}

impl<'a> Report<'a> {
    /// Keys and values of `dtype`, else of the model's own, else bf16.
    pub(super) fn new(model: &'a Model, dtype: Option<CacheDtype>, lengths: Lengths) -> Self {
        let own = model.dtype.map(CacheDtype::of);
        Self {
            model,
            dtype: dtype.or(own).unwrap_or(CacheDtype::Bf16),
            lengths,
        }
    }

    /// Every subject in chunks of every length; adds what the reader should know to `warnings`.
    ///
    /// # Errors
    /// If a length or a subject's setting does not fit.
    pub(super) fn rows(
        &self,
        subjects: &[Subject],
        chunk_lens: &[usize],
        warnings: &mut Vec<String>,
    ) -> Result<Vec<Row>, AnyFault> {
        let mut rows = Vec::new();
        for subject in subjects {
            for &chunk_len in chunk_lens {
                subject.check(chunk_len)?;
                let workload = self.workload(chunk_len)?;
                let single = workload.prefill_len() <= workload.chunk_len();
                let warning = single.then(|| subject.single_chunk()).flatten();
                warnings.extend(warning.filter(|new| !warnings.contains(new)));
                rows.push(self.row(subject, chunk_len, &workload));
            }
        }
        Ok(rows)
    }

    fn workload(&self, chunk_len: usize) -> Result<Workload, AnyFault> {
        let of = self.lengths;
        Ok(Workload::new(
            of.prompt_len,
            of.output_len,
            chunk_len,
            of.convention,
        )?)
    }

    fn row(&self, subject: &Subject, chunk_len: usize, workload: &Workload) -> Row {
        let bill = subject.holdings.bill(workload);
        let shape = &self.model.shape;
        let most = subject.holdings.at_most(workload);
        let layer = |(layer, account): (usize, &Account)| LayerRow {
            layer,
            kv_footprint: account.figures.kv_footprint,
            kv_peak: account.figures.kv_peak,
            end_bytes: self.bytes(account.end_entries, shape.num_kv_heads),
            peak_bytes: self.bytes(account.peak_entries, shape.num_kv_heads),
        };
        let layers = bill.layers.iter().enumerate().map(layer);
        let mut left_out = gaps(&subject.holdings, workload);
        left_out.extend(subject.whole_heads(workload, shape.num_gates()));
        Row {
            method: subject.name.clone(),
            chunk_len,
            streaming: subject.streaming.map(StreamingText::from),
            num_retrieval: subject.heads.map(|(num_retrieval, _)| num_retrieval),
            kv_footprint: bill.model.figures.kv_footprint,
            kv_peak: bill.model.figures.kv_peak,
            at_most: (most != bill.model.figures).then_some(most),
            end_bytes: self.bytes(bill.model.end_entries, shape.num_gates()),
            peak_bytes: self.bytes(bill.model.peak_entries, shape.num_gates()),
            full_bytes: self.bytes(real(workload.total_len()), shape.num_gates()),
            layers: if bill.layers.len() > 1 {
                layers.collect()
            } else {
                Vec::new()
            },
            left_out,
        }
    }

    /// Bytes of one entry of one kv head: a key and a value.
    fn entry_bytes(&self) -> usize {
        2 * self.model.shape.head_dim * self.dtype.num_bytes()
    }

    /// Bytes of `entries` in each of `num_heads` kv heads.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "positive, and far below 2^53 for any model"
    )]
    fn bytes(&self, entries: f64, num_heads: usize) -> u64 {
        let of_entry = real((num_heads * self.entry_bytes()) as u64);
        (entries * of_entry).round() as u64
    }

    /// Everything as one object.
    pub(super) fn object(&self, rows: &[Row], warnings: &[String]) -> serde_json::Value {
        let shape = &self.model.shape;
        let of = self.lengths;
        serde_json::json!({
            "schema": SCHEMA,
            "model": {
                "name": self.model.name,
                "num_layers": shape.num_layers,
                "num_heads": self.model.knows_heads.then_some(shape.num_heads),
                "num_kv_heads": shape.num_kv_heads,
                "head_dim": shape.head_dim,
            },
            "dtype": self.dtype,
            "token_bytes": shape.num_gates() * self.entry_bytes(),
            "prompt_len": of.prompt_len,
            "output_len": of.output_len,
            "convention": of.convention,
            "rows": rows,
            "warnings": warnings,
        })
    }
}

impl From<Streaming> for StreamingText {
    fn from(streaming: Streaming) -> Self {
        Self {
            rule: streaming.rule.name(),
            sink_len: streaming.span.sink_len(),
            window_len: streaming.span.window_len(),
        }
    }
}

/// The report as lines, with every layer of methods whose layers differ if `all_layers`.
pub(super) fn lines(report: &Report<'_>, rows: &[Row], all_layers: bool) -> Vec<String> {
    let mut lines = heading(report);
    let names = rows.iter().map(|row| row.method.chars().count());
    let width = names.fold(8, usize::max) + 2;
    let titles = ["end", "peak", "full"].map(|title| format!("{title:>11}"));
    lines.push(format!(
        "{:<width$}{:>8}{:>11}{:>11}{}",
        "",
        "chunk",
        "footprint",
        "peak",
        titles.concat()
    ));
    for row in rows {
        let bytes = [row.end_bytes, row.peak_bytes, row.full_bytes];
        let bytes = bytes.map(|bytes| format!("{:>11}", show_bytes(bytes)));
        lines.push(format!(
            "{:<width$}{:>8}{:>11.6}{:>11.6}{}",
            row.method,
            row.chunk_len,
            row.kv_footprint,
            row.kv_peak,
            bytes.concat()
        ));
    }
    lines.extend(streaming(rows));
    lines.extend(left_out(rows));
    for row in rows.iter().filter(|row| !row.layers.is_empty()) {
        lines.extend(layers(row, all_layers));
    }
    lines
}

fn heading(report: &Report<'_>) -> Vec<String> {
    let (model, of) = (report.model, report.lengths);
    let shape = &model.shape;
    let token_bytes = (shape.num_gates() * report.entry_bytes()) as u64;
    let whose = match of.convention {
        Convention::Counted => "counted as the caches do",
        Convention::Reference => "as the reference's script counts",
    };
    vec![
        format!(
            "{}: {} layers of {} kv heads, head_dim {}; {}, {} a token",
            model.name,
            shape.num_layers,
            shape.num_kv_heads,
            shape.head_dim,
            report.dtype.name(),
            show_bytes(token_bytes)
        ),
        format!(
            "prompt of {} tokens, output of {}; {whose}",
            of.prompt_len, of.output_len
        ),
        String::new(),
    ]
}

/// How the heads of each method stream; of all at once where they stream alike.
fn streaming(rows: &[Row]) -> Vec<String> {
    let mut said: Vec<(&str, &StreamingText)> = Vec::new();
    for row in rows {
        if let Some(streaming) = &row.streaming
            && !said.contains(&(row.method.as_str(), streaming))
        {
            said.push((&row.method, streaming));
        }
    }
    let text = |of: &StreamingText| {
        let StreamingText {
            rule,
            sink_len,
            window_len,
        } = of;
        format!("rule {rule}, sink {sink_len}, window {window_len}")
    };
    match said.as_slice() {
        [] => Vec::new(),
        [(_, first), others @ ..] if others.iter().all(|(_, other)| other == first) => {
            vec![format!("streaming heads: {}", text(first))]
        }
        all => {
            let line = |(method, of): &(&str, &StreamingText)| format!("{method}: {}", text(of));
            all.iter().map(line).collect()
        }
    }
}

fn left_out(rows: &[Row]) -> Vec<String> {
    let mut lines = Vec::new();
    for row in rows {
        for gap in &row.left_out {
            lines.push(format!(
                "  {}, chunk {}: {}: {:.6} -> {:.6} ({:+.6})",
                row.method,
                row.chunk_len,
                gap.cause,
                gap.from,
                gap.to,
                gap.difference()
            ));
        }
    }
    if !lines.is_empty() {
        lines.insert(0, "left out of the footprint:".to_owned());
    }
    lines
}

fn layers(row: &Row, all: bool) -> Vec<String> {
    let by_footprint = |a: &&LayerRow, b: &&LayerRow| a.kv_footprint.total_cmp(&b.kv_footprint);
    let (Some(least), Some(most)) = (
        row.layers.iter().min_by(by_footprint),
        row.layers.iter().max_by(by_footprint),
    ) else {
        return Vec::new();
    };
    let mut lines = vec![format!(
        "layers of {}, chunk {}: footprint from {:.6} (layer {}) to {:.6} (layer {})",
        row.method, row.chunk_len, least.kv_footprint, least.layer, most.kv_footprint, most.layer
    )];
    if all {
        lines.extend(row.layers.iter().map(|layer| {
            format!(
                "  layer {:>3}{:>11.6}{:>11.6}{:>11}{:>11}",
                layer.layer,
                layer.kv_footprint,
                layer.kv_peak,
                show_bytes(layer.end_bytes),
                show_bytes(layer.peak_bytes)
            )
        }));
    }
    lines
}
