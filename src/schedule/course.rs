//! Targets of one run, one after the other: the way up to each, and a rest there.
//!
//! A run through n targets is n runs of an n-th of its steps each, as far as its target goes: each starts where the last one's
//! ended, and ramps over the same share of its steps. With a single target it is the ramp of the method.

use super::{ScheduleError, SparsitySchedule};

/// Target of every step of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct SparsityCourse {
    /// Never empty; the last one goes on for ever.
    legs: Vec<Leg>,
}

/// The way to one target, and the rest there.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Leg {
    /// Finished steps when it begins.
    first: u64,
    ramp: SparsitySchedule,
}

/// The end of the rest at a target that is not the last one.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plateau {
    /// The target, in [0, 1].
    pub sparsity: f64,
    /// Finished steps.
    pub step: u64,
}

impl SparsityCourse {
    /// Through `plateaus` to the end of `whole`, which says how many steps there are, how large a share of them ramps, and how.
    ///
    /// # Errors
    /// As [`SparsitySchedule::checked`], for every target; [`ScheduleError::Targets`] where there are fewer steps than targets,
    /// [`ScheduleError::Falling`] where a target is not above the one before.
    pub fn new(whole: SparsitySchedule, plateaus: &[f64]) -> Result<Self, ScheduleError> {
        whole.checked()?;
        let ends: Vec<f64> = plateaus.iter().copied().chain([whole.end]).collect();
        let starts = std::iter::once(whole.start).chain(plateaus.iter().copied());
        let (num_legs, num_steps) = (ends.len() as u64, whole.num_steps);
        if num_legs > num_steps {
            let num_targets = num_legs;
            return Err(ScheduleError::Targets {
                num_targets,
                num_steps,
            });
        }
        // As leg * steps / legs, which could be too large in between.
        let (part, rest) = (num_steps / num_legs, num_steps % num_legs);
        let boundary = |leg: u64| leg * part + leg * rest / num_legs;
        let mut legs = Vec::new();
        for ((at, end), start) in (0..).zip(&ends).zip(starts) {
            if !plateaus.is_empty() && *end <= start {
                return Err(ScheduleError::Falling {
                    from: start,
                    to: *end,
                });
            }
            let (first, end_step) = (boundary(at), boundary(at + 1));
            let num_steps = end_step - first;
            let ramp = SparsitySchedule {
                num_steps,
                start,
                end: *end,
                ..whole
            };
            legs.push(Leg {
                first,
                ramp: ramp.checked()?,
            });
        }
        Ok(Self { legs })
    }

    /// Target sparsity of the update that follows `step` finished updates.
    pub fn target(&self, step: u64) -> f64 {
        let begun = self.legs.partition_point(|leg| leg.first <= step);
        let leg = self.legs[begun.saturating_sub(1)];
        leg.ramp.target(step - leg.first)
    }

    /// Steps of the first ramp.
    pub fn first_ramp(&self) -> u64 {
        self.legs[0].ramp.num_warmup_steps()
    }

    /// How many targets there are.
    pub fn num_targets(&self) -> usize {
        self.legs.len()
    }

    /// The last target.
    pub fn end(&self) -> f64 {
        self.last().ramp.end
    }

    /// Finished steps from which on the target is the last one.
    pub fn ramp_end(&self) -> u64 {
        self.last().first + self.last().ramp.num_warmup_steps()
    }

