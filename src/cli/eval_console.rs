//! Shows an evaluation while it runs: a bar on a terminal, else a line for each method; the lines go to `log.txt` too.

use super::console::clock;
use super::output;
use crate::eval::error::EvalError;
use crate::eval::evaluate::Observer;
use crate::eval::item_result::ItemResult;
use crate::fault::AnyFault;
use crate::train::signal::Interrupt;
use indicatif::{ProgressBar, ProgressStyle};
use std::fs::File;
use std::io::{IsTerminal, Write};
use std::time::Instant;

/// Failed items that are named at the end.
const MOST_NAMED: usize = 5;

/// What the user sees of an evaluation, and how it is ended early.
pub(super) struct Console {
    /// Items of the whole run.
    num_items: usize,
    /// Their lengths, added up: what the time left is measured in.
    total_len: usize,
    /// Whether the first failed item ends the run.
    fail_fast: bool,
    interrupt: Interrupt,
    bar: Option<ProgressBar>,
    log: Option<File>,
    start: Instant,
    num_done: usize,
    /// Lengths of finished items, and of those that this process finished.
    done_len: usize,
    fresh_len: usize,
    /// The method at work.
    current: Option<Block>,
    failures: Vec<String>,
}

/// One method on one task.
struct Block {
    name: String,
    num_done: usize,
    num_failed: usize,
    start: Instant,
}

impl Console {
    /// A console for `num_items` items whose lengths add up to `total_len`; without `fail_fast` failed items end nothing.
    pub(super) fn new(
        num_items: usize,
        total_len: usize,
        fail_fast: bool,
        interrupt: Interrupt,
    ) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(num_items as u64);
            if let Ok(style) = ProgressStyle::with_template("{msg} {bar:30} {pos}/{len} {prefix}") {
                bar.set_style(style);
            }
            bar
        });
        let start = Instant::now();
        Self {
            num_items,
            total_len,
            fail_fast,
            interrupt,
            bar,
            log: None,
            start,
            num_done: 0,
            done_len: 0,
            fresh_len: 0,
            current: None,
            failures: Vec::new(),
        }
    }

    /// Repeats every later line in `log`, the run's `log.txt`.
    pub(super) fn log_to(&mut self, log: File) {
        self.log = Some(log);
    }

    /// Writes one line to the log alone.
    pub(super) fn log(&mut self, text: &str) {
        if let Some(log) = &mut self.log {
            // The log repeats what was shown; `predictions.jsonl` is the record whose failures end a run.
            let _ = writeln!(log, "{text}");
        }
    }

    /// Says how the last method ended, and takes the bar away.
    pub(super) fn finish(&mut self) {
        self.end_block();
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    /// The error that ends a run some of whose items failed.
    pub(super) fn verdict(&self) -> Result<(), EvalError> {
        if self.failures.is_empty() {
            return Ok(());
        }
        let more = self.failures.len().saturating_sub(MOST_NAMED);
        let named = self.failures.iter().take(MOST_NAMED).cloned();
        let more = (more > 0).then(|| format!("and {more} more: see `predictions.jsonl`"));
        Err(EvalError::Failed {
            num_failed: self.failures.len(),
            num_items: self.num_items,
            failures: named.chain(more).collect(),
        })
    }

    fn note(&mut self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => output::note(text),
        }
        self.log(text);
    }

    fn enter_block(&mut self, result: &ItemResult) {
        let name = format!("{}  {}", result.task, result.method);
        let name = format!("{}  chunk {}  {name}", result.model, result.chunk_len);
        if self.current.as_ref().is_some_and(|of| of.name == name) {
            return;
        }
        self.end_block();
        self.current = Some(Block {
            name,
            num_done: 0,
            num_failed: 0,
            start: Instant::now(),
        });
    }

    fn end_block(&mut self) {
        let Some(block) = self.current.take() else {
            return;
        };
        let failed = match block.num_failed {
            0 => String::new(),
            failed => format!(", {failed} failed"),
        };
        let text = format!(
            "{}  {} items{failed}  {}  {}/{}{}",
            block.name,
            block.num_done,
            clock(block.start.elapsed().as_secs_f64()),
            self.num_done,
            self.num_items,
            self.time_left()
        );
        match &self.bar {
            Some(_) => self.log(&text),
            None => self.note(&text),
        }
    }

    /// The time left if tokens go on taking as long as they did; nothing before the first item.
    #[expect(clippy::cast_precision_loss, reason = "shown to the second")]
    fn time_left(&self) -> String {
        if self.fresh_len == 0 || self.done_len >= self.total_len {
            return String::new();
        }
        let rate = self.start.elapsed().as_secs_f64() / self.fresh_len as f64;
        let left = self.total_len.saturating_sub(self.done_len) as f64;
        format!("  ETA {}", clock(rate * left))
    }
}

impl Observer for Console {
    fn finished(&mut self, result: &ItemResult, kept: bool) -> Result<(), AnyFault> {
        self.enter_block(result);
        self.num_done += 1;
        self.done_len += result.length_target;
        if !kept {
            self.fresh_len += result.length_target;
        }
        if let Some(block) = &mut self.current {
            block.num_done += 1;
            block.num_failed += usize::from(result.error.is_some());
        }
        if let (Some(bar), Some(block)) = (&self.bar, &self.current) {
            bar.set_message(block.name.clone());
            bar.set_prefix(self.time_left());
            bar.set_position(self.num_done as u64);
        }
        if let Some(error) = &result.error {
            let of = format!("{} {} {}", result.task, result.method, result.id);
            self.failures
                .push(format!("{of}: {} [{}]", error.message, error.code));
            self.note(&format!("failed: {of}: {}", error.message));
            if self.fail_fast {
                self.finish();
                return self.verdict().map_err(AnyFault::from);
            }
        }
        if self.interrupt.requested() {
            self.finish();
            return Err(EvalError::Interrupted {
                num_done: self.num_done,
                num_items: self.num_items,
            }
            .into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::item_result::samples::{failed, result};

    fn console(fail_fast: bool) -> Console {
        Console::new(10, 1600, fail_fast, Interrupt::detached())
    }

    #[test]
    fn failed_items_are_counted_and_the_first_ones_named() {
        let mut console = console(false);
        console.finished(&result("a"), false).unwrap();
        assert!(console.verdict().is_ok());
        for id in 0..MOST_NAMED + 2 {
            console.finished(&failed(&format!("b{id}")), false).unwrap();
        }
        let text = console.verdict().unwrap_err().to_string();
        assert!(text.starts_with("7 of 10 items failed:"), "{text}");
        for words in ["recall full b4: no room [gpu.oom]", "and 2 more: see"] {
            assert!(text.contains(words), "{words}: {text}");
        }
        assert!(!text.contains("b5"), "{text}");
    }

    #[test]
    fn the_first_failed_item_may_end_the_run() {
        let mut console = console(true);
        console.finished(&result("a"), false).unwrap();
        let error = console.finished(&failed("b"), false).unwrap_err();
        assert_eq!(error.code(), "eval.failed");
    }
}
