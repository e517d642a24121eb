//! Learning-rate and sparsity schedules as pure functions of the step (method.md section 8).
//!
//! `step` is the number of finished optimizer steps, so the first update of a run uses step 0. Both schedules are constant over
//! the micro-batches of a step, and both hold their last value beyond `num_steps`.
//!
//! **Invariant:** no state. Resuming at a step needs the step's number and nothing else.
//!
//! # Decisions
//! - A warm-up of `ceil(ratio * num_steps)` steps in f64, as the reference: it starts at 0 (the first update moves nothing) and is
//!   not floored by `min_ratio`.

use crate::fault::{Coded, Kind};
use crate::real::real;

pub mod course;

/// How the learning rate falls after its warm-up.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Default,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum LrShape {
    /// Half a cosine from 1 to the floor: what the reference's code does.
    #[default]
    Cosine,
    /// A straight line from 1 to the floor: what the paper's text says.
    Linear,
    /// Stays at 1.
    Constant,
    /// Up from the floor to 1 and, at the end, back down over as many steps: what DuoAttention's code does.
    Trapezoid,
}

/// How the target sparsity rises from its start to its end.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Default,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum SparsityShape {
    /// The sparsity rises by equal amounts.
    #[default]
    Linear,
    /// The density (1 - sparsity) falls by equal factors; a density of 0 is out of reach.
    Logarithmic,
}

/// Multiplier of every learning rate of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LrSchedule {
    /// Optimizer steps of the whole run.
    pub num_steps: u64,
    /// Share of the run spent warming up, in [0, 1].
    pub warmup_ratio: f64,
    /// The floor, as a share of the peak, in [0, 1].
    pub min_ratio: f64,
    /// The way down.
    pub shape: LrShape,
}

/// Target of the sparsity constraint.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SparsitySchedule {
    /// Optimizer steps of the whole run.
    pub num_steps: u64,
    /// Target at step 0, in [0, 1].
    pub start: f64,
    /// Target from the end of the ramp on, in [0, 1].
    pub end: f64,
    /// Share of the run over which the target ramps, in [0, 1].
    pub warmup_ratio: f64,
    /// The way up.
    pub shape: SparsityShape,
}

/// Why a schedule was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScheduleError {
    /// A value outside its range, infinite or not a number.
    #[error("{field} = {value} is not between 0 and 1")]
    Range {
        /// The offending field.
        field: &'static str,
        /// Its value.
        value: f64,
    },
    /// A run without steps.
    #[error("a schedule over 0 steps has no values")]
    NoSteps,
    /// A target that is not above the one before it.
    #[error("a target of {to} after {from} does not rise")]
    Falling {
        /// The target before.
        from: f64,
        /// The target that should be above it.
        to: f64,
    },
    /// Fewer steps than targets.
    #[error("{num_targets} targets need as many steps, and the run has {num_steps}")]
    Targets {
        /// Targets of the run, its last one among them.
        num_targets: u64,
        /// Its steps.
        num_steps: u64,
    },
    /// Logarithmic steps never reach a density of 0.
    #[error("a logarithmic sparsity schedule cannot {verb} at 1, where no head is left")]
    LogarithmicOne {
        /// `start` or `end`.
        verb: &'static str,
    },
}

impl Coded for ScheduleError {
    fn code(&self) -> &'static str {
        match self {
            Self::Range { value, .. } if !value.is_finite() => "config.not_finite",
            _ => "config.range",
        }
    }
    fn kind(&self) -> Kind {
        Kind::Input
    }
    fn hint(&self) -> Option<String> {
        match self {
            Self::LogarithmicOne { .. } => {
                Some("use the linear shape, or an end below 1 such as 0.99".to_owned())
            }
            _ => None,
        }
    }
}

impl LrSchedule {
    /// Checks the ranges.
    ///
    /// # Errors
    /// [`ScheduleError::NoSteps`] without steps, [`ScheduleError::Range`] for a ratio outside [0, 1].
    pub fn checked(self) -> Result<Self, ScheduleError> {
        check_steps(self.num_steps)?;
        check_unit("warmup_ratio", self.warmup_ratio)?;
        check_unit("min_ratio", self.min_ratio)?;
        Ok(self)
    }

    /// Steps of the linear warm-up.
    pub fn num_warmup_steps(&self) -> u64 {
        share_of(self.warmup_ratio, self.num_steps)
    }

