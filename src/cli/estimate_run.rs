//! What a whole run of a file costs: the FLOPs of all its rows, and their time at a given rate.

use crate::config::train::{MethodSettings, TrainConfig};
use crate::estimate::flops::Flops;
use crate::estimate::plan::{Gates, Plan};
use crate::real::real;
use crate::schedule::course::SparsityCourse;
use serde_json::{Value, json};

/// All rows of a run, on one device.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct RunWork {
    num_steps: u64,
    rows_per_step: f64,
    /// FLOPs with the gates that the plan names.
    performed: f64,
    decided: Option<Decided>,
}

/// The same with every gate at an end, as many of them at 0 as each step's target says: training gets there on the way.
#[derive(Debug, Clone, PartialEq)]
struct Decided {
    mean_sparsity: f64,
    performed: f64,
}

impl RunWork {
    /// The run of `config`, whose steps are `plan`'s.
    pub(super) fn of(config: &TrainConfig, plan: &Plan) -> Self {
        let num_steps = config.optimizer.steps;
        let rows_per_step = real(config.optimizer.tokens_per_step) / real(plan.num_tokens);
        let num_rows = real(num_steps) * rows_per_step;
        let course = match &config.method {
            MethodSettings::PruLong { sparsity, .. } => sparsity.as_ref().map(|of| &of.course),
            MethodSettings::DuoAttention(_) => None,
        };
        let is_between = matches!(plan.gates, Gates::Between);
        let course = course.filter(|_| is_between && num_steps > 0);
        Self {
            num_steps,
            rows_per_step,
            performed: num_rows * Flops::new(plan).performed(),
            decided: course.map(|course| Decided::of(course, (num_steps, num_rows), plan)),
        }
    }

    /// The object of `--json`; `rate` in FLOP/s.
    pub(super) fn object(&self, rate: Option<f64>) -> Value {
        let seconds = |flops: f64| rate.map(|rate| flops / rate);
        let decided = self.decided.as_ref().map(|decided| {
            json!({
                "mean_sparsity": decided.mean_sparsity,
                "performed_flops": decided.performed,
                "seconds": seconds(decided.performed),
            })
        });
        json!({
            "num_steps": self.num_steps,
            "rows_per_step": self.rows_per_step,
            "performed_flops": self.performed,
            "seconds": seconds(self.performed),
            "decided": decided,
        })
    }

    /// The line of the table; `rate` in FLOP/s.
    pub(super) fn line(&self, rate: Option<f64>) -> String {
        let cost = |flops: f64| match rate {
            Some(rate) => duration(flops / rate),
            None => amount(flops),
        };
        let decided = self.decided.as_ref().map_or_else(String::new, |decided| {
            format!(
                "; {} with every gate at an end, a share of {:.2} of them at 0 on average",
                cost(decided.performed),
                decided.mean_sparsity
            )
        });
        format!(
            "the run: {} steps of {} rows, one after the other: {}{decided}",
            self.num_steps,
            self.rows_per_step,
            cost(self.performed)
        )
    }
}

impl Decided {
    fn of(course: &SparsityCourse, (num_steps, num_rows): (u64, f64), plan: &Plan) -> Self {
        let targets = (0..num_steps).map(|step| course.target(step));
        let sparsity = targets.sum::<f64>() / real(num_steps);
        let plan = Plan {
            gates: Gates::Ends { sparsity },
            ..plan.clone()
        };
        Self {
            mean_sparsity: sparsity,
            performed: num_rows * Flops::new(&plan).performed(),
        }
    }
}

/// In the unit that reads well.
fn amount(flops: f64) -> String {
    match flops {
        1e17.. => format!("{:.2} EFLOP", flops / 1e18),
        1e14.. => format!("{:.2} PFLOP", flops / 1e15),
        _ => format!("{:.2} TFLOP", flops / 1e12),
    }
}

/// In the unit that reads well.
fn duration(seconds: f64) -> String {
    match seconds {
        7200.0.. => format!("{:.1} h", seconds / 3600.0),
        120.0.. => format!("{:.1} min", seconds / 60.0),
        _ => format!("{seconds:.1} s"),
    }
}
