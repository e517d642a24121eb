//! What a run tells whoever watches it: one line per logged step, and the speed and time behind it.
//!
//! **Invariant:** pure functions of numbers they are given; no clock, no terminal.

use super::gate_step::HeadCounts;
use std::collections::VecDeque;
use std::fmt::Write;

/// Receives the course of a run; `cli` implements it.
pub trait Observer {
    /// A step was logged.
    fn logged(&mut self, status: &Status);

    /// Something happened that the user should read, such as a warning or a saved checkpoint.
    fn note(&mut self, text: &str);
}

/// One logged step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Status {
    /// Optimizer steps taken.
    pub step: u64,
    /// Optimizer steps of the whole run.
    pub num_steps: u64,
    /// Mean cross-entropy per target, nats.
    pub loss: f64,
    /// Where the gates stand; absent when they do not train.
    pub gates: Option<GateStatus>,
    /// Training tokens per second.
    pub tokens_per_s: f64,
    /// Seconds left, once that can be told.
    pub eta_s: Option<f64>,
}

/// The gates at one logged step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GateStatus {
    /// Sparsity now.
    pub sparsity: f64,
    /// Sparsity the schedule asks for now.
    pub target: f64,
    /// Multiplier of the constraint.
    pub lambda_1: f64,
    /// Multiplier of the squared constraint.
    pub lambda_2: f64,
    /// Heads by where their gate stands.
    pub heads: HeadCounts,
}

/// The line of one logged step; the step is padded so that lines of one run align.
///
/// # Example
/// ```
/// use prulong::train::report::{Status, line};
/// let status = Status { step: 5, num_steps: 100, loss: 2.5, gates: None, tokens_per_s: 12_345.0, eta_s: Some(83.0) };
/// assert_eq!(line(&status), "step   5/100 | loss 2.5000 | 12.3k tok/s | eta 1m 23s");
/// ```
pub fn line(status: &Status) -> String {
    let Status {
        step,
        num_steps,
        loss,
        gates,
        tokens_per_s,
        eta_s,
    } = status;
    let width = num_steps.to_string().len();
    let mut line = format!("step {step:>width$}/{num_steps} | loss {loss:.4}");
    // Writing to a string cannot fail.
    if let Some(gates) = gates {
        let _ = write!(line, " | {}", gates_part(gates));
    }
    let _ = write!(line, " | {} tok/s", count(*tokens_per_s));
    if let Some(seconds) = eta_s {
        let _ = write!(line, " | eta {}", duration(*seconds));
    }
    line
}

fn gates_part(gates: &GateStatus) -> String {
    let GateStatus {
        sparsity,
        target,
        lambda_1,
        lambda_2,
        heads,
    } = gates;
    let HeadCounts {
        retrieval,
        streaming,
        undecided,
    } = heads;
    format!(
        "sparsity {sparsity:.3} -> {target:.3} | lambda {lambda_1:.4} {lambda_2:.4} | \
         heads {retrieval} retrieval, {streaming} streaming, {undecided} undecided"
    )
}

/// A rate in three significant digits: `950`, `12.3k`, `1.20M`.
pub fn count(value: f64) -> String {
    let (scaled, unit) = match value {
        value if value >= 999_500.0 => (value / 1e6, "M"),
        value if value >= 999.5 => (value / 1e3, "k"),
        value => return format!("{value:.0}"),
    };
    let digits = match scaled {
        scaled if scaled >= 99.95 => 0,
        scaled if scaled >= 9.995 => 1,
        _ => 2,
    };
    format!("{scaled:.digits$}{unit}")
}

/// A duration in its two largest units: `45s`, `1m 23s`, `3h 05m`, `2d 04h`.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to a hundred years just before"
)]
pub fn duration(seconds: f64) -> String {
    let seconds = seconds.clamp(0.0, 3.2e9).round() as u64;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match () {
        () if minutes == 0 => format!("{seconds}s"),
        () if hours == 0 => format!("{minutes}m {:02}s", seconds % 60),
        () if days == 0 => format!("{hours}h {:02}m", minutes % 60),
        () => format!("{days}d {:02}h", hours % 24),
    }
}

/// Steps whose times are remembered.
const WINDOW: usize = 20;
/// First steps of a process, which also pay for allocation and caches and say nothing about the rest.
const WARM_UP: u64 = 2;

/// Speed and remaining time from the times of recent steps.
#[derive(Debug, Clone, Default)]
pub struct Meter {
    num_seen: u64,
    /// Tokens and seconds.
    recent: VecDeque<(u64, f64)>,
}