    /// The multiplier of the update that follows `step` finished updates, in [0, 1].
    ///
    /// `step / warm` while warming up, then `m + (1 - m) * fall(progress)` with `fall` from 1 to 0 and `m = min_ratio`. A trapezoid
    /// has two ramps of `w = warmup_ratio * num_steps` steps, not rounded, that the floor cuts off:
    /// `min(1, max((step + 1) / w, m), max((num_steps - step) / w, m))`.
    pub fn multiplier(&self, step: u64) -> f64 {
        if self.shape == LrShape::Trapezoid {
            return self.trapezoid(step);
        }
        let warm = self.num_warmup_steps();
        if step < warm {
            return real(step) / real(warm);
        }
        let span = self.num_steps.saturating_sub(warm).max(1);
        let progress = (real(step - warm) / real(span)).min(1.0);
        let fall = match self.shape {
            LrShape::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()),
            LrShape::Linear => 1.0 - progress,
            LrShape::Constant | LrShape::Trapezoid => 1.0,
        };
        self.min_ratio + (1.0 - self.min_ratio) * fall
    }

    fn trapezoid(&self, step: u64) -> f64 {
        let width = self.warmup_ratio * real(self.num_steps);
        // Without a ramp the quotients are infinite, or 0 / 0 beyond the end, where the floor is what counts.
        let ramp = |steps: u64| (real(steps) / width).max(self.min_ratio);
        let (up, down) = (ramp(step + 1), ramp(self.num_steps.saturating_sub(step)));
        up.min(down).min(1.0)
    }
}

impl SparsitySchedule {
    /// Checks the ranges.
    ///
    /// # Errors
    /// [`ScheduleError::NoSteps`] without steps, [`ScheduleError::Range`] for a value outside [0, 1],
    /// [`ScheduleError::LogarithmicOne`] if a logarithmic ramp starts or ends at 1.
    pub fn checked(self) -> Result<Self, ScheduleError> {
        check_steps(self.num_steps)?;
        check_unit("start_sparsity", self.start)?;
        check_unit("end_sparsity", self.end)?;
        check_unit("sparsity_warmup_ratio", self.warmup_ratio)?;
        if self.shape == SparsityShape::Logarithmic {
            for (verb, value) in [("start", self.start), ("end", self.end)] {
                if value >= 1.0 {
                    return Err(ScheduleError::LogarithmicOne { verb });
                }
            }
        }
        Ok(self)
    }

    /// Steps of the ramp.
    pub fn num_warmup_steps(&self) -> u64 {
        share_of(self.warmup_ratio, self.num_steps)
    }

    /// Target sparsity of the update that follows `step` finished updates.
    ///
    /// With `f = step / ramp`: linear `start + (end - start) f`; logarithmic `1 - exp((1 - f) ln(1 - start) + f ln(1 - end))`.
    pub fn target(&self, step: u64) -> f64 {
        let warm = self.num_warmup_steps();
        if step >= warm {
            return self.end;
        }
        let f = real(step) / real(warm);
        match self.shape {
            SparsityShape::Linear => self.start + (self.end - self.start) * f,
            SparsityShape::Logarithmic => {
                1.0 - ((1.0 - f) * (1.0 - self.start).ln() + f * (1.0 - self.end).ln()).exp()
            }
        }
    }
}

fn check_steps(num_steps: u64) -> Result<(), ScheduleError> {
    if num_steps == 0 {
        return Err(ScheduleError::NoSteps);
    }
    Ok(())
}

