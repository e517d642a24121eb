//! DuoAttention: plain gates that distil full attention's final hidden states, under a penalty of their mean (arXiv 2410.10819).
//!
//! ```text
//! g clamped to [0, 1];  loss, dg = distillation(row, g);  dg += penalty / n sign(g)
//! gates descend
//! ```
//!
//! # Decisions
//! - The reference clamps its parameters in place before a step and once more in the forward pass. Here the stored gates may lie
//!   outside [0, 1] by one update, as in the files it writes; a step computes with clamped ones, and its update starts from them.
//!   That is the same, and a step that ends early changes nothing.
//! - The penalty's gradient at `g = 0` is 0, as that of `torch.abs`: a gate is not pushed below its bound.
//! - Gates are f64 on the host; the reference has them in bf16.

use super::{Found, GatePicture, Method, MethodState, Micro, Moment, StillGates, by_layer, norm};
use crate::metrics::record::Record;
use crate::metrics::tag;
use crate::model::block::pair::OpenEnd;
use crate::model::distill_pass::DistillPass;
use crate::model::train_pass::{ModelGrads, TrainPass};
use crate::real::real;
use crate::train::optimizer::host_adamw::{AdamSettings, HostAdamW, Rate};

mod flags;

use flags::Flags;

/// A gate above this counts as a retrieval head, one below the rest to 1 as a streaming head.
const DECIDED: f64 = 0.9;

const GATES: &str = "duo.gates";
const FIRST_MOMENT: &str = "duo.first_moment";
const SECOND_MOMENT: &str = "duo.second_moment";

/// Constants of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DuoConstants {
    /// The gates' rate before the schedule.
    pub rate: Rate,
    /// Weight of the mean gate in the loss.
    pub penalty: f64,
    /// What an open gate lets through.
    pub open_end: OpenEnd,
    /// Steps that the run is planned for; only its red flags ask.
    pub num_steps: u64,
}

/// Gates under training.
#[derive(Debug)]
pub struct DuoAttention {
    /// Row-major `[layers, kv_heads]`, as the last update left them.
    gates: Vec<f64>,
    /// The gates before the first step.
    start: Vec<f64>,
    num_kv_heads: usize,
    moments: HostAdamW,
    constants: DuoConstants,
    grads: Vec<f64>,
    /// Mean of the gates that the step computed with.
    mean: f64,
    flags: Flags,
}

impl DuoAttention {
    /// A run that starts with `gates`, row-major.
    ///
    /// # Panics
    /// If the number of gates is not a multiple of `num_kv_heads`: shapes are checked where they enter.
    pub fn new(num_kv_heads: usize, gates: Vec<f64>, constants: DuoConstants) -> Self {
        assert!(
            num_kv_heads > 0 && gates.len().is_multiple_of(num_kv_heads),
            "ragged gates"
        );
        let count = gates.len();
        let mean = mean(&gates);
        Self {
            start: gates.clone(),
            gates,
            num_kv_heads,
            moments: HostAdamW::new(count),
            constants,
            grads: vec![0.0; count],
            mean,
            flags: Flags::new(constants.num_steps, &[]),
        }
    }

    /// The gates that a step computes with, row-major.
    fn clamped(&self) -> Vec<f64> {
        self.gates.iter().map(|gate| gate.clamp(0.0, 1.0)).collect()
    }

    /// Adds `share` of the penalty's gradient.
    fn add_penalty(&mut self, gates: &[f64], share: f64) {
        let slope = share * self.constants.penalty / real(gates.len());
        for (grad, gate) in self.grads.iter_mut().zip(gates) {
            if *gate > 0.0 {
                *grad += slope;
            }
        }
    }
}

impl Method for DuoAttention {
    fn begin(&mut self) {
        self.grads = vec![0.0; self.gates.len()];
        self.mean = mean(&self.clamped());
    }

