//! Recording a few steps of a run, and the file that tells where their time went.

use crate::profile::recorder;
use crate::profile::summary::Summary;
use crate::profile::trace_file::{TraceError, TraceFile};
use crate::torch::device;
use serde_json::json;
use std::ops::Range;
use std::path::Path;
use tch::Device;

/// Steps that run before the recording: allocators and libraries set themselves up in the first one.
const NUM_WARM_UP: u64 = 1;
/// Steps that are recorded.
const NUM_RECORDED: u64 = 3;

/// A recording under way. A run that ends before its recorded steps leaves no file.
#[derive(Debug)]
pub struct Profile {
    file: TraceFile,
    device: Device,
    steps: Range<u64>,
}

/// How far a profile is.
#[derive(Debug)]
pub enum Progress {
    /// Steps are still to come.
    Recording(Profile),
    /// The file is there; this tells what it says.
    Written(String),
}

impl Profile {
    /// Plans to record steps of a run that has `start .. end` before it: three after one warm-up, or what there is.
    ///
    /// # Errors
    /// [`TraceError`] if `path` is taken or cannot be written, before anything ran.
    pub fn new(path: &Path, device: Device, steps: Range<u64>) -> Result<Self, TraceError> {
        Ok(Self {
            file: TraceFile::new(path)?,
            device,
            steps: recorded(steps),
        })
    }

    /// Which steps will be recorded, for people, who count from 1.
    pub fn plan(&self) -> String {
        let Range { start, end } = self.steps;
        if start >= end {
            return "no step is left to profile".to_owned();
        }
        let wait = match self.device {
            Device::Cuda(_) => {
                "; every span waits for the device, so these steps are slower than others"
            }
            _ => "",
        };
        format!("steps {} to {end} are profiled{wait}", start + 1)
    }

    /// To be called before every step.
    pub fn before(&self, step: u64) {
        if step == self.steps.start && !self.steps.is_empty() {
            recorder::start(self.device);
        }
    }

    /// To be called after every step; writes the trace after the last recorded one and returns what to tell the user.
    ///
    /// # Errors
    /// [`TraceError`] if it cannot be written.
    pub fn after(self, step: u64) -> Result<Progress, TraceError> {
        if step + 1 != self.steps.end {
            return Ok(Progress::Recording(self));
        }
        let spans = recorder::stop();
        let facts = json!({
            "program": concat!("prulong ", env!("CARGO_PKG_VERSION")),
            "device": device::name(self.device),
            "steps": [self.steps.start + 1, self.steps.end],
        });
        let path = self.file.path().display().to_string();
        self.file.publish(&spans, &facts)?;
        Ok(Progress::Written(format!(
            "{}\ntrace: {path} (open it in chrome://tracing or https://ui.perfetto.dev)",
            Summary::new(&spans).table()
        )))
    }
}

/// Which of a run's `steps` are recorded.
fn recorded(steps: Range<u64>) -> Range<u64> {
    let Range { start, end } = steps;
    let first = (start + NUM_WARM_UP).min(end.saturating_sub(1)).max(start);
    first..end.min(first + NUM_RECORDED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_steps_after_a_warm_up_are_recorded_or_what_there_is() {
        assert_eq!(recorded(0..100), 1..4);
        assert_eq!(recorded(90..100), 91..94);
        assert_eq!(recorded(0..3), 1..3);
        assert_eq!(recorded(0..1), 0..1);
        assert!(recorded(5..5).is_empty());
    }
}