fn check_unit(field: &'static str, value: f64) -> Result<(), ScheduleError> {
    if (0.0..=1.0).contains(&value) {
        return Ok(());
    }
    Err(ScheduleError::Range { field, value })
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a checked ratio gives a value in 0..=num_steps"
)]
fn share_of(ratio: f64, num_steps: u64) -> u64 {
    ((ratio * real(num_steps)).ceil() as u64).min(num_steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn published_lr() -> LrSchedule {
        LrSchedule {
            num_steps: 1000,
            warmup_ratio: 0.1,
            min_ratio: 0.01,
            shape: LrShape::Cosine,
        }
    }

    fn published_sparsity(shape: SparsityShape) -> SparsitySchedule {
        SparsitySchedule {
            num_steps: 1000,
            start: 0.0,
            end: 0.7,
            warmup_ratio: 0.8,
            shape,
        }
    }

    fn check(actual: f64, golden: f64, what: &str) {
        assert!(
            (actual - golden).abs() < 1e-8,
            "{what}: {actual} for {golden}"
        );
    }

    #[test]
    fn the_cosine_schedule_matches_the_reference() {
        let schedule = published_lr().checked().unwrap();
        for (step, golden) in [
            (0, 0.0),
            (1, 0.01),
            (50, 0.5),
            (99, 0.99),
            (100, 1.0),
            (325, 0.855_017_86),
            (550, 0.505),
            (775, 0.154_982_14),
            (799, 0.126_920_97),
            (800, 0.125_808_00),
            (900, 0.039_852_15),
            (999, 0.010_003_02),
        ] {
            check(schedule.multiplier(step), golden, &format!("step {step}"));
        }
    }

    #[test]
    fn the_trapezoid_matches_duo_attention() {
        let schedule = LrSchedule {
            num_steps: 2000,
            warmup_ratio: 0.2,
            min_ratio: 0.1,
            shape: LrShape::Trapezoid,
        };
        let schedule = schedule.checked().unwrap();
        for (step, golden) in [
            (0, 0.1),
            (39, 0.1),
            (40, 0.1025),
            (100, 0.2525),
            (398, 0.9975),
            (399, 1.0),
            (1000, 1.0),
            (1600, 1.0),
            (1601, 0.9975),
            (1800, 0.5),
            (1959, 0.1025),
            (1960, 0.1),
            (1999, 0.1),
            (5000, 0.1),
        ] {
            check(schedule.multiplier(step), golden, &format!("step {step}"));
        }
        let without_ramps = LrSchedule {
            warmup_ratio: 0.0,
            ..schedule
        };
        check(without_ramps.multiplier(0), 1.0, "no ramp up");
        check(without_ramps.multiplier(1999), 1.0, "no ramp down");
    }

    #[test]
    fn the_golden_trace_has_its_learning_rates() {
        let schedule = LrSchedule {
            num_steps: 10,
            warmup_ratio: 0.2,
            ..published_lr()
        };
        for (step, golden) in [
            (0, 0.0),
            (1, 0.5),
            (2, 1.0),
            (3, 0.962_320),
            (4, 0.855_018),
            (9, 0.047_680),
        ] {
            assert!(
                (schedule.multiplier(step) - golden).abs() < 1e-6,
                "step {step}"
            );
        }
    }

    #[test]
    fn every_shape_meets_its_endpoints() {
        for shape in [LrShape::Cosine, LrShape::Linear, LrShape::Constant] {
            let schedule = LrSchedule {
                shape,
                ..published_lr()
            };
            check(schedule.multiplier(100), 1.0, "peak");
            let end = if shape == LrShape::Constant {
                1.0
            } else {
                0.01
            };
            check(schedule.multiplier(1000), end, "end");
            check(schedule.multiplier(5000), end, "beyond the end");
        }
        let linear = LrSchedule {
            shape: LrShape::Linear,
            ..published_lr()
        };
        check(linear.multiplier(550), 0.505, "half way down a line");
    }

    #[test]
    fn a_warm_up_is_rounded_up_and_may_fill_the_run() {
        let schedule = LrSchedule {
            num_steps: 10,
            warmup_ratio: 0.11,
            ..published_lr()
        };
        assert_eq!(schedule.num_warmup_steps(), 2);
        let all = LrSchedule {
            warmup_ratio: 1.0,
            ..schedule
        };
        assert_eq!(all.num_warmup_steps(), 10);
        check(all.multiplier(10), 1.0, "after a run of warm-up");
        let none = LrSchedule {
            warmup_ratio: 0.0,
            ..schedule
        };
        check(none.multiplier(0), 1.0, "no warm-up");
    }

    #[test]
    fn target_sparsity_matches_the_reference() {
        let goldens = [
            (0, 0.0, 0.0),
            (1, 0.000_875, 0.001_503_83),
            (200, 0.175, 0.259_917_20),
            (400, 0.35, 0.452_277_44),
            (799, 0.699_125, 0.699_548_17),
            (800, 0.7, 0.7),
            (1000, 0.7, 0.7),
        ];
        for (step, linear, logarithmic) in goldens {
            let what = format!("step {step}");
            let target = |shape| published_sparsity(shape).checked().unwrap().target(step);
            check(target(SparsityShape::Linear), linear, &what);
            check(target(SparsityShape::Logarithmic), logarithmic, &what);
        }
    }

    #[test]
    fn a_logarithmic_schedule_that_touches_one_is_refused() {
        let whole = SparsitySchedule {
            end: 1.0,
            ..published_sparsity(SparsityShape::Logarithmic)
        };
        let error = whole.checked().unwrap_err();
        assert_eq!(error.code(), "config.range");
        assert!(error.hint().unwrap().contains("linear"));
        assert!(
            SparsitySchedule {
                start: 1.0,
                end: 0.5,
                ..whole
            }
            .checked()
            .is_err()
        );
        let linear = SparsitySchedule {
            shape: SparsityShape::Linear,
            ..whole
        };
        check(linear.checked().unwrap().target(1000), 1.0, "linear end");
    }

    #[test]
    fn values_outside_their_range_are_refused_by_name() {
        for (bad, code) in [
            (-0.1, "config.range"),
            (1.5, "config.range"),
            (f64::NAN, "config.not_finite"),
        ] {
            let lr = LrSchedule {
                min_ratio: bad,
                ..published_lr()
            };
            assert_eq!(lr.checked().unwrap_err().code(), code);
            let sparsity = SparsitySchedule {
                end: bad,
                ..published_sparsity(SparsityShape::Linear)
            };
            let error = sparsity.checked().unwrap_err();
            assert!(error.to_string().contains("end_sparsity"), "{error}");
        }
        let empty = LrSchedule {
            num_steps: 0,
            ..published_lr()
        };
        assert!(matches!(empty.checked(), Err(ScheduleError::NoSteps)));
    }

    #[test]
    fn shapes_are_written_in_kebab_case() {
        assert_eq!(
            serde_json::to_string(&LrShape::Cosine).unwrap(),
            "\"cosine\""
        );
        let shape: SparsityShape = serde_json::from_str("\"logarithmic\"").unwrap();
        assert_eq!(shape, SparsityShape::Logarithmic);
    }
}
