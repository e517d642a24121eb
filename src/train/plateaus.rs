//! The gates of a run that goes through several targets, as they were when it left each.
//!
//! They travel in every later checkpoint, so that a mask for each target can be cut from any of them.

use crate::gate::bank::GateBank;
use crate::schedule::course::{Plateau, SparsityCourse};

/// Name in a checkpoint of log_alpha at the plateaus left so far, for readers: `[plateaus, layers, kv_heads]`, F32.
pub const READABLE: &str = "log_alpha_plateaus";
/// Name of the same in full precision.
const EXACT: &str = "gates.plateaus";

/// Plateaus of a run, and log_alpha at the end of those it has left.
#[derive(Debug, Clone, PartialEq)]
pub struct PlateauGates {
    plateaus: Vec<Plateau>,
    num_gates: usize,
    left: Vec<Vec<f64>>,
}

impl PlateauGates {
    /// Of a run that has not begun, with so many gates.
    pub fn new(course: &SparsityCourse, num_gates: usize) -> Self {
        Self {
            plateaus: course.plateaus().collect(),
            num_gates,
            left: Vec::new(),
        }
    }

    /// Looks at the gates after `done` steps.
    pub fn observe(&mut self, done: u64, bank: &GateBank) {
        let next = self.plateaus.get(self.left.len());
        if next.is_some_and(|plateau| plateau.step == done) {
            self.left.push(bank.log_alpha().to_vec());
        }
    }

    /// Each plateau that the run has left, with its log_alpha.
    pub fn left(&self) -> impl Iterator<Item = (Plateau, &[f64])> {
        let gates = self.left.iter().map(Vec::as_slice);
        self.plateaus.iter().copied().zip(gates)
    }

    /// The plateau that the gates of now are trained for: the next one, or the one they have just left. Nothing on the way to the
    /// last target.
    pub fn under_way(&self, bank: &GateBank) -> Option<Plateau> {
        let just_left = self
            .left
            .last()
            .is_some_and(|gates| gates == bank.log_alpha());
        self.plateaus
            .get(self.left.len() - usize::from(just_left))
            .copied()
    }

    /// For readers of a checkpoint: name, shape and values; nothing before the first plateau is left.
    pub fn readable(&self, num_kv_heads: usize) -> Option<(&'static str, Vec<usize>, Vec<f64>)> {
        let num_layers = self.num_gates / num_kv_heads.max(1);
        let shape = vec![self.left.len(), num_layers, num_kv_heads];
        (!self.left.is_empty()).then(|| (READABLE, shape, self.left.concat()))
    }

    /// What continues the run; nothing for a run with a single target.
    pub fn state(&self) -> Option<(&'static str, Vec<f64>)> {
        (!self.plateaus.is_empty()).then(|| (EXACT, self.left.concat()))
    }

    /// Puts back what [`Self::state`] gave.
    ///
    /// # Errors
    /// The vector's name, if it is missing or holds no whole number of plateaus.
    pub fn restore(&mut self, get: &dyn Fn(&str) -> Option<Vec<f64>>) -> Result<(), &'static str> {
        if self.plateaus.is_empty() {
            return Ok(());
        }
        let state = get(EXACT).ok_or(EXACT)?;
        let gates = state.chunks(self.num_gates.max(1));
        let fits = state.len().is_multiple_of(self.num_gates.max(1));
        if !fits || gates.len() > self.plateaus.len() {
            return Err(EXACT);
        }
        self.left = gates.map(<[f64]>::to_vec).collect();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::course::tests::course;

    fn gates(plateaus: &[f64]) -> PlateauGates {
        PlateauGates::new(&course(6, plateaus), 2)
    }

    fn bank(step: u64) -> GateBank {
        #[expect(clippy::cast_precision_loss, reason = "a small count")]
        let first = step as f64;
        GateBank::new(1, vec![first, -first])
    }

    fn run(gates: &mut PlateauGates, steps: std::ops::RangeInclusive<u64>) {
        steps.for_each(|done| gates.observe(done, &bank(done)));
    }

    #[test]
    fn the_gates_are_kept_when_a_plateau_ends_and_go_through_a_checkpoint() {
        let mut whole = gates(&[0.3, 0.6]);
        run(&mut whole, 1..=3);
        assert_eq!(
            whole.readable(1),
            Some((READABLE, vec![1, 2, 1], vec![2.0, -2.0]))
        );
        let (name, saved) = whole.state().unwrap();
        let mut resumed = gates(&[0.3, 0.6]);
        resumed
            .restore(&|wanted| (wanted == name).then(|| saved.clone()))
            .unwrap();
        assert_eq!(resumed, whole);
        run(&mut whole, 4..=6);
        run(&mut resumed, 4..=6);
        assert_eq!(resumed, whole);
        let left: Vec<(u64, Vec<f64>)> = whole
            .left()
            .map(|(plateau, gates)| (plateau.step, gates.to_vec()))
            .collect();
        assert_eq!(left, [(2, vec![2.0, -2.0]), (4, vec![4.0, -4.0])]);
    }

    #[test]
    fn the_target_under_way_is_the_next_one_and_at_its_end_still_that_one() {
        let mut gates = gates(&[0.3, 0.6]);
        let mut found = Vec::new();
        for done in 1..=6 {
            gates.observe(done, &bank(done));
            found.push(gates.under_way(&bank(done)).map(|plateau| plateau.step));
        }
        assert_eq!(found, [Some(2), Some(2), Some(4), Some(4), None, None]);
    }

    #[test]
    fn a_run_with_one_target_has_nothing_to_keep_and_nonsense_is_refused() {
        let mut single = gates(&[]);
        run(&mut single, 1..=6);
        assert_eq!((single.state(), single.readable(1)), (None, None));
        assert_eq!(single.restore(&|_| None), Ok(()));
        for state in [None, Some(vec![1.0]), Some(vec![0.0; 4])] {
            assert_eq!(
                gates(&[0.3]).restore(&|_| state.clone()),
                Err(EXACT),
                "{state:?}"
            );
        }
    }
}