impl Meter {
    /// Adds one step.
    pub fn observe(&mut self, num_tokens: u64, seconds: f64) {
        self.num_seen += 1;
        if self.num_seen == WARM_UP + 1 {
            self.recent.clear();
        }
        if self.recent.len() == WINDOW {
            self.recent.pop_front();
        }
        self.recent.push_back((num_tokens, seconds));
    }

    /// Tokens per second over the recent steps; 0 before the first.
    #[expect(
        clippy::cast_precision_loss,
        reason = "token counts of a few steps are far below 2^52"
    )]
    pub fn tokens_per_s(&self) -> f64 {
        let num_tokens: u64 = self.recent.iter().map(|(num_tokens, _)| num_tokens).sum();
        let seconds: f64 = self.recent.iter().map(|(_, seconds)| seconds).sum();
        if seconds > 0.0 {
            num_tokens as f64 / seconds
        } else {
            0.0
        }
    }

    /// Seconds for `num_left` more steps by the median of the recent ones; `None` during the first steps.
    #[expect(clippy::cast_precision_loss, reason = "step counts are far below 2^52")]
    pub fn eta_s(&self, num_left: u64) -> Option<f64> {
        if self.num_seen <= WARM_UP {
            return None;
        }
        let mut seconds: Vec<f64> = self.recent.iter().map(|(_, seconds)| *seconds).collect();
        seconds.sort_unstable_by(f64::total_cmp);
        Some(seconds[seconds.len() / 2] * num_left as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status() -> Status {
        let heads = HeadCounts {
            retrieval: 6,
            streaming: 8,
            undecided: 2,
        };
        let gates = GateStatus {
            sparsity: 0.4123,
            target: 0.5,
            lambda_1: 0.0312,
            lambda_2: -0.0021,
            heads,
        };
        Status {
            step: 120,
            num_steps: 2400,
            loss: 2.341_23,
            gates: Some(gates),
            tokens_per_s: 12_345.6,
            eta_s: Some(83.4),
        }
    }

    #[test]
    fn a_line_says_everything_in_a_fixed_order() {
        insta::assert_snapshot!(line(&status()), @"step  120/2400 | loss 2.3412 | sparsity 0.412 -> 0.500 | lambda 0.0312 -0.0021 | heads 6 retrieval, 8 streaming, 2 undecided | 12.3k tok/s | eta 1m 23s");
        let first = Status {
            step: 1,
            eta_s: None,
            gates: None,
            loss: f64::NAN,
            ..status()
        };
        insta::assert_snapshot!(line(&first), @"step    1/2400 | loss NaN | 12.3k tok/s");
    }

    #[test]
    fn counts_keep_three_digits() {
        let texts = [
            0.0, 950.4, 999.6, 1234.0, 99_949.0, 99_960.0, 999_499.0, 999_600.0, 1.2e9,
        ]
        .map(count);
        assert_eq!(
            texts,
            [
                "0", "950", "1.00k", "1.23k", "99.9k", "100k", "999k", "1.00M", "1200M"
            ]
        );
    }

    #[test]
    fn durations_keep_two_units() {
        let texts = [
            -1.0,
            0.4,
            59.4,
            59.6,
            3599.4,
            3600.0,
            11_100.0,
            187_200.0,
            f64::INFINITY,
        ]
        .map(duration);
        assert_eq!(
            texts,
            [
                "0s",
                "0s",
                "59s",
                "1m 00s",
                "59m 59s",
                "1h 00m",
                "3h 05m",
                "2d 04h",
                "37037d 00h"
            ]
        );
    }

    #[test]
    fn the_first_steps_do_not_spoil_the_estimate_and_one_slow_step_does_not_either() {
        let mut meter = Meter::default();
        assert_eq!((meter.eta_s(10), meter.tokens_per_s()), (None, 0.0));
        for seconds in [60.0, 30.0] {
            meter.observe(1000, seconds);
            assert_eq!(meter.eta_s(10), None);
        }
        for seconds in [2.0, 2.0, 50.0] {
            meter.observe(1000, seconds);
        }
        assert_eq!(meter.eta_s(10), Some(20.0));
        assert!((meter.tokens_per_s() - 3000.0 / 54.0).abs() < 1e-9);
        for _ in 0..100 {
            meter.observe(500, 1.0);
        }
        assert_eq!((meter.eta_s(3), meter.tokens_per_s()), (Some(3.0), 500.0));
    }
}
