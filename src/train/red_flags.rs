//! Red flags of a PruLong run: what to know before its mask is trusted.
//!
//! # Decisions
//! - Flags depend on logged steps alone, so a run that was interrupted raises the same ones at the same steps: it reads its own
//!   metrics first. Each is raised once; that of a plateau once for each plateau.
//! - lambda_1 may change its sign once or twice on the way (the gates lag, then overshoot); more often is swinging.
//! - A multiplier without decay has no bound; it is held against the one of the published decay.

use super::gate_trainer::GateRates;
use super::method::Moment;
use super::plateaus::PlateauGates;
use crate::gate::bank::GateBank;
use crate::gate::hard_concrete::{prob_closed, prob_fully_open};
use crate::gate::lagrangian::expected_sparsity;
use crate::metrics::record::Record;
use crate::metrics::tag;
use crate::schedule::course::SparsityCourse;
use std::collections::BTreeSet;

/// Distance from the target that is too far on the way.
const OFF_TARGET: f64 = 0.1;
/// Steps that it may be that far.
const OFF_TARGET_STEPS: u64 = 50;
/// Distance from the target that is too far at the end.
const MISSED: f64 = 0.05;
/// Share of the gates that may be undecided at the end.
const UNDECIDED: f64 = 0.1;
/// Probability from which a gate hardly moves any more.
const SATURATED: f64 = 0.95;
/// Share of the bound that counts as reaching it.
const NEAR_BOUND: f64 = 0.95;
/// Sign changes of lambda_1 that are no swinging yet.
const SIGN_CHANGES: usize = 2;
/// Way of log_alpha, of the about six from open to closed, below which no gate has moved by the middle of the ramp.
const STILL: f64 = 0.5;
/// Fewest steps after which a gate should have moved: a short or absent ramp, and a learning rate that warms up, are given time.
const STILL_STEPS: u64 = 20;
/// Weight decay of the multipliers in the published method.
const PUBLISHED_DECAY: f64 = 0.1;

/// What a run is measured against.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Steps until the target has its final value.
    pub ramp_steps: u64,
    /// Steps until it has its first one, the same where there is no other.
    pub first_ramp_steps: u64,
    /// How many targets there are.
    pub num_targets: usize,
    /// That value.
    pub final_target: f64,
    /// Where decay holds the multipliers.
    pub lambda_bound: f64,
}

/// The flags of one run, and what it takes to raise them.
#[derive(Debug)]
pub struct RedFlags {
    limits: Limits,
    /// log_alpha before the first step.
    start: Vec<f64>,
    off_since: Option<u64>,
    lambda_1: f64,
    num_sign_changes: usize,
    /// Step of the last record of a step.
    seen: u64,
    /// Its target, if there is one.
    target: Option<f64>,
    /// Whether that was above the one before.
    rises: bool,
    raised: BTreeSet<String>,
}