    /// The targets before the last one, in the order of the run.
    pub fn plateaus(&self) -> impl Iterator<Item = Plateau> + '_ {
        let pairs = self.legs.iter().zip(self.legs.iter().skip(1));
        pairs.map(|(leg, next)| Plateau {
            sparsity: leg.ramp.end,
            step: next.first,
        })
    }

    fn last(&self) -> &Leg {
        &self.legs[self.legs.len() - 1]
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::fault::Coded;
    use crate::schedule::SparsityShape;

    /// From 0 through `plateaus` to 0.9, half of each part a ramp.
    pub(crate) fn course(num_steps: u64, plateaus: &[f64]) -> SparsityCourse {
        let whole = SparsitySchedule {
            num_steps,
            ..whole()
        };
        SparsityCourse::new(whole, plateaus).unwrap()
    }

    fn whole() -> SparsitySchedule {
        SparsitySchedule {
            num_steps: 90,
            start: 0.0,
            end: 0.9,
            warmup_ratio: 0.5,
            shape: SparsityShape::Linear,
        }
    }

    #[test]
    fn without_plateaus_it_is_the_ramp() {
        for shape in [SparsityShape::Linear, SparsityShape::Logarithmic] {
            let whole = SparsitySchedule { shape, ..whole() };
            let course = SparsityCourse::new(whole, &[]).unwrap();
            for step in 0..200 {
                assert_eq!(course.target(step).to_bits(), whole.target(step).to_bits());
            }
            assert_eq!(course.ramp_end(), whole.num_warmup_steps());
            assert_eq!(course.plateaus().count(), 0);
        }
    }

    #[test]
    fn each_target_is_climbed_to_and_rested_at_in_its_part_of_the_run() {
        let course = SparsityCourse::new(whole(), &[0.3, 0.6]).unwrap();
        for (step, target) in [
            (0, 0.0),
            (5, 0.1),
            (15, 0.3),
            (29, 0.3),
            (30, 0.3),
            (40, 0.5),
            (45, 0.6),
            (59, 0.6),
            (60, 0.6),
            (70, 0.8),
            (75, 0.9),
            (89, 0.9),
            (500, 0.9),
        ] {
            let found = course.target(step);
            assert!(
                (found - target).abs() < 1e-12,
                "step {step}: {found} for {target}"
            );
        }
        let plateaus: Vec<(f64, u64)> = course
            .plateaus()
            .map(|plateau| (plateau.sparsity, plateau.step))
            .collect();
        assert_eq!(plateaus, [(0.3, 30), (0.6, 60)]);
        assert_eq!(
            (course.first_ramp(), course.ramp_end(), course.num_targets()),
            (15, 75, 3)
        );
        assert!((course.end() - 0.9).abs() < 1e-12);
    }

    #[test]
    fn parts_share_steps_that_do_not_divide_and_too_few_are_refused() {
        let of = |num_steps, plateaus: &[f64]| {
            SparsityCourse::new(
                SparsitySchedule {
                    num_steps,
                    ..whole()
                },
                plateaus,
            )
        };
        let steps: Vec<u64> = of(11, &[0.3, 0.6])
            .unwrap()
            .plateaus()
            .map(|at| at.step)
            .collect();
        assert_eq!(steps, [3, 7]);
        assert!(of(3, &[0.3, 0.6]).is_ok());
        let error = of(2, &[0.3, 0.6]).unwrap_err().to_string();
        assert!(
            error.starts_with("3 targets") && error.ends_with("has 2"),
            "{error}"
        );
        let steps: Vec<u64> = of(u64::MAX, &[0.3, 0.6])
            .unwrap()
            .plateaus()
            .map(|at| at.step)
            .collect();
        assert_eq!(steps, [u64::MAX / 3, u64::MAX / 3 * 2]);
    }

    #[test]
    fn targets_that_do_not_rise_or_are_no_shares_are_refused() {
        for (plateaus, word) in [
            (&[0.6, 0.3][..], "0.6"),
            (&[0.3, 0.3], "0.3"),
            (&[0.0], "0"),
            (&[0.9], "0.9"),
            (&[-0.1], "-0.1"),
            (&[f64::NAN], "NaN"),
        ] {
            let error = SparsityCourse::new(whole(), plateaus).unwrap_err();
            assert!(error.to_string().contains(word), "{plateaus:?}: {error}");
            assert!(error.code().starts_with("config."));
        }
    }
}
