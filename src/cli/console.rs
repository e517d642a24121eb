//! Shows a run on standard error: one line per logged step, and a bar on a terminal.

use crate::cli::output;
use crate::metrics::record::Record;
use crate::metrics::tag;
use crate::train::run_io::Observer;
use indicatif::{ProgressBar, ProgressStyle};
use std::fs::File;
use std::io::{IsTerminal, Write};

/// The terminal's view of a run.
#[derive(Debug, Default)]
pub struct Console {
    bar: Option<ProgressBar>,
    log: Option<File>,
}

impl Console {
    /// A console without a bar; the bar appears with the first step, if standard error is a terminal.
    pub fn new() -> Self {
        Self::default()
    }

    /// Repeats every later line in `log`, the run's `log.txt`.
    pub fn log_to(&mut self, log: File) {
        self.log = Some(log);
    }

    fn print(&mut self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => output::note(text),
        }
        if let Some(log) = &mut self.log {
            // The log repeats what was shown; `metrics.jsonl` is the record whose failures end a run.
            let _ = writeln!(log, "{text}");
        }
    }

    fn bar(&mut self, num_steps: u64) -> Option<&ProgressBar> {
        if self.bar.is_none() && std::io::stderr().is_terminal() {
            let bar = ProgressBar::new(num_steps);
            if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} [{elapsed}]") {
                bar.set_style(style);
            }
            self.bar = Some(bar);
        }
        self.bar.as_ref()
    }
}

impl Observer for Console {
    fn logged(&mut self, record: &Record, num_steps: u64) {
        self.print(&step_line(record, num_steps));
        for event in &record.events {
            self.print(&format!("warning[{}]: {}", event.code, event.text));
        }
    }

    fn stepped(&mut self, step: u64, num_steps: u64) {
        if let Some(bar) = self.bar(num_steps) {
            bar.set_position(step);
            if step == num_steps {
                bar.finish_and_clear();
            }
        }
    }

    fn note(&mut self, text: &str) {
        self.print(text);
    }
}

/// One logged step; parts that the run does not have are left out.
pub fn step_line(record: &Record, num_steps: u64) -> String {
    let value = |tag: &str| record.value(tag);
    let mut parts = vec![format!("step {}/{num_steps}", record.step)];
    parts.extend(value(tag::LOSS_LM).map(|loss| format!("loss {loss:.4}")));
    parts.extend(value(tag::LOSS_DISTILL).map(|loss| format!("distance {loss:.6}")));
    parts.extend(value(tag::GATES_MEAN).map(|mean| format!("gates {mean:.3}")));
    let held_out = value(tag::VAL_GATES).zip(value(tag::VAL_FULL));
    parts.extend(held_out.map(|(gates, full)| format!("held-out {gates:.4} (full {full:.4})")));
    parts.extend(value(tag::VAL_MASK).map(|mask| format!("mask {mask:.4}")));
    let sparsity = value(tag::SPARSITY_EXPECTED).zip(value(tag::SPARSITY_TARGET));
    parts.extend(sparsity.map(|(now, target)| format!("sparsity {now:.3} -> {target:.3}")));
    let lambdas = value(tag::LAMBDA_1).zip(value(tag::LAMBDA_2));
    parts.extend(lambdas.map(|(first, second)| format!("lambda {first:.3} {second:.3}")));
    let heads = (
        value(tag::HEADS_RETRIEVAL),
        value(tag::HEADS_STREAMING),
        value(tag::HEADS_UNDECIDED),
    );
    if let (Some(retrieval), Some(streaming), Some(undecided)) = heads {
        parts.push(format!("heads {retrieval}R {streaming}S {undecided}?"));
    }
    parts.extend(value(tag::PERF_TOK_S).map(|rate| format!("{rate:.0} tok/s")));
    parts.extend(value(tag::TIME_ETA).map(|eta| format!("ETA {}", clock(eta))));
    parts.join("  ")
}

/// `h:mm:ss`, or `m:ss` below an hour.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped before"
)]
pub(super) fn clock(seconds: f64) -> String {
    let seconds = seconds.clamp(0.0, 1e9) as u64;
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes}:{seconds:02}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_loss_sparsity_lambdas_heads_speed_and_the_time_left() {
        let mut record = Record::new(12);
        record
            .scalar(tag::LOSS_LM, 2.34567)
            .scalar(tag::SPARSITY_EXPECTED, 0.1234)
            .scalar(tag::SPARSITY_TARGET, 0.25)
            .scalar(tag::LAMBDA_1, 0.5)
            .scalar(tag::LAMBDA_2, 0.75)
            .scalar(tag::HEADS_RETRIEVAL, 10.0)
            .scalar(tag::HEADS_STREAMING, 4.0)
            .scalar(tag::HEADS_UNDECIDED, 2.0)
            .scalar(tag::PERF_TOK_S, 1234.4)
            .scalar(tag::TIME_ETA, 3725.0);
        assert_eq!(
            step_line(&record, 240),
            "step 12/240  loss 2.3457  sparsity 0.123 -> 0.250  lambda 0.500 0.750  \
             heads 10R 4S 2?  1234 tok/s  ETA 1:02:05"
        );
        assert_eq!(step_line(&Record::new(1), 2), "step 1/2");
        let mut distilled = Record::new(3);
        distilled
            .scalar(tag::LOSS_DISTILL, 0.012_345_67)
            .scalar(tag::GATES_MEAN, 0.875);
        let expected = "step 3/4  distance 0.012346  gates 0.875";
        assert_eq!(step_line(&distilled, 4), expected);
    }

    #[test]
    fn lines_and_events_reach_the_log() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("log.txt");
        let mut console = Console::new();
        console.log_to(File::create(&path).unwrap());
        let mut record = Record::new(1);
        record
            .scalar(tag::LOSS_LM, 2.0)
            .event("num.spike", "the loss jumped");
        console.logged(&record, 2);
        console.note("saved");
        let log = std::fs::read_to_string(&path).unwrap();
        assert_eq!(
            log,
            "step 1/2  loss 2.0000\nwarning[num.spike]: the loss jumped\nsaved\n"
        );
    }
}
