//! The run of `prulong train`: read rows, step, log, save; continues bit for bit from its checkpoints.

use super::gate_state::{restore, state};
use super::gate_step::{StepReport, Trainer};
use super::method::Moment;
use super::run_io::{Observer, RunIo};
use super::validation::Validation;
use crate::data::loader::Loader;
use crate::fault::AnyFault;
use crate::metrics::heatmap::Heatmap;
use crate::metrics::record::Record;
use crate::metrics::tag;
use crate::model::llama::Llama;
use crate::model::train_pass::Row;
use crate::profile::recorder;
use crate::profile::span::{Part, Pass};
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
    mut validation: Option<&mut Validation>,
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
    let records = io.records()?;
    trainer.method.watch(&records);
    if let Some(validation) = &mut validation {
        validation.go_on(&records);
    }
    let mut interval = Interval::new();
    let mut last = start;
    for step in start..plan.num_steps {
        // Also of a run that ended so before: the same command does nothing more.
        if trainer.method.is_settled() {
            break;
        }
        let position = loader.position();
        let due = validation.as_deref_mut().filter(|held| held.is_due(step));
        let looked = Instant::now();
        let is_done = look(trainer, due, (step, Moment::Underway), (io, plan), observer)?;
        // What is no step is not in the steps' time.
        interval.started += looked.elapsed();
        if !is_done {
            io.save(step, &state(trainer, loader, position)?, observer)?;
            return Err(io.interrupted(step));
        }
        io.before_step(step);
        let stepped = recorder::frame(Part::Step, Pass::Outside, step, || {
            one_step(trainer, loader, plan.rows_per_step, (io, step))
        });
        let Some((report, num_tokens)) = stepped? else {
            io.save(step, &state(trainer, loader, position)?, observer)?;
            return Err(io.interrupted(step));
        };
        io.after_step(step, observer)?;
        let done = step + 1;
        interval.num_steps += 1;
        interval.num_tokens += num_tokens;
        interval.wait += loader.take_wait();
        observer.stepped(done, plan.num_steps);
        last = done;
        let is_last = done == plan.num_steps || trainer.method.is_settled();
        if done.is_multiple_of(plan.log_every) || is_last {
            let mut record = line(trainer, done, plan, &report, &interval);
            judge(trainer, &mut record, plan, is_last);
            io.record(&mut record)?;
            pictures(trainer, io, done);
            observer.logged(&record, plan.num_steps);
            interval = Interval::new();
        }
        if io.is_save_due(done)? || is_last {
            io.save(done, &state(trainer, loader, loader.position())?, observer)?;
        }
    }
    let due = validation.filter(|held| !held.has_seen(last));
    if look(trainer, due, (last, Moment::Last), (io, plan), observer)? {
        Ok(())
    } else {
        Err(io.interrupted(last))
    }
}

/// Records what the held-out rows say after `done` steps; false if a signal asked to stop before all of them were looked at.
///
/// It is a record of its own: the step's was written before its checkpoint, and a run that continues from there looks again.
fn look(
    trainer: &Trainer,
    due: Option<&mut Validation>,
    (done, moment): (u64, Moment),
    (io, plan): (&mut RunIo, Plan),
    observer: &mut dyn Observer,
) -> Result<bool, AnyFault> {
    let Some(validation) = due else {
        return Ok(true);
    };
    let mut record = Record::new(done);
    let stop = || io.interrupt.requested();
    if !validation.observe(trainer, &mut record, moment, &stop)? {
        return Ok(false);
    }
    io.record(&mut record)?;
    observer.logged(&record, plan.num_steps);
    Ok(true)
}

/// Adds to a record what the red flags say, and why the run ended early.
fn judge(trainer: &mut Trainer, record: &mut Record, plan: Plan, is_last: bool) {
    if is_last && record.step < plan.num_steps {
        let text = format!(
            "the rounded mask stays the same: ended after {} of {} steps",
            record.step, plan.num_steps
        );
        record.event("train.settled", text);
    }
    let moment = if is_last {
        Moment::Last
    } else {
        Moment::Underway
    };
    trainer.method.observe(record, moment);
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

/// Reads rows and steps: what was found and how many tokens it took, or nothing if a signal asks to stop.
fn one_step(
    trainer: &mut Trainer,
    loader: &mut Loader,
    num_rows: usize,
    (io, step): (&RunIo, u64),
) -> Result<Option<(StepReport, usize)>, AnyFault> {
    let rows = recorder::timed(Part::Data, Pass::Outside, &[], || {
        read(trainer, loader, num_rows, io)
    });
    let Some(rows) = rows? else {
        return Ok(None);
    };
    let report = trainer.step_unless(&rows, step, &|| io.interrupt.requested())?;
    let num_tokens = rows.iter().map(|row| row.ids.numel()).sum();
    Ok(report.map(|report| (report, num_tokens)))
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
    trainer.method.report(report.loss, &mut record);
    record
        .scalar(tag::GRAD_NORM, report.grad_norm)
        .scalar(tag::LR, report.lr);
    if let Some(norm) = report.weight_norm {
        record.scalar(tag::GRAD_WEIGHTS, norm);
    }
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

/// Histograms of the gates, and the heatmap of how open they are.
fn pictures(trainer: &Trainer, io: &mut RunIo, done: u64) {
    let Some(gates) = trainer.method.picture() else {
        return;
    };
    let (parameters, open) = (narrow(&gates.parameters), narrow(&gates.open));
    let sink = io.tensorboard();
    sink.histogram(done, gates.tag, &parameters);
    sink.histogram(done, tag::HIST_Z, &open);
    let num_layers = open.len() / gates.num_kv_heads.max(1);
    let map = Heatmap::new(num_layers, gates.num_kv_heads, &open);
    if let Ok(picture) = map.and_then(|map| map.picture()) {
        sink.picture(done, tag::IMAGE_MASK, picture);
    }
}

#[expect(clippy::cast_possible_truncation, reason = "shown, not computed with")]
fn narrow(values: &[f64]) -> Vec<f32> {
    values.iter().map(|value| *value as f32).collect()
}
