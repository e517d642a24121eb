//! Ending a run early: the rounded mask has not changed for long enough after the target's ramp.

use crate::gate::bank::GateBank;
use crate::mask::rank::Ranks;
use crate::mask::rounding::Rounding;

/// When a run has settled.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SettledAfter {
    /// Steps without a change of the mask.
    pub num_steps: u64,
    /// First step at the final target; changes before it are the ramp's.
    pub ramp_end: u64,
    /// Sparsity that the mask is rounded at.
    pub sparsity: f64,
}

/// The rounded mask, and since when it is the same.
#[derive(Debug, Clone, PartialEq)]
pub struct Settled {
    after: SettledAfter,
    mask: Vec<bool>,
    num_unchanged: u64,
}

impl Settled {
    /// Nothing seen yet.
    pub fn new(after: SettledAfter) -> Self {
        Self {
            after,
            mask: Vec::new(),
            num_unchanged: 0,
        }
    }

    /// Looks at the gates after `done` steps.
    pub fn observe(&mut self, done: u64, bank: &GateBank) {
        let mask = rounded(bank, self.after.sparsity);
        if done <= self.after.ramp_end || mask != self.mask {
            self.mask = mask;
            self.num_unchanged = 0;
        } else {
            self.num_unchanged += 1;
        }
    }

    /// Whether the run may end.
    pub fn is_settled(&self) -> bool {
        self.num_unchanged >= self.after.num_steps
    }

    /// Count and mask, for a checkpoint.
    #[expect(clippy::cast_precision_loss, reason = "steps are far below 2^52")]
    pub fn state(&self) -> Vec<f64> {
        let flags = self.mask.iter().map(|keeps| f64::from(u8::from(*keeps)));
        std::iter::once(self.num_unchanged as f64)
            .chain(flags)
            .collect()
    }

    /// Puts back what [`Self::state`] gave; `None` if these numbers are none of its.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a whole number of steps"
    )]
    pub fn restored(&self, state: &[f64]) -> Option<Self> {
        let (count, flags) = state.split_first()?;
        let is_count = *count >= 0.0 && count.fract() == 0.0;
        let is_flag = |flag: &f64| *flag == 0.0 || (*flag - 1.0).abs() < f64::EPSILON;
        (is_count && flags.iter().all(is_flag)).then(|| Self {
            after: self.after,
            mask: flags.iter().map(|flag| *flag > 0.5).collect(),
            num_unchanged: *count as u64,
        })
    }
}

/// The mask that an export at `sparsity` would cut now.
#[expect(
    clippy::cast_possible_truncation,
    reason = "as checkpoints are written"
)]
pub fn rounded(bank: &GateBank, sparsity: f64) -> Vec<bool> {
    // An export orders what a checkpoint shows to readers, which is f32.
    let log_alpha: Vec<f32> = bank.log_alpha().iter().map(|a| *a as f32).collect();
    let ranks = Ranks::by_score(bank.num_layers(), bank.num_kv_heads(), &log_alpha);
    let count = Rounding::FloorRetrieval.num_retrieval(log_alpha.len(), sparsity);
    let mask = ranks.zip(count).map(|(ranks, count)| ranks.cut(count));
    mask.map_or_else(Vec::new, |mask| mask.flags().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled() -> Settled {
        Settled::new(SettledAfter {
            num_steps: 3,
            ramp_end: 2,
            sparsity: 0.5,
        })
    }

    fn bank(log_alpha: [f64; 4]) -> GateBank {
        GateBank::new(2, log_alpha.to_vec())
    }

    #[test]
    fn a_run_ends_once_the_mask_is_the_same_for_long_enough_after_the_ramp() {
        let mut settled = settled();
        let (first, second) = (bank([3.0, 2.0, 1.0, 0.0]), bank([3.0, 1.0, 2.0, 0.0]));
        // Only the order matters, and during the ramp nothing counts.
        let shifted = bank([9.0, 8.0, -1.0, -2.0]);
        for (done, gates, ends) in [
            (1, &first, false),
            (2, &first, false),
            (3, &first, false),
            (4, &second, false),
            (5, &second, false),
            (6, &second, false),
            (7, &first, false),
            (8, &shifted, false),
            (9, &first, false),
            (10, &first, true),
        ] {
            settled.observe(done, gates);
            assert_eq!(settled.is_settled(), ends, "{done}");
        }
    }

    #[test]
    fn the_count_goes_through_a_checkpoint_and_nonsense_is_refused() {
        let mut one = settled();
        let gates = bank([3.0, 2.0, 1.0, 0.0]);
        for done in 1..5 {
            one.observe(done, &gates);
        }
        let mut other = settled().restored(&one.state()).unwrap();
        assert_eq!(other, one);
        assert!(!other.is_settled());
        other.observe(5, &gates);
        assert!(other.is_settled());
        for state in [&[][..], &[-1.0], &[1.5, 1.0], &[1.0, 0.5]] {
            assert!(settled().restored(state).is_none(), "{state:?}");
        }
    }
}
