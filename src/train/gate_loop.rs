//! The run of `prulong train`: read rows, step, log, save; continues bit for bit from its checkpoints.

use super::gate_state::{restore, state};
use super::gate_step::{Gates, StepReport, Trainer};
use super::red_flags::{Limits, RedFlags};
use super::run_io::{Observer, RunIo};
use crate::data::loader::Loader;
use crate::fault::AnyFault;
use crate::gate::hard_concrete::prob_closed;
use crate::metrics::heatmap::Heatmap;
use crate::metrics::record::Record;
use crate::metrics::tag;
use crate::model::llama::Llama;
use crate::model::train_pass::Row;
use std::time::{Duration, Instant};

/// How long a run is and how often it reports.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Optimizer steps.
    pub num_steps: u64,
    /// Rows of one step; each is a micro-batch.
    pub rows_per_step: usize,
    /// Steps between logged lines.
    pub log_every: u64,
}

/// What happened since the last logged line.
struct Interval {
    started: Instant,
    num_steps: u64,
    num_tokens: usize,
    wait: Duration,
}

impl Interval {
    fn new() -> Self {
        Self {
            started: Instant::now(),
            num_steps: 0,
            num_tokens: 0,
            wait: Duration::ZERO,
        }
    }
}

/// Runs every step from `start` to the end.
///
/// # Errors
/// [`TrainError::Interrupted`](super::error::TrainError::Interrupted) after a checkpoint was saved, [`TrainError::NotFinite`](super::error::TrainError::NotFinite) before an update, failures of data
/// and storage.
pub fn run(
    trainer: &mut Trainer,
    loader: &mut Loader,
    plan: Plan,
    (io, start): (&mut RunIo, u64),
    observer: &mut dyn Observer,
) -> Result<(), AnyFault> {
    let num_left = plan.num_steps.saturating_sub(start);
    io.require_space(
        &state(trainer, loader, loader.position())?,
        num_left,
        plan.log_every,
    )?;
    let mut flags = red_flags(trainer, plan, io)?;
    let mut interval = Interval::new();
    for step in start..plan.num_steps {
        let position = loader.position();
        let Some(rows) = read(trainer, loader, plan.rows_per_step, io)? else {
            io.save(step, &state(trainer, loader, position)?, observer)?;
            return Err(io.interrupted(step));
        };
        let interrupt = io.interrupt.clone();
        let Some(report) = trainer.step_unless(&rows, step, &|| interrupt.requested())? else {
            io.save(step, &state(trainer, loader, position)?, observer)?;
            return Err(io.interrupted(step));
        };
        let done = step + 1;
        interval.num_steps += 1;
        interval.num_tokens += rows.iter().map(|row| row.ids.numel()).sum::<usize>();
        interval.wait += loader.take_wait();
        observer.stepped(done, plan.num_steps);
        if done.is_multiple_of(plan.log_every) || done == plan.num_steps {
            let mut record = line(trainer, done, plan, &report, &interval);
            if let (Some(flags), Gates::Trained { trainer: gates, .. }) =
                (&mut flags, &trainer.gates)
            {
                flags.observe(&mut record, &gates.bank);
            }
            io.record(&mut record)?;
            pictures(trainer, io, done);
            observer.logged(&record, plan.num_steps);
            interval = Interval::new();
        }
        if io.is_save_due(done)? || done == plan.num_steps {
            io.save(done, &state(trainer, loader, loader.position())?, observer)?;
        }
    }
    Ok(())
}

/// The red flags of a run, as far as its records go; nothing if gates are frozen.
fn red_flags(trainer: &Trainer, plan: Plan, io: &RunIo) -> Result<Option<RedFlags>, AnyFault> {
    let Some(limits) = Limits::of(trainer, plan.num_steps) else {
        return Ok(None);
    };
    Ok(Some(RedFlags::new(limits, &io.records()?)))
}

/// Continues from a checkpoint: restores every number and seeks the data.
///
/// # Errors
/// [`TrainError::State`](super::error::TrainError::State) for what is missing, and a cursor that does not fit the data.
pub fn resume(
    trainer: &mut Trainer,
    loader: &mut Loader,
    loaded: &crate::checkpoint::store::Loaded,
) -> Result<(), AnyFault> {
    let position = restore(trainer, loader, loaded)?;
    Ok(loader.seek(position)?)
}

