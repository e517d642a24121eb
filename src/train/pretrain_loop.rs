//! The pretraining run: stages of steps, checkpoints that continue bit for bit.

use super::error::TrainError;
use super::pretrain_step::{Pretrainer, Sample, StepLoss};
use super::run_io::{Observer, RunIo};
use crate::checkpoint::state::{NamedTensor, decode, encode};
use crate::checkpoint::store::Loaded;
use crate::config::stage::Stage;
use crate::fault::AnyFault;
use crate::metrics::record::Record;
use crate::metrics::tag;
use std::time::Instant;

/// File of a checkpoint that holds every number.
const STATE: &str = "state.safetensors";

/// Where training sequences come from: a function of stage and step.
pub trait Batches {
    /// The sequences of `step` (counted over all stages) in stage `stage`.
    ///
    /// # Errors
    /// If a sequence cannot be made.
    fn batch(&self, stage: usize, step: u64) -> Result<Vec<Sample>, AnyFault>;
}

/// A run's schedule: its stages, and how often to log.
#[derive(Debug, Clone, Copy)]
pub struct Schedule<'a> {
    /// Stages in order.
    pub stages: &'a [Stage],
    /// Steps between logged lines.
    pub log_every: u64,
}

impl Schedule<'_> {
    fn num_steps(&self) -> u64 {
        self.stages.iter().map(|stage| stage.steps).sum()
    }

    /// Stage of `step`, and the step within it.
    fn place(&self, step: u64) -> Option<(usize, u64)> {
        let mut start = 0;
        for (index, stage) in self.stages.iter().enumerate() {
            if step < start + stage.steps {
                return Some((index, step - start));
            }
            start += stage.steps;
        }
        None
    }
}

/// Restores a pretrainer from a checkpoint.
///
/// # Errors
/// [`TrainError::State`] naming what is missing.
pub fn restore(pretrainer: &mut Pretrainer, loaded: &Loaded) -> Result<(), AnyFault> {
    let tensors = decode(loaded.file(STATE)?)?;
    let get = |name: &str| tensors.get(name).and_then(|tensor| tensor.to_f32().ok());
    let step = loaded.step;
    pretrainer
        .trainer_mut()
        .restore(get)
        .map_err(|name| TrainError::State { step, name }.into())
}

fn state(pretrainer: &Pretrainer) -> Result<Vec<(&'static str, Vec<u8>)>, AnyFault> {
    let vectors = pretrainer.trainer().state();
    let tensors: Vec<NamedTensor<'_>> = vectors
        .iter()
        .map(|v| NamedTensor::f32(v.name.clone(), &v.shape, &v.values))
        .collect();
    Ok(vec![(STATE, encode(&tensors)?)])
}

/// Runs every step from `start` to the end.
///
/// # Errors
/// [`TrainError::Interrupted`] after a checkpoint was saved, [`TrainError::NotFinite`], and failures of storage.
pub fn run(
    pretrainer: &mut Pretrainer,
    schedule: Schedule,
    batches: &dyn Batches,
    (io, start): (&mut RunIo, u64),
    observer: &mut dyn Observer,
) -> Result<(), AnyFault> {
    let num_steps = schedule.num_steps();
    let num_left = num_steps.saturating_sub(start);
    io.require_space(&state(pretrainer)?, num_left, schedule.log_every)?;
    let mut since = (Instant::now(), 0_usize);
    for step in start..num_steps {
        let Some((index, stage_step)) = schedule.place(step) else {
            break;
        };
        let stage = &schedule.stages[index];
        let samples = batches.batch(index, step)?;
        if io.interrupt.requested() {
            io.save(step, &state(pretrainer)?, observer)?;
            return Err(io.interrupted(step));
        }
        let found = pretrainer.step(&samples, stage, (step, stage_step))?;
        let done = step + 1;
        since.1 += found.num_tokens;
        observer.stepped(done, num_steps);
        if done.is_multiple_of(schedule.log_every) || done == num_steps {
            let mut record = line(done, num_steps, index, found, since);
            io.record(&mut record)?;
            observer.logged(&record, num_steps);
            since = (Instant::now(), 0);
        }
        if io.is_save_due(done)? || done == num_steps {
            io.save(done, &state(pretrainer)?, observer)?;
        }
    }
    Ok(())
}

/// The metrics of one logged step.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn line(
    done: u64,
    num_steps: u64,
    stage: usize,
    found: StepLoss,
    (started, num_tokens): (Instant, usize),
) -> Record {
    let seconds = started.elapsed().as_secs_f64().max(1e-9);
    let tokens_per_second = num_tokens as f64 / seconds;
    let remaining = (num_steps - done) as f64 * found.num_tokens as f64;
    let mut record = Record::new(done);
    record
        .scalar(tag::LOSS_LM, found.loss)
        .scalar(tag::GRAD_WEIGHTS, found.grad_norm)
        .scalar("stage", stage as f64)
        .scalar(tag::PERF_TOK_S, tokens_per_second)
        .scalar(tag::TIME_ETA, remaining / tokens_per_second.max(1e-9));
    record
}
