//! Where the time goes: a recording summed by operation and direction.

use super::span::{Part, Pass, Span};
use crate::real::real;
use std::collections::BTreeMap;
use std::fmt::Write;

/// All spans of one operation in one direction.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Line {
    /// The operation; `other` is what no operation accounts for.
    pub name: &'static str,
    /// Its direction.
    pub pass: &'static str,
    /// Spans.
    pub calls: u64,
    /// Their own time, spans inside them left out, per step.
    pub ms_per_step: f64,
    /// The same as a share of the step, in [0, 1].
    pub share: f64,
}

/// A recording's lines, longest first; their shares add up to 1.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Summary {
    /// Steps that were recorded.
    pub num_steps: usize,
    /// Mean length of a step.
    pub step_ms: f64,
    /// Operations.
    pub lines: Vec<Line>,
}

impl Summary {
    /// Sums `spans`; a step is a span without a parent.
    pub fn new(spans: &[Span]) -> Self {
        let roots = spans.iter().filter(|span| span.parent.is_none());
        let (num_steps, total) = roots.fold((0, 0), |(count, sum), span| {
            (count + 1, sum + span.len_ns())
        });
        let mut own: Vec<u64> = spans.iter().map(Span::len_ns).collect();
        for span in spans {
            if let Some(parent) = span.parent {
                own[parent] = own[parent].saturating_sub(span.len_ns());
            }
        }
        let mut sums: BTreeMap<Option<(Part, Pass)>, (u64, u64)> = BTreeMap::new();
        for (span, own) in spans.iter().zip(own) {
            let key = (!span.part.is_frame()).then_some((span.part, span.pass));
            let (calls, sum) = sums.entry(key).or_default();
            *calls += 1;
            *sum += own;
        }
        let line = |(key, (calls, sum)): (Option<(Part, Pass)>, (u64, u64))| Line {
            name: key.map_or("other", |(part, _)| part.name()),
            pass: key.map_or("", |(_, pass)| pass.name()),
            calls,
            ms_per_step: millis(sum) / real(num_steps).max(1.0),
            share: millis(sum) / millis(total).max(f64::MIN_POSITIVE),
        };
        let mut lines: Vec<Line> = sums.into_iter().map(line).collect();
        lines.sort_by(|a, b| b.share.total_cmp(&a.share));
        Self {
            num_steps,
            step_ms: millis(total) / real(num_steps).max(1.0),
            lines,
        }
    }

    /// The lines as a table.
    pub fn table(&self) -> String {
        let mut text = format!(
            "{:<36} {:>8} {:>12} {:>8}",
            "where the time goes", "share", "ms a step", "calls"
        );
        for line in &self.lines {
            let separator = if line.pass.is_empty() { "" } else { ", " };
            let name = format!("{}{separator}{}", line.name, line.pass);
            let (share, ms) = (100.0 * line.share, line.ms_per_step);
            let _ = write!(
                text,
                "\n{name:<36} {share:>6.1} % {ms:>12.2} {:>8}",
                line.calls
            );
        }
        let _ = write!(
            text,
            "\n{:<36} {:>6.1} % {:>12.2}",
            "step", 100.0, self.step_ms
        );
        text
    }
}

#[expect(clippy::cast_precision_loss, reason = "nanoseconds of a few steps")]
fn millis(ns: u64) -> f64 {
    ns as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(
        (part, pass): (Part, Pass),
        parent: Option<usize>,
        (start_ms, end_ms): (u64, u64),
    ) -> Span {
        Span {
            part,
            pass,
            index: None,
            parent,
            shapes: Vec::new(),
            start_ns: start_ms * 1_000_000,
            end_ns: end_ms * 1_000_000,
        }
    }

    #[test]
    fn own_times_add_up_to_the_steps() {
        let spans = [
            span((Part::Step, Pass::Outside), None, (0, 100)),
            span((Part::Layer, Pass::Forward), Some(0), (10, 60)),
            span((Part::Qkv, Pass::Forward), Some(1), (10, 20)),
            span((Part::Mlp, Pass::Forward), Some(1), (20, 55)),
            span((Part::Step, Pass::Outside), None, (100, 200)),
            span((Part::Qkv, Pass::Forward), Some(4), (110, 130)),
        ];
        let summary = Summary::new(&spans);
        assert_eq!((summary.num_steps, summary.step_ms), (2, 100.0));
        let found: Vec<(&str, u64, f64)> = summary
            .lines
            .iter()
            .map(|line| (line.name, line.calls, line.ms_per_step))
            .collect();
        assert_eq!(
            found,
            [("other", 3, 67.5), ("mlp", 1, 17.5), ("qkv", 2, 15.0)]
        );
        let shares: f64 = summary.lines.iter().map(|line| line.share).sum();
        assert!((shares - 1.0).abs() < 1e-12);
        let table = summary.table();
        assert!(
            table.contains("\nqkv, forward                           15.0 %        15.00        2"),
            "{table}"
        );
    }

    #[test]
    fn an_empty_recording_has_no_lines() {
        let summary = Summary::new(&[]);
        assert!(summary.lines.is_empty());
        assert!(summary.step_ms.abs() < 1e-12);
    }
}