/// A stable code, and one sentence with a way out.
type Flag = (&'static str, String);

impl Limits {
    /// Of a run's settings.
    pub fn of(rates: &GateRates, target: &SparsityCourse) -> Self {
        let decay = rates.lambdas.weight_decay;
        let decay = if decay > 0.0 { decay } else { PUBLISHED_DECAY };
        Self {
            ramp_steps: target.ramp_end(),
            first_ramp_steps: target.first_ramp(),
            num_targets: target.num_targets(),
            final_target: target.end(),
            lambda_bound: 1.0 / decay,
        }
    }
}

impl RedFlags {
    /// No flag raised, after the records of the steps that were already done; `start` is log_alpha before the first step.
    pub fn new(limits: Limits, start: Vec<f64>, done: &[Record]) -> Self {
        let mut flags = Self {
            limits,
            start,
            off_since: None,
            lambda_1: 0.0,
            num_sign_changes: 0,
            seen: 0,
            target: None,
            rises: true,
            raised: BTreeSet::new(),
        };
        for record in done {
            flags.track(record);
        }
        flags
    }

    /// Adds an event to `record` for every flag that is raised by it for the first time, and for every plateau left since the last
    /// one; `gates` are those after the step.
    pub fn observe(
        &mut self,
        record: &mut Record,
        (gates, plateaus): (&GateBank, &PlateauGates),
        moment: Moment,
    ) {
        for (code, text) in self.missed_plateaus(record.step, gates, plateaus) {
            record.event(code, text);
        }
        self.track(record);
        let mut flags: Vec<Flag> = Vec::new();
        flags.extend(self.off_target(record));
        flags.extend(self.multipliers(record));
        flags.extend(self.saturated(record, gates));
        flags.extend(self.still(record, gates));
        // On the way up layers close and open again.
        if moment == Moment::Last || record.step >= self.limits.ramp_steps {
            flags.extend(streaming_layers(gates));
        }
        if moment == Moment::Last {
            flags.extend(self.missed(gates));
            flags.extend(undecided(record));
        }
        for (code, text) in flags {
            if self.raised.insert(code.to_owned()) {
                record.event(code, text);
            }
        }
    }

    fn track(&mut self, record: &Record) {
        if let Some(gap) = gap(record) {
            let since = self.off_since.unwrap_or(record.step);
            self.off_since = (gap > OFF_TARGET).then_some(since);
        }
        if let Some(now) = record.value(tag::LAMBDA_1) {
            self.num_sign_changes += usize::from(now * self.lambda_1 < 0.0);
            if now != 0.0 {
                self.lambda_1 = now;
            }
        }
        let codes = record.events.iter().map(|event| event.code.clone());
        self.raised.extend(codes);
        // Records of held-out rows are not part of what is observed.
        if let Some((_, target)) = sparsity(record) {
            self.seen = record.step;
            self.rises = self.target.is_none_or(|before| target > before);
            self.target = Some(target);
        }
    }

    fn off_target(&self, record: &Record) -> Option<Flag> {
        let steps = record.step - self.off_since?;
        let (now, target) = sparsity(record)?;
        (steps >= OFF_TARGET_STEPS).then(|| {
            let text = format!(
                "the sparsity has been more than {OFF_TARGET} from its target for {steps} steps ({now:.3}, target \
                 {target:.3}): raise `optimizer.gate_lr`, or give it more `optimizer.steps`"
            );
            ("gate.off_target", text)
        })
    }

    fn multipliers(&self, record: &Record) -> Vec<Flag> {
        let mut flags = Vec::new();
        let Some((first, second)) = record.value(tag::LAMBDA_1).zip(record.value(tag::LAMBDA_2))
        else {
            return flags;
        };
        let bound = self.limits.lambda_bound;
        if first.abs().max(second.abs()) >= NEAR_BOUND * bound {
            let text = format!(
                "a multiplier is at the bound of {bound:.0} (lambda {first:.2} {second:.2}): the gates do not follow the \
                 constraint; raise `optimizer.gate_lr`, or lower `optimizer.lambda_lr`"
            );
            flags.push(("gate.lambda_bound", text));
        }
        if self.num_sign_changes > SIGN_CHANGES * self.limits.num_targets {
            let text = format!(
                "lambda_1 has changed its sign {} times: the gates swing about the target; lower `optimizer.gate_lr`",
                self.num_sign_changes
            );
            flags.push(("gate.lambda_sign", text));
        }
        flags
    }

    fn saturated(&self, record: &Record, gates: &GateBank) -> Option<Flag> {
        let mut gates = gates.log_alpha().iter();
        let any_closed = gates.clone().any(|a| prob_closed(*a) > SATURATED);
        let is_saturated = |a: &f64| prob_closed(*a).max(prob_fully_open(*a)) > SATURATED;
        let early = record.step < self.limits.ramp_steps && self.rises;
        (early && any_closed && gates.all(is_saturated)).then(|| {
            let text = format!(
                "every gate was fully open or closed at step {}, while the target still rose: their order means little; lower \
                 `optimizer.gate_lr`",
                record.step
            );
            ("gate.saturated", text)
        })
    }

    fn still(&self, record: &Record, gates: &GateBank) -> Option<Flag> {
        let (now, target) = sparsity(record)?;
        let is_late = record.step >= self.limits.first_ramp_steps.div_ceil(2).max(STILL_STEPS);
        let ways = gates.log_alpha().iter().zip(&self.start);
        let furthest = ways
            .map(|(now, start)| (now - start).abs())
            .fold(0.0, f64::max);
        (is_late && (now - target).abs() > OFF_TARGET && furthest < STILL).then(|| {
            let text = format!(
                "no gate has moved by more than {furthest:.3} in {} steps (sparsity {now:.3}, target {target:.3}): raise \
                 `optimizer.gate_lr`, or look at why the learning rate is so small",
                record.step
            );
            ("gate.still", text)
        })
    }

    fn missed(&self, gates: &GateBank) -> Option<Flag> {
        let (now, target) = (expected_sparsity(gates).0, self.limits.final_target);
        ((now - target).abs() > MISSED).then(|| {
            let text = format!(
                "the run ended at sparsity {now:.3}, its target is {target:.3}: an export cuts at the target all the same, in \
                 the order of gates that were not trained there"
            );
            ("gate.missed_target", text)
        })
    }

    /// Plateaus that the run left after the last record without having reached them.
    fn missed_plateaus(&self, now: u64, gates: &GateBank, plateaus: &PlateauGates) -> Vec<Flag> {
        let new = plateaus
            .left()
            .filter(|(plateau, _)| (self.seen + 1..=now).contains(&plateau.step));
        let flags = new.filter_map(|(plateau, log_alpha)| {
            let then = GateBank::new(gates.num_kv_heads(), log_alpha.to_vec());
            let (found, target) = (expected_sparsity(&then).0, plateau.sparsity);
            ((found - target).abs() > MISSED).then(|| {
                let text = format!(
                    "the target of {target} was left at step {} with a sparsity of {found:.3}: its mask is cut from gates that \
                     were not trained there; give the run more `optimizer.steps`",
                    plateau.step
                );
                ("gate.missed_plateau", text)
            })
        });
        flags.collect()
    }
}

fn sparsity(record: &Record) -> Option<(f64, f64)> {
    record
        .value(tag::SPARSITY_EXPECTED)
        .zip(record.value(tag::SPARSITY_TARGET))
}

fn gap(record: &Record) -> Option<f64> {
    sparsity(record).map(|(now, target)| (now - target).abs())
}

fn undecided(record: &Record) -> Option<Flag> {
    let undecided = record.value(tag::HEADS_UNDECIDED)?;
    let decided = record.value(tag::HEADS_RETRIEVAL)? + record.value(tag::HEADS_STREAMING)?;
    let all = decided + undecided;
    (undecided > UNDECIDED * all).then(|| {
        let text = format!(
            "{undecided} of {all} gates ended undecided: rounding them to a mask changes the model; train longer"
        );
        ("gate.undecided", text)
    })
}

fn streaming_layers(gates: &GateBank) -> Option<Flag> {
    let layers = gates.log_alpha().chunks(gates.num_kv_heads()).enumerate();
    let closed = layers.filter(|(_, gates)| gates.iter().all(|a| prob_closed(*a) > 0.5));
    let names: Vec<String> = closed.map(|(layer, _)| layer.to_string()).collect();
    (!names.is_empty()).then(|| {
        let text = format!(
            "every gate of layer {} is closed: legal, but some engines expect a retrieval head in every layer",
            names.join(", ")
        );
        ("gate.streaming_layer", text)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::course::tests::course;

    const LIMITS: Limits = Limits {
        ramp_steps: 100,
        first_ramp_steps: 100,
        num_targets: 1,
        final_target: 0.5,
        lambda_bound: 10.0,
    };
    /// Half open, half closed, none of them for good.
    const CALM: [[f64; 2]; 2] = [[4.0, -4.0], [4.0, -4.0]];

    /// Gates of layers of two kv heads.
    fn bank(layers: &[[f64; 2]]) -> GateBank {
        GateBank::new(2, layers.concat())
    }

    fn record(step: u64, sparsity: f64, lambda_1: f64) -> Record {
        let mut record = Record::new(step);
        record
            .scalar(tag::SPARSITY_EXPECTED, sparsity)
            .scalar(tag::SPARSITY_TARGET, 0.5)
            .scalar(tag::LAMBDA_1, lambda_1)
            .scalar(tag::LAMBDA_2, 1.0)
            .scalar(tag::HEADS_RETRIEVAL, 9.0)
            .scalar(tag::HEADS_STREAMING, 9.0)
            .scalar(tag::HEADS_UNDECIDED, 2.0);
        record
    }

    /// Runs have 200 steps.
    fn moment(step: u64) -> Moment {
        if step == 200 {
            Moment::Last
        } else {
            Moment::Underway
        }
    }

    /// Where the calm gates could come from.
    const START: [f64; 4] = [4.0; 4];

    /// Codes raised at each step by lines of (step, sparsity, lambda_1).
    fn raised(lines: &[(u64, f64, f64)], layers: &[[f64; 2]]) -> Vec<(u64, String)> {
        let mut flags = RedFlags::new(LIMITS, START.to_vec(), &[]);
        let mut found = Vec::new();
        for (step, sparsity, lambda_1) in lines {
            let mut record = record(*step, *sparsity, *lambda_1);
            flags.observe(&mut record, (&bank(layers), &single()), moment(*step));
            found.extend(record.events.into_iter().map(|event| (*step, event.code)));
        }
        found
    }

    fn plateaus(targets: &[f64]) -> PlateauGates {
        PlateauGates::new(&course(200, targets), 4)
    }

    fn single() -> PlateauGates {
        plateaus(&[])
    }

    /// Events of a run that logs every 30 steps, interrupted after the record of step `stop`; its gates are always the calm ones.
    fn missed(stop: u64) -> Vec<(u64, String)> {
        let mut gates = plateaus(&[0.2, 0.45, 0.7]);
        let mut flags = RedFlags::new(LIMITS, START.to_vec(), &[]);
        let (mut records, mut found) = (Vec::new(), Vec::new());
        for step in 1..=200 {
            gates.observe(step, &bank(&CALM));
            if step % 30 == 0 {
                let mut record = record(step, 0.46, 0.5);
                flags.observe(&mut record, (&bank(&CALM), &gates), Moment::Underway);
                found.extend(record.events.iter().map(|event| (step, event.text.clone())));
                records.push(record);
            }
            if step == stop {
                let mut held_out = Record::new(step);
                held_out.scalar(tag::LOSS_LM, 1.0);
                records.push(held_out);
                flags = RedFlags::new(LIMITS, START.to_vec(), &records);
            }
        }
        found
    }

    #[test]
    fn plateaus_that_were_not_reached_are_flagged_once_each_whether_or_not_the_run_was_interrupted()
    {
        // The calm gates have a sparsity of 0.460.
        let found = missed(0);
        let steps: Vec<u64> = found.iter().map(|(step, _)| *step).collect();
        assert_eq!(steps, [60, 150], "the one between was reached: {found:?}");
        assert!(
            found[0].1.contains("0.2") && found[1].1.contains("0.7"),
            "{found:?}"
        );
        for stop in [30, 50, 55, 60, 90, 149, 150, 151] {
            assert_eq!(missed(stop), found, "{stop}");
        }
    }

    fn codes(found: &[(u64, String)]) -> Vec<(u64, &str)> {
        found
            .iter()
            .map(|(step, code)| (*step, code.as_str()))
            .collect()
    }

    #[test]
    fn a_calm_run_raises_none() {
        let lines: Vec<(u64, f64, f64)> = (1..=20_u32)
            .map(|i| (u64::from(i) * 10, 0.45, 0.5))
            .collect();
        assert_eq!(raised(&lines, &CALM), []);
    }

    #[test]
    fn a_sparsity_that_stays_away_is_flagged_once_after_fifty_steps() {
        let lines: Vec<(u64, f64, f64)> = (1..=15_u32)
            .map(|i| (u64::from(i) * 10, 0.3, 0.5))
            .collect();
        assert_eq!(codes(&raised(&lines, &CALM)), [(60, "gate.off_target")]);
        let back = [
            (10, 0.3, 0.5),
            (50, 0.45, 0.5),
            (60, 0.3, 0.5),
            (109, 0.3, 0.5),
        ];
        assert_eq!(raised(&back, &CALM), [], "it came back in between");
    }

    #[test]
    fn multipliers_at_their_bound_and_swinging_ones_are_flagged() {
        let found = raised(&[(110, 0.5, -9.6)], &CALM);
        assert_eq!(codes(&found), [(110, "gate.lambda_bound")]);
        let swing = [
            (110, 0.5, 1.0),
            (120, 0.5, -1.0),
            (130, 0.5, 0.0),
            (140, 0.5, 1.0),
            (150, 0.5, -1.0),
        ];
        assert_eq!(codes(&raised(&swing, &CALM)), [(150, "gate.lambda_sign")]);
        assert_eq!(raised(&swing[..4], &CALM), []);
        // Every target may be lagged behind and overshot.
        let limits = Limits {
            num_targets: 2,
            ..LIMITS
        };
        let mut flags = RedFlags::new(limits, START.to_vec(), &[]);
        for (step, sparsity, lambda_1) in swing {
            let mut record = record(step, sparsity, lambda_1);
            flags.observe(&mut record, (&bank(&CALM), &single()), Moment::Underway);
            assert_eq!(record.events, []);
        }
    }

    #[test]
    fn gates_that_are_decided_before_the_target_is_reached_are_flagged() {
        let extreme = [[9.0, -9.0]; 2];
        assert_eq!(
            codes(&raised(&[(50, 0.5, 0.5)], &extreme)),
            [(50, "gate.saturated")]
        );
        assert_eq!(raised(&[(100, 0.5, 0.5)], &extreme), [], "the ramp is over");
        // Two records of one target, neither of the calm gates': it rests at a plateau.
        let mut flags = RedFlags::new(LIMITS, START.to_vec(), &[]);
        for (step, layers) in [(40, &CALM), (50, &extreme)] {
            let mut record = record(step, 0.5, 0.5);
            flags.observe(&mut record, (&bank(layers), &single()), Moment::Underway);
            assert_eq!(record.events, []);
        }
        let fresh = [[6.0; 2]; 2];
        assert_eq!(
            raised(&[(50, 0.5, 0.5)], &fresh),
            [],
            "nothing has closed yet"
        );
    }

    #[test]
    fn gates_that_stay_where_they_were_are_flagged_once_half_of_the_ramp_is_over() {
        let asleep = [[4.2, 3.9]; 2];
        let lines = [(49, 0.0, 0.5), (50, 0.0, 0.5), (60, 0.0, 0.5)];
        assert_eq!(codes(&raised(&lines, &asleep)), [(50, "gate.still")]);
        assert_eq!(raised(&[(50, 0.45, 0.5)], &asleep), [], "on its target");
        // Without a ramp too it is not said at the first steps.
        let limits = Limits {
            first_ramp_steps: 0,
            ..LIMITS
        };
        for (step, is_said) in [(1, false), (19, false), (20, true)] {
            let mut record = record(step, 0.0, 0.5);
            let mut flags = RedFlags::new(limits, START.to_vec(), &[]);
            flags.observe(&mut record, (&bank(&asleep), &single()), Moment::Underway);
            let said = record.events.iter().any(|event| event.code == "gate.still");
            assert_eq!(said, is_said, "{step}");
        }
        let awake = [[4.2, 3.4]; 2];
        assert_eq!(raised(&[(50, 0.0, 0.5)], &awake), []);
    }

    #[test]
    fn the_end_is_judged_by_the_gates_themselves() {
        // P(z = 0) of 4 and -4 is 0.0037 and 0.9170: a mean of 0.689, and of 0.460 for the calm ones.
        let sparse = [[4.0, -4.0], [-4.0, -4.0]];
        let lines = [(90, 0.5, 0.5), (110, 0.5, 0.5), (200, 0.5, 0.5)];
        assert_eq!(
            codes(&raised(&lines, &sparse)),
            [(110, "gate.streaming_layer"), (200, "gate.missed_target")],
            "a layer as soon as the ramp is over"
        );
        let mut record = record(200, 0.5, 0.5);
        record
            .scalars
            .retain(|(name, _)| name != tag::HEADS_UNDECIDED);
        record.scalar(tag::HEADS_UNDECIDED, 3.0);
        RedFlags::new(LIMITS, START.to_vec(), &[]).observe(
            &mut record,
            (&bank(&CALM), &single()),
            Moment::Last,
        );
        let said = record
            .events
            .iter()
            .find(|event| event.code == "gate.undecided")
            .unwrap();
        assert!(said.text.starts_with("3 of 21 gates"), "{}", said.text);
    }

    #[test]
    fn an_interrupted_run_raises_the_same_flags_at_the_same_steps() {
        let lines: Vec<(u64, f64, f64)> = (1..=20_u32)
            .map(|i| (u64::from(i) * 10, 0.3, if i % 3 == 0 { -1.0 } else { 1.0 }))
            .collect();
        let run = |cut: usize| {
            let mut done: Vec<Record> = Vec::new();
            for part in [&lines[..cut], &lines[cut..]] {
                let mut flags = RedFlags::new(LIMITS, START.to_vec(), &done);
                for (step, sparsity, lambda_1) in part {
                    let mut record = record(*step, *sparsity, *lambda_1);
                    flags.observe(&mut record, (&bank(&CALM), &single()), moment(*step));
                    done.push(record);
                }
            }
            done
        };
        let whole = run(0);
        assert!(whole.iter().any(|record| !record.events.is_empty()));
        for cut in 1..lines.len() {
            assert_eq!(run(cut), whole, "interrupted after line {cut}");
        }
    }
}