    fn micro_step(
        &mut self,
        engine: &TrainPass,
        micro: &Micro,
        _grads: Option<&mut ModelGrads>,
    ) -> Found {
        let gates = self.clamped();
        let pass = DistillPass {
            engine: *engine,
            open_end: self.constants.open_end,
        };
        let (found, bad_grad) = pass.run(
            micro.row,
            &by_layer(&gates, self.num_kv_heads),
            micro.weight,
            micro.watch,
        );
        for (grad, part) in self.grads.iter_mut().zip(&found.dgates) {
            *grad += part;
        }
        self.add_penalty(&gates, micro.share);
        let loss_sum = found.loss_sum;
        Found { loss_sum, bad_grad }
    }

    fn square_sum(&self) -> f64 {
        self.grads.iter().map(|grad| grad * grad).sum()
    }

    fn update(&mut self, (clip, multiplier): (f64, f64), step: u64, settings: AdamSettings) {
        self.gates = self.clamped();
        let grads: Vec<f64> = self.grads.iter().map(|grad| grad * clip).collect();
        let rate = Rate {
            lr: self.constants.rate.lr * multiplier,
            ..self.constants.rate
        };
        self.moments
            .update(&mut self.gates, &grads, step, settings, rate);
    }

    fn still_gates(&self) -> StillGates {
        let soft = self.clamped();
        let rounded: Vec<f64> = soft
            .iter()
            .map(|gate| f64::from(u8::from(*gate > flags::HALF)))
            .collect();
        StillGates {
            soft: by_layer(&soft, self.num_kv_heads),
            rounded: Some(by_layer(&rounded, self.num_kv_heads)),
        }
    }

    fn state(&self) -> MethodState {
        let shape = vec![self.gates.len() / self.num_kv_heads, self.num_kv_heads];
        MethodState {
            readable: vec![("gate", shape, self.gates.clone())],
            exact: vec![
                (GATES, self.gates.clone()),
                (FIRST_MOMENT, self.moments.first.clone()),
                (SECOND_MOMENT, self.moments.second.clone()),
            ],
        }
    }

    fn restore(&mut self, get: &dyn Fn(&str) -> Option<Vec<f64>>) -> Result<(), &'static str> {
        let count = self.gates.len();
        let read = |name: &'static str| {
            let values = get(name).filter(|values| values.len() == count);
            values.ok_or(name)
        };
        let (gates, first, second) = (read(GATES)?, read(FIRST_MOMENT)?, read(SECOND_MOMENT)?);
        self.gates = gates;
        self.moments = HostAdamW { first, second };
        Ok(())
    }

    fn report(&self, loss: f64, record: &mut Record) {
        let penalty = self.constants.penalty * self.mean;
        let gates = self.clamped();
        let count = |pick: &dyn Fn(f64) -> bool| real(gates.iter().filter(|g| pick(**g)).count());
        let retrieval = count(&|gate| gate > DECIDED);
        let streaming = count(&|gate| gate < 1.0 - DECIDED);
        let closed = count(&|gate| gate < flags::HALF);
        record
            .scalar(tag::LOSS_DISTILL, loss)
            .scalar(tag::LOSS_REG, penalty)
            .scalar(tag::LOSS_TOTAL, loss + penalty)
            .scalar(tag::GATES_MEAN, mean(&gates))
            .scalar(tag::SPARSITY_HARD, closed / real(gates.len().max(1)))
            .scalar(tag::GRAD_GATES, norm(&self.grads))
            .scalar(tag::HEADS_RETRIEVAL, retrieval)
            .scalar(tag::HEADS_STREAMING, streaming)
            .scalar(
                tag::HEADS_UNDECIDED,
                real(gates.len()) - retrieval - streaming,
            );
    }

    fn watch(&mut self, done: &[Record]) {
        self.flags = Flags::new(self.constants.num_steps, done);
    }

    fn observe(&mut self, record: &mut Record, moment: Moment) {
        let gates = (&*self.start, &*self.gates);
        self.flags
            .observe(record, gates, (self.num_kv_heads, moment));
    }

    fn picture(&self) -> Option<GatePicture> {
        Some(GatePicture {
            tag: tag::HIST_GATES,
            parameters: self.gates.clone(),
            open: self.clamped(),
            num_kv_heads: self.num_kv_heads,
        })
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / real(values.len().max(1))
}

#[cfg(test)]
mod tests;
