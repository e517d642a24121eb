//! Loss on held-out rows while gates train: with full attention, with the gates as they are, with the mask they round to.
//!
//! What an export cuts is the mask; the distance of the last two losses is what rounding costs.

use super::error::TrainError;
use super::gate_step::Trainer;
use super::method::{Moment, StillGates};
use crate::metrics::record::Record;
use crate::metrics::tag;
use crate::model::train_pass::Row;

/// Nats per token that rounding may add at the end of a run; more is a red flag. 5 % more perplexity.
const ROUNDING_GAP: f64 = 0.05;

/// Relative change of full attention's loss from which on rows are others; another machine's rounding moves it far less.
const OTHER_ROWS: f64 = 1e-3;

/// What held-out rows said at one step, nats per token.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct HeldOutLoss {
    /// Steps done.
    pub step: u64,
    /// With every head a retrieval head.
    pub full: f64,
    /// With the gates as they were.
    pub gates: f64,
    /// With the mask they rounded to; absent for gates that are not rounded.
    pub mask: Option<f64>,
}

impl HeldOutLoss {
    fn write(&self, record: &mut Record, moment: Moment) {
        let Self { full, gates, .. } = *self;
        record
            .scalar(tag::VAL_FULL, full)
            .scalar(tag::VAL_GATES, gates);
        let Some(mask) = self.mask else {
            return;
        };
        let gap = mask - gates;
        record
            .scalar(tag::VAL_MASK, mask)
            .scalar(tag::GAP_SOFT_HARD, gap);
        if moment == Moment::Last && gap > ROUNDING_GAP {
            let text = format!(
                "rounding the gates to a mask adds {gap:.3} nats per token on held-out rows ({gates:.3} to {mask:.3}): gates are \
                 undecided, or hold more heads than the target keeps; give the run more `optimizer.steps`, or a lower `sparsity.end`"
            );
            record.event("gate.rounding_gap", text);
        }
    }

    /// Every look that `records` hold.
    pub fn all(records: &[Record]) -> Vec<Self> {
        let look = |record: &Record| {
            Some(Self {
                step: record.step,
                full: record.value(tag::VAL_FULL)?,
                gates: record.value(tag::VAL_GATES)?,
                mask: record.value(tag::VAL_MASK),
            })
        };
        records.iter().filter_map(look).collect()
    }
}

/// Held-out rows, and what is known of them.
#[derive(Debug)]
pub struct Validation {
    rows: Vec<Row>,
    every: u64,
    /// Mean loss with every gate open, while the weights stay as they are.
    full: Option<f64>,
    /// The same as an earlier part of the run saw it, until it has been compared.
    before: Option<(u64, f64)>,
    /// Steps of the last look.
    seen: Option<u64>,
}

impl Validation {
    /// Rows that are looked at every so many steps.
    pub fn new(rows: Vec<Row>, every: u64) -> Self {
        Self {
            rows,
            every,
            full: None,
            before: None,
            seen: None,
        }
    }

    /// Takes over what a run that is continued has seen.
    pub fn go_on(&mut self, records: &[Record]) {
        let last = HeldOutLoss::all(records)
            .into_iter()
            .max_by_key(|look| look.step);
        self.seen = last.map(|look| look.step);
        self.before = last.map(|look| (look.step, look.full));
    }

    /// Whether a look is due after `done` steps and was not taken yet.
    pub fn is_due(&self, done: u64) -> bool {
        done > 0 && done.is_multiple_of(self.every) && !self.has_seen(done)
    }

    /// Whether the rows were looked at after `done` steps.
    pub fn has_seen(&self, done: u64) -> bool {
        self.seen == Some(done)
    }

    /// Adds the losses to `record`; false once `stop` says so between two rows, with `record` as it was.
    ///
    /// The loss of full attention is computed once, unless weights train.
    ///
    /// # Errors
    /// [`TrainError::NotFinite`] for a loss that is no number: gates that no step has computed with yet.
    pub fn observe(
        &mut self,
        trainer: &Trainer,
        record: &mut Record,
        moment: Moment,
        stop: &dyn Fn() -> bool,
    ) -> Result<bool, TrainError> {
        let Some(look) = self.look(trainer, record.step, stop) else {
            return Ok(false);
        };
        let losses = [Some(look.full), Some(look.gates), look.mask];
        if losses.iter().flatten().any(|loss| !loss.is_finite()) {
            let (what, step) = ("a held-out loss", record.step);
            return Err(TrainError::NotFinite { what, step });
        }
        (self.full, self.seen) = (Some(look.full), Some(look.step));
        look.write(record, moment);
        let before = self.before.take().filter(|_| trainer.weights.is_none());
        if let Some(text) = before.and_then(|before| others(before, look.full)) {
            record.event("val.other_rows", text);
        }
        Ok(true)
    }

    fn look(&self, trainer: &Trainer, step: u64, stop: &dyn Fn() -> bool) -> Option<HeldOutLoss> {
        let loss = |z: &[Vec<f64>]| trainer.evaluate_unless(&self.rows, z, stop);
        let StillGates { soft, rounded } = trainer.method.still_gates();
        let known = self.full.filter(|_| trainer.weights.is_none());
        let full = match known {
            Some(full) => full,
            None => loss(&open(&soft))?,
        };
        let gates = loss(&soft)?;
        let mask = match rounded {
            Some(mask) => Some(loss(&mask)?),
            None => None,
        };
        Some(HeldOutLoss {
            step,
            full,
            gates,
            mask,
        })
    }
}

/// That the rows are not those of before, if full attention's loss on them says so.
fn others((step, before): (u64, f64), now: f64) -> Option<String> {
    ((now - before).abs() > OTHER_ROWS * before.abs()).then(|| {
        format!(
            "full attention's loss on the held-out rows was {before:.4} at step {step} and is {now:.4}: `validation` names other rows \
             now, whose losses do not continue those of before"
        )
    })
}

fn open(gates: &[Vec<f64>]) -> Vec<Vec<f64>> {
    gates.iter().map(|layer| vec![1.0; layer.len()]).collect()
}