/// The next `count` rows as tensors of `model`.
///
/// # Errors
/// Whatever is wrong with the data.
pub fn read_rows(model: &Llama, loader: &mut Loader, count: usize) -> Result<Vec<Row>, AnyFault> {
    let row = |_| {
        let row = loader.next_row()?;
        Ok(Row::new(model, &row.ids, &row.labels, &row.doc_lens))
    };
    (0..count).map(row).collect()
}

/// The rows of one step, or nothing if a signal asks to stop.
fn read(
    trainer: &Trainer,
    loader: &mut Loader,
    count: usize,
    io: &RunIo,
) -> Result<Option<Vec<Row>>, AnyFault> {
    let mut rows = Vec::with_capacity(count);
    for _ in 0..count {
        if io.interrupt.requested() {
            return Ok(None);
        }
        rows.extend(read_rows(&trainer.model, loader, 1)?);
    }
    Ok(Some(rows))
}

/// The metrics of one logged step.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn line(
    trainer: &Trainer,
    done: u64,
    plan: Plan,
    report: &StepReport,
    interval: &Interval,
) -> Record {
    let mut record = Record::new(done);
    record.scalar(tag::LOSS_LM, report.loss);
    if let (
        Some(gates),
        Gates::Trained {
            trainer: gate_trainer,
            ..
        },
    ) = (&report.gates, &trainer.gates)
    {
        record
            .scalar(tag::LOSS_REG, gates.penalty)
            .scalar(tag::LOSS_TOTAL, report.loss + gates.penalty)
            .scalar(tag::SPARSITY_TARGET, gates.target)
            .scalar(tag::SPARSITY_EXPECTED, gates.sparsity)
            .scalar(tag::LAMBDA_1, gate_trainer.multipliers.lambda_1)
            .scalar(tag::LAMBDA_2, gate_trainer.multipliers.lambda_2);
    }
    if let Some(heads) = trainer.head_counts() {
        record
            .scalar(tag::HEADS_RETRIEVAL, heads.retrieval as f64)
            .scalar(tag::HEADS_STREAMING, heads.streaming as f64)
            .scalar(tag::HEADS_UNDECIDED, heads.undecided as f64);
    }
    record
        .scalar(tag::GRAD_GATES, report.grad_norm)
        .scalar(tag::LR, report.lr);
    let seconds = interval.started.elapsed().as_secs_f64().max(1e-9);
    let per_step = seconds / interval.num_steps.max(1) as f64;
    record
        .scalar(tag::PERF_TOK_S, interval.num_tokens as f64 / seconds)
        .scalar(tag::PERF_STEP_MS, per_step * 1e3)
        .scalar(tag::PERF_DATA_WAIT_MS, interval.wait.as_secs_f64() * 1e3)
        .scalar(tag::TIME_ETA, per_step * (plan.num_steps - done) as f64);
    if report.num_empty > 0 {
        let text = format!("{} micro-batches without a single label", report.num_empty);
        record.event("train.empty_micro_batch", text);
    }
    record
}

/// Histograms of the gates and the heatmap of P(z > 0).
#[expect(clippy::cast_possible_truncation, reason = "shown, not computed with")]
fn pictures(trainer: &Trainer, io: &mut RunIo, done: u64) {
    let Gates::Trained { trainer: gates, .. } = &trainer.gates else {
        return;
    };
    let log_alpha: Vec<f32> = gates.bank.log_alpha().iter().map(|a| *a as f32).collect();
    let open: Vec<f32> = gates
        .bank
        .log_alpha()
        .iter()
        .map(|a| (1.0 - prob_closed(*a)) as f32)
        .collect();
    let sink = io.tensorboard();
    sink.histogram(done, tag::HIST_LOG_ALPHA, &log_alpha);
    sink.histogram(done, tag::HIST_Z, &open);
    let map = Heatmap::new(gates.bank.num_layers(), gates.bank.num_kv_heads(), &open);
    if let Ok(picture) = map.and_then(|map| map.picture()) {
        sink.picture(done, tag::IMAGE_MASK, picture);
    }
}
