//! Red flags of a DuoAttention run: what to know before a mask is cut from its gates.
//!
//! # Decisions
//! - From the middle of a run on its gates should have moved, and apart: the rate has been at its height for most of that half. What
//!   is wrong then is said then, when there is something to save; a layer without a retrieval head in the last fifth, where the
//!   published rate falls and hardly a gate comes back; ties only at the end, for gates come and go at their upper bound.
//! - Flags depend on logged steps alone, each is raised once, and a run that was interrupted reads its own metrics first.

use crate::metrics::record::Record;
use crate::real::real;
use crate::train::method::Moment;
use std::collections::BTreeSet;

/// Share of the gates at their upper bound from which most masks cut through ties.
const TIED: f64 = 0.5;
/// A head whose gate is below this streams for the most part.
pub(super) const HALF: f64 = 0.5;
/// Way from its start below which no gate has moved.
const STILL: f64 = 0.02;

/// A stable code, and one sentence with a way out.
type Flag = (&'static str, String);

/// The flags of one run.
#[derive(Debug)]
pub(super) struct Flags {
    /// Steps that the run is planned for.
    num_steps: u64,
    raised: BTreeSet<String>,
}

impl Flags {
    /// What a run of `num_steps` steps has raised in its records so far.
    pub(super) fn new(num_steps: u64, done: &[Record]) -> Self {
        let events = done.iter().flat_map(|record| &record.events);
        Self {
            num_steps,
            raised: events.map(|event| event.code.clone()).collect(),
        }
    }

    /// Adds an event to `record` for every flag that is raised by it for the first time; `gates` are those after the step, row-major,
    /// `start` those before the first.
    pub(super) fn observe(
        &mut self,
        record: &mut Record,
        (start, gates): (&[f64], &[f64]),
        (num_kv_heads, moment): (usize, Moment),
    ) {
        let mut flags: Vec<Flag> = Vec::new();
        let is_last = moment == Moment::Last;
        if is_last || record.step >= self.num_steps.div_ceil(2) {
            let when = format!("after {} of {} steps", record.step, self.num_steps);
            flags.extend(still(start, gates, &when));
            flags.extend(one_sided(gates, &when));
        }
        if is_last || record.step >= self.num_steps - self.num_steps / 5 {
            flags.extend(streaming_layers(gates, num_kv_heads));
        }
        if is_last {
            flags.extend(tied(gates));
        }
        for (code, text) in flags {
            if self.raised.insert(code.to_owned()) {
                record.event(code, text);
            }
        }
    }
}

fn still(start: &[f64], gates: &[f64], when: &str) -> Option<Flag> {
    let ways = gates.iter().zip(start).map(|(now, start)| now - start);
    let furthest = ways.map(f64::abs).fold(0.0, f64::max);
    (furthest < STILL).then(|| {
        let text = format!(
            "no gate has moved by more than {furthest:.4} {when}: raise `optimizer.gate_lr`, or give it more `optimizer.steps`"
        );
        ("duo.still", text)
    })
}

/// Gates that do not part.
fn one_sided(gates: &[f64], when: &str) -> Option<Flag> {
    let all = gates.len();
    if gates.iter().all(|gate| *gate > HALF) {
        let text = format!(
            "none of {all} gates is below {HALF} {when}: the penalty does not outweigh the distillation; raise `duo.penalty`, or give \
             it more `optimizer.steps`"
        );
        return Some(("duo.all_open", text));
    }
    gates.iter().all(|gate| *gate < HALF).then(|| {
        let text = format!(
            "every one of {all} gates is below {HALF} {when}: the penalty outweighs the distillation, and their order means little; \
             lower `duo.penalty`"
        );
        ("duo.all_closed", text)
    })
}

fn tied(gates: &[f64]) -> Option<Flag> {
    let all = gates.len();
    let num_open = gates.iter().filter(|gate| **gate >= 1.0).count();
    (real(num_open) >= TIED * real(all)).then(|| {
        let text = format!(
            "{num_open} of {all} gates ended at 1: a mask that keeps fewer heads orders them by what the last update added"
        );
        ("duo.tied", text)
    })
}

/// Layers that stream altogether, unless all of them do.
fn streaming_layers(gates: &[f64], num_kv_heads: usize) -> Option<Flag> {
    let layers = gates.chunks(num_kv_heads).enumerate();
    let closed = layers.filter(|(_, gates)| gates.iter().all(|gate| *gate < HALF));
    let names: Vec<String> = closed.map(|(layer, _)| layer.to_string()).collect();
    let all = gates.len() / num_kv_heads.max(1);
    (!names.is_empty() && names.len() < all).then(|| {
        let text = format!(
            "every gate of layer {} is below {HALF}: legal, but some engines expect a retrieval head in every layer",
            names.join(", ")
        );
        ("gate.streaming_layer", text)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NUM_STEPS: u64 = 21;

    /// Codes raised at each step by a run whose gates are always these, interrupted after step `stop`.
    fn raised(gates: &[f64], stop: u64) -> Vec<(u64, String)> {
        let mut flags = Flags::new(NUM_STEPS, &[]);
        let (mut records, mut found) = (Vec::new(), Vec::new());
        for step in 1..=NUM_STEPS {
            let mut record = Record::new(step);
            let moment = if step == NUM_STEPS {
                Moment::Last
            } else {
                Moment::Underway
            };
            flags.observe(&mut record, (&[1.0; 4], gates), (2, moment));
            found.extend(record.events.iter().map(|event| (step, event.code.clone())));
            records.push(record);
            if step == stop {
                flags = Flags::new(NUM_STEPS, &records);
            }
        }
        found
    }

    #[test]
    fn gates_that_make_a_mask_doubtful_are_flagged_while_the_run_can_be_mended() {
        let check = |gates: [f64; 4], expected: &[(u64, &str)]| {
            for stop in [0, 10, 11, 17, 20] {
                let found = raised(&gates, stop);
                let found: Vec<(u64, &str)> =
                    found.iter().map(|(at, code)| (*at, &**code)).collect();
                assert_eq!(found, expected, "{gates:?}, stopped at {stop}");
            }
        };
        check([1.0, 0.2, 0.9, 0.1], &[]);
        check([1.0, 0.7, 0.9, 0.6], &[(11, "duo.all_open")]);
        check([0.4, 0.2, 0.0, 0.1], &[(11, "duo.all_closed")]);
        check([1.0, 0.2, 1.001, 0.1], &[(NUM_STEPS, "duo.tied")]);
        check([1.0, 0.9, 0.4, 0.1], &[(17, "gate.streaming_layer")]);
        let asleep = [1.0, 0.99, 0.999, 0.985];
        check(asleep, &[(11, "duo.still"), (11, "duo.all_open")]);
    }

    #[test]
    fn a_run_that_ends_early_is_judged_all_the_same() {
        let mut flags = Flags::new(100, &[]);
        let mut record = Record::new(3);
        flags.observe(&mut record, (&[1.0; 2], &[1.0; 2]), (2, Moment::Last));
        let texts: Vec<&str> = record.events.iter().map(|event| &*event.text).collect();
        assert!(texts[0].contains("after 3 of 100 steps"), "{texts:?}");
        assert_eq!(texts.len(), 3, "{texts:?}");
    }
}
