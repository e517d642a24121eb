//! One call to every sink of a run.

use super::error::MetricsError;
use super::jsonl::JsonlSink;
use super::record::Record;
use super::tag;
use super::tensorboard::{self, TensorBoardSink};
use std::path::Path;

/// The metrics of one run directory.
#[derive(Debug)]
pub struct MetricsWriter {
    jsonl: JsonlSink,
    tensorboard: TensorBoardSink,
}

impl MetricsWriter {
    /// Opens `metrics.jsonl` and a new TensorBoard file in `run_dir`, to continue after `resume_step` (0 for a new run).
    ///
    /// # Errors
    /// [`MetricsError::Io`] for `metrics.jsonl`; TensorBoard's failures become a warning.
    pub fn open(run_dir: &Path, resume_step: u64) -> Result<Self, MetricsError> {
        let (jsonl, _) = JsonlSink::open(run_dir, resume_step)?;
        let tensorboard = TensorBoardSink::open(run_dir.join(tensorboard::DIR_NAME), resume_step);
        Ok(Self { jsonl, tensorboard })
    }

    /// Writes one record. Once TensorBoard events were lost, adds their number, and the first time an event that says why.
    ///
    /// # Errors
    /// [`MetricsError::Io`].
    pub fn record(&mut self, record: &mut Record) -> Result<(), MetricsError> {
        self.tensorboard.record(record);
        let num_dropped = u32::try_from(self.tensorboard.num_dropped()).unwrap_or(u32::MAX);
        if num_dropped > 0 {
            record.scalar(tag::DROPPED_EVENTS, f64::from(num_dropped));
        }
        if let Some(warning) = self.tensorboard.take_warning() {
            record.event("metrics.dropped_events", warning);
        }
        self.jsonl.record(record)
    }

    /// The TensorBoard sink, for histograms and pictures.
    pub fn tensorboard(&mut self) -> &mut TensorBoardSink {
        &mut self.tensorboard
    }

    /// Makes every record durable; called before a checkpoint that covers them.
    ///
    /// # Errors
    /// [`MetricsError::Io`].
    pub fn sync(&self) -> Result<(), MetricsError> {
        self.jsonl.sync()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::jsonl;

    #[test]
    fn lost_events_are_counted_in_the_record_and_stop_nothing() {
        let run = tempfile::tempdir().unwrap();
        std::fs::write(run.path().join(tensorboard::DIR_NAME), "a file").unwrap();
        let mut writer = MetricsWriter::open(run.path(), 0).unwrap();
        for step in 1..=2 {
            let mut record = Record::new(step);
            record.scalar(tag::LOSS_LM, 1.5);
            writer.record(&mut record).unwrap();
        }
        writer.sync().unwrap();
        let records = jsonl::read(&run.path().join(jsonl::FILE_NAME)).unwrap();
        let dropped: Vec<Option<f64>> = records
            .iter()
            .map(|record| record.value(tag::DROPPED_EVENTS))
            .collect();
        assert_eq!(dropped, [Some(3.0), Some(4.0)]);
        assert_eq!(records[1].value(tag::LOSS_LM), Some(1.5));
        let num_events: Vec<usize> = records.iter().map(|record| record.events.len()).collect();
        assert_eq!(num_events, [1, 0], "the reason is given once");
    }
}
