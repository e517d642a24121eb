//! The course of a run on standard error: a bar with log lines above it on a terminal, plain lines otherwise; all of it in
//! `log.txt` too.

use crate::cli::output;
use crate::train::report::{self, Observer, Status};
use indicatif::{ProgressBar, ProgressStyle};
use std::fs::File;
use std::io::{IsTerminal, Write};

const TEMPLATE: &str = "{bar:32} {pos}/{len} steps {msg}";

/// Whether a bar may be drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bar {
    /// If standard error is a terminal.
    Auto,
    /// Never: `--no-progress`.
    Never,
}

/// Shows a run and writes its log.
pub struct Progress {
    bar: Option<ProgressBar>,
    log: Option<File>,
}

impl Progress {
    /// Shows a run that continues after `step` of `num_steps`; `log` receives every line.
    pub fn new(bar: Bar, step: u64, num_steps: u64, log: Option<File>) -> Self {
        let is_drawn = bar == Bar::Auto && std::io::stderr().is_terminal();
        let bar = is_drawn.then(|| {
            let bar = ProgressBar::new(num_steps).with_position(step);
            match ProgressStyle::with_template(TEMPLATE) {
                Ok(style) => bar.with_style(style),
                Err(_) => bar,
            }
        });
        Self { bar, log }
    }

    /// Moves the bar between logged steps.
    pub fn advance(&self, step: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(step);
        }
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
}

impl Observer for Progress {
    fn logged(&mut self, status: &Status) {
        if let Some(bar) = &self.bar {
            bar.set_position(status.step);
            bar.set_message(status.eta_s.map_or_else(String::new, |eta_s| {
                format!("eta {}", report::duration(eta_s))
            }));
        }
        self.print(&report::line(status));
    }

    fn note(&mut self, text: &str) {
        self.print(text);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_terminal_every_line_reaches_the_log() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("log.txt");
        let mut progress = Progress::new(Bar::Never, 0, 10, Some(File::create(&path).unwrap()));
        let status = Status {
            step: 1,
            num_steps: 10,
            loss: 2.0,
            gates: None,
            tokens_per_s: 10.0,
            eta_s: None,
        };
        progress.logged(&status);
        progress.note("saved");
        let log = std::fs::read_to_string(&path).unwrap();
        assert_eq!(log, "step  1/10 | loss 2.0000 | 10 tok/s\nsaved\n");
    }
}
