//! `[sparsity]`: the target the gates are pushed to, and how.

use crate::config::check;
use crate::config::error::{Bad, Problem};
use crate::schedule::course::SparsityCourse;
use crate::schedule::{ScheduleError, SparsitySchedule, SparsityShape};

/// Which sparsity the constraint compares with its target.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Constraint {
    /// Closed form, mean P(z = 0): reaches saturated gates too.
    Expected,
    /// 1 - mean of the sampled z: the reference's code.
    Sampled,
}

/// `[sparsity]` as written.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SparsityFile {
    /// Target at the first step, in [0, 1].
    pub start: f64,
    /// Target from the end of the last ramp on, in [0, 1].
    pub end: f64,
    /// Targets on the way, rising, between `start` and `end`: the run rests at each, and keeps its gates of then, so that it gives
    /// a mask for every target. Each has an equal part of the steps; the learning rate falls over the whole run, so later targets
    /// want an `optimizer.lr_shape` of "constant". None: one run for one target, as published.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plateaus: Vec<f64>,
    /// Share of the run, or of each target's part of it, over which the target ramps, in [0, 1].
    pub warmup_ratio: f64,
    /// The way up. Linear: the reference's value.
    #[serde(default)]
    pub shape: SparsityShape,
    /// Expected: with the sampled form runs end away from their target, above it or below.
    #[serde(default = "expected")]
    pub constraint: Constraint,
    /// Whether the constraint has its linear term lambda_1 (s - t). True: the method.
    #[serde(default = "yes")]
    pub linear_term: bool,
    /// End the run once the mask, rounded at `end`, has stayed the same for this many steps after the last ramp. Absent = run all
    /// steps, as published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled_steps: Option<u64>,
}

/// `[sparsity]`, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct SparsitySettings {
    /// Target of every step.
    pub course: SparsityCourse,
    /// Which sparsity is compared with it.
    pub constraint: Constraint,
    /// Whether lambda_1 takes part.
    pub linear_term: bool,
    /// Steps without a change of the rounded mask that end the run; absent = never.
    pub settled_steps: Option<u64>,
}

fn expected() -> Constraint {
    Constraint::Expected
}

fn yes() -> bool {
    true
}

impl SparsityFile {
    pub(super) fn check(&self, num_steps: u64) -> Result<SparsitySettings, Bad> {
        let Self {
            start,
            end,
            warmup_ratio,
            shape,
            constraint,
            linear_term,
            settled_steps,
            ref plateaus,
        } = *self;
        check::share("sparsity.start", start)?;
        check::share("sparsity.end", end)?;
        check::share("sparsity.warmup_ratio", warmup_ratio)?;
        if start > end {
            let expected = format!("at least {start}, the value of `sparsity.start`");
            let value = end.to_string();
            return Err(Bad::new("sparsity.end", Problem::Range { value, expected }));
        }
        for (at, plateau) in plateaus.iter().enumerate() {
            check::share(&format!("sparsity.plateaus.{at}"), *plateau)?;
        }
        let whole = SparsitySchedule {
            num_steps,
            start,
            end,
            warmup_ratio,
            shape,
        };
        let course = SparsityCourse::new(whole, plateaus)
            .map_err(|why| Bad::new(key_of(&why), Problem::Schedule { why }))?;
        if let Some(steps) = settled_steps {
            let left = num_steps - course.ramp_end().min(num_steps);
            check::count("sparsity.settled_steps", steps)?;
            check::at_most(
                "sparsity.settled_steps",
                steps,
                left,
                "the steps after the last ramp",
            )?;
        }
        Ok(SparsitySettings {
            course,
            constraint,
            linear_term,
            settled_steps,
        })
    }
}

/// The setting to change.
fn key_of(why: &ScheduleError) -> &'static str {
    match why {
        ScheduleError::Falling { .. } | ScheduleError::Targets { .. } => "sparsity.plateaus",
        _ => "sparsity.shape",
    }
}
