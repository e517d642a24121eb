//! `[sparsity]`: the target the gates are pushed to, and how.

use crate::config::check;
use crate::config::error::{Bad, Problem};
use crate::schedule::{SparsitySchedule, SparsityShape};

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
    /// Target from the end of the ramp on, in [0, 1].
    pub end: f64,
    /// Share of the run over which the target ramps, in [0, 1].
    pub warmup_ratio: f64,
    /// The way up. Linear: the reference's value.
    #[serde(default)]
    pub shape: SparsityShape,
    /// Expected: on a small model the sampled form overshot the target and lost recall.
    #[serde(default = "expected")]
    pub constraint: Constraint,
    /// Whether the constraint has its linear term lambda_1 (s - t). True: the method.
    #[serde(default = "yes")]
    pub linear_term: bool,
    /// End the run once the mask, rounded at `end`, has stayed the same for this many steps after the ramp. Absent = run all
    /// steps, as published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled_steps: Option<u64>,
}

/// `[sparsity]`, checked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SparsitySettings {
    /// Target of every step.
    pub schedule: SparsitySchedule,
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
        } = *self;
        check::share("sparsity.start", start)?;
        check::share("sparsity.end", end)?;
        check::share("sparsity.warmup_ratio", warmup_ratio)?;
        if start > end {
            let expected = format!("at least {start}, the value of `sparsity.start`");
            let value = end.to_string();
            return Err(Bad::new("sparsity.end", Problem::Range { value, expected }));
        }
        let schedule = SparsitySchedule {
            num_steps,
            start,
            end,
            warmup_ratio,
            shape,
        }
        .checked()
        .map_err(|why| Bad::new("sparsity.shape", Problem::Schedule { why }))?;
        if let Some(steps) = settled_steps {
            let left = num_steps - schedule.num_warmup_steps().min(num_steps);
            check::count("sparsity.settled_steps", steps)?;
            check::at_most(
                "sparsity.settled_steps",
                steps,
                left,
                "the steps after the ramp",
            )?;
        }
        Ok(SparsitySettings {
            schedule,
            constraint,
            linear_term,
            settled_steps,
        })
    }
}
