//! What every run writes: metrics, checkpoints, events; and when it must stop.

use super::error::TrainError;
use super::profile::{Profile, Progress};
use super::run_dir::RunDir;
use super::save::Saver;
use super::signal::Interrupt;
use crate::checkpoint::identity::Identity;
use crate::checkpoint::store::{CheckpointStore, Loaded};
use crate::config::run::CheckpointSettings;
use crate::fault::AnyFault;
use crate::metrics::jsonl;
use crate::metrics::record::Record;
use crate::metrics::tensorboard::TensorBoardSink;
use crate::metrics::writer::MetricsWriter;
use std::time::Duration;

/// Bytes that one logged step adds to metrics and events, generously.
const LOG_BYTES_PER_STEP: u64 = 4096;

/// Shows a run to its user; the library itself never prints.
pub trait Observer {
    /// One logged step of `num_steps`.
    fn logged(&mut self, record: &Record, num_steps: u64);

    /// Progress between logged steps.
    fn stepped(&mut self, step: u64, num_steps: u64);

    /// Something the user should read once.
    fn note(&mut self, text: &str);
}

/// Sinks and checkpoints of one run.
pub struct RunIo {
    /// The run directory, locked.
    pub dir: RunDir,
    /// Its checkpoints.
    pub store: CheckpointStore,
    /// Set by signals.
    pub interrupt: Interrupt,
    metrics: MetricsWriter,
    identity: Identity,
    checkpoint: CheckpointSettings,
    saved_step: Option<u64>,
    profile: Option<Profile>,
}

impl RunIo {
    /// Opens the sinks of a run that continues from `resumed`, or starts at step 0.
    ///
    /// # Errors
    /// If a sink cannot be opened.
    pub fn open(
        dir: RunDir,
        store: CheckpointStore,
        interrupt: Interrupt,
        (identity, checkpoint): (Identity, CheckpointSettings),
        resumed: Option<&Loaded>,
    ) -> Result<Self, AnyFault> {
        let step = resumed.map_or(0, |loaded| loaded.step);
        let metrics = MetricsWriter::open(dir.path(), step)?;
        let saved_step = resumed.map(|loaded| loaded.step);
        Ok(Self {
            dir,
            store,
            interrupt,
            metrics,
            identity,
            checkpoint,
            saved_step,
            profile: None,
        })
    }

    /// Records steps of the run for `profile`.
    pub fn record_steps(&mut self, profile: Profile) {
        self.profile = Some(profile);
    }

    /// To be called before every step.
    pub fn before_step(&self, step: u64) {
        if let Some(profile) = &self.profile {
            profile.before(step);
        }
    }

    /// To be called after every step: publishes a finished profile, and `observer` is told what it says.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn after_step(&mut self, step: u64, observer: &mut dyn Observer) -> Result<(), AnyFault> {
        let progress = self.profile.take().map(|profile| profile.after(step));
        match progress.transpose()? {
            Some(Progress::Recording(profile)) => self.profile = Some(profile),
            Some(Progress::Written(text)) => observer.note(&text),
            None => {}
        }
        Ok(())
    }

    /// Writes one line of metrics to every sink; lost TensorBoard events become a count and one event in `record`.
    ///
    /// # Errors
    /// If `metrics.jsonl` cannot be written.
    pub fn record(&mut self, record: &mut Record) -> Result<(), AnyFault> {
        Ok(self.metrics.record(record)?)
    }

    /// Every record of the steps that this run continues after.
    ///
    /// # Errors
    /// If `metrics.jsonl` cannot be read.
    pub fn records(&self) -> Result<Vec<Record>, AnyFault> {
        Ok(jsonl::read(&self.dir.path().join(jsonl::FILE_NAME))?)
    }

    /// The TensorBoard sink, for histograms and pictures.
    pub fn tensorboard(&mut self) -> &mut TensorBoardSink {
        self.metrics.tensorboard()
    }

    /// Refuses a run whose checkpoints (of the size of `files`) and logs will not fit on the disk.
    ///
    /// # Errors
    /// [`RunDirError::NoSpace`](super::run_dir_error::RunDirError::NoSpace), or if the disk cannot be asked.
    pub fn require_space(
        &self,
        files: &[(&str, Vec<u8>)],
        num_steps_left: u64,
        log_every: u64,
    ) -> Result<(), AnyFault> {
        let checkpoint_bytes = files.iter().map(|(_, bytes)| bytes.len() as u64).sum();
        let milestones = self
            .checkpoint
            .keep_every
            .map_or(0, |every| num_steps_left / every.max(1));
        let present = self.store.steps()?.len() as u64;
        let keep = self
            .checkpoint
            .keep_last
            .saturating_sub(present)
            .saturating_add(milestones);
        let log_bytes = (num_steps_left / log_every.max(1)).saturating_mul(LOG_BYTES_PER_STEP);
        Ok(self.dir.require_space(keep, checkpoint_bytes, log_bytes)?)
    }

    /// Whether a checkpoint is due after `step` finished steps.
    ///
    /// # Errors
    /// If a save request of the user cannot be taken.
    pub fn is_save_due(&self, step: u64) -> Result<bool, AnyFault> {
        Ok(step.is_multiple_of(self.checkpoint.every) || self.dir.take_save_request()?)
    }

    /// Publishes the checkpoint of `step`, unless it is there already, and rotates old ones. A full disk is waited for, and
    /// `observer` is told.
    ///
    /// # Errors
    /// If it cannot be written; earlier checkpoints stay.
    pub fn save(
        &mut self,
        step: u64,
        files: &[(&str, Vec<u8>)],
        observer: &mut dyn Observer,
    ) -> Result<(), AnyFault> {
        if self.saved_step == Some(step) {
            return Ok(());
        }
        self.metrics.sync()?;
        let files: Vec<(&str, &[u8])> = files
            .iter()
            .map(|(name, bytes)| (*name, bytes.as_slice()))
            .collect();
        let mut saver = Saver {
            patience: Duration::from_secs(self.checkpoint.full_disk_wait_s),
            interrupt: &self.interrupt,
            note: &mut |text| observer.note(text),
        };
        saver.save(&self.store, step, &self.identity, &files)?;
        self.saved_step = Some(step);
        let keep_last = usize::try_from(self.checkpoint.keep_last).unwrap_or(usize::MAX);
        self.store.rotate(keep_last, self.checkpoint.keep_every)?;
        Ok(())
    }

    /// The error that ends an interrupted run after its checkpoint is safe.
    pub fn interrupted(&self, step: u64) -> AnyFault {
        TrainError::Interrupted { step }.into()
    }
}
