//! Closed ranges of lengths and counts that generators draw from.

use crate::data::error::DataError;
use crate::random::index_below;
use rand_chacha::ChaCha8Rng;

/// `min..=max`, at least 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CountRange {
    min: usize,
    max: usize,
}

impl CountRange {
    /// Checks `1 <= min <= max`; `generator` and `setting` name them in the error.
    ///
    /// # Errors
    /// [`DataError::GeneratorSetting`] otherwise.
    pub fn new(
        generator: &'static str,
        setting: &'static str,
        min: usize,
        max: usize,
    ) -> Result<Self, DataError> {
        if min >= 1 && min <= max {
            return Ok(Self { min, max });
        }
        Err(DataError::GeneratorSetting {
            generator,
            setting,
            problem: format!("must run from at least 1 upwards, not from {min} to {max}"),
        })
    }

    /// Smallest value.
    pub fn min(self) -> usize {
        self.min
    }

    /// Largest value.
    pub fn max(self) -> usize {
        self.max
    }

    /// Draws a value, all equally likely.
    pub fn draw(self, rng: &mut ChaCha8Rng) -> usize {
        self.min + index_below(rng, self.max - self.min + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Coded;

    #[test]
    fn draws_reach_both_ends_and_bad_ranges_are_named() {
        let range = CountRange::new("k", "s", 2, 4).unwrap();
        let mut rng = crate::random::stream("range", &[]);
        let mut seen: Vec<usize> = (0..100).map(|_| range.draw(&mut rng)).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen, [2, 3, 4]);
        for (min, max) in [(0, 3), (4, 3)] {
            assert_eq!(
                CountRange::new("k", "s", min, max).unwrap_err().code(),
                "generate.setting"
            );
        }
    }
}
