//! How the rows of a step are divided over data-parallel ranks.

use super::mds::error::MdsError;

/// One rank's part of every step: step t takes positions `[t * R, (t + 1) * R)`, rank r of D the r-th of D equal parts.
///
/// Ranks that share a row (sequence or context parallel) use equal values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ranks {
    rows_per_step: u64,
    rank: u64,
    num_ranks: u64,
}

impl Ranks {
    /// One process that reads every row.
    pub fn single(rows_per_step: u64) -> Self {
        Self {
            rows_per_step: rows_per_step.max(1),
            rank: 0,
            num_ranks: 1,
        }
    }

    /// Rank `rank` of `num_ranks`, with `rows_per_step` rows per optimizer step over all ranks.
    ///
    /// # Errors
    /// [`MdsError::Streams`] if the rows cannot be divided evenly (naming the nearest counts), or the rank does not exist.
    pub fn new(rows_per_step: u64, rank: u64, num_ranks: u64) -> Result<Self, MdsError> {
        let fault = |reason: String| Err(MdsError::Streams { reason });
        if rank >= num_ranks || rows_per_step == 0 {
            return fault(format!(
                "rank {rank} of {num_ranks} with {rows_per_step} rows per step does not exist"
            ));
        }
        if !rows_per_step.is_multiple_of(num_ranks) {
            let below = rows_per_step / num_ranks * num_ranks;
            return fault(format!(
                "{rows_per_step} rows per step do not divide over {num_ranks} ranks: use {} or {}",
                below.max(num_ranks),
                below + num_ranks
            ));
        }
        Ok(Self {
            rows_per_step,
            rank,
            num_ranks,
        })
    }

    /// Rows of one optimizer step, over all ranks.
    pub fn rows_per_step(self) -> u64 {
        self.rows_per_step
    }

    fn rows_per_rank(self) -> u64 {
        self.rows_per_step / self.num_ranks
    }

    /// Position of the `nth` row that this rank reads.
    pub fn position_of(self, nth: u64) -> u64 {
        let mine = self.rows_per_rank();
        nth / mine * self.rows_per_step + self.rank * mine + nth % mine
    }

    /// Rows consumed over all ranks when this one has read `delivered`; exact at the end of a step.
    pub fn position(self, delivered: u64) -> u64 {
        let mine = self.rows_per_rank();
        delivered / mine * self.rows_per_step + delivered % mine
    }

    /// Rows this rank has read when all ranks together consumed `position`.
    ///
    /// # Errors
    /// [`MdsError::Streams`] if several ranks would have to begin inside a step.
    pub fn delivered(self, position: u64) -> Result<u64, MdsError> {
        if self.num_ranks == 1 {
            return Ok(position);
        }
        if !position.is_multiple_of(self.rows_per_step) {
            return Err(MdsError::Streams {
                reason: format!(
                    "position {position} is inside a step of {} rows",
                    self.rows_per_step
                ),
            });
        }
        Ok(position / self.rows_per_step * self.rows_per_rank())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_together_read_what_one_rank_reads() {
        for num_ranks in [1, 2, 4] {
            let mut read: Vec<u64> = (0..num_ranks)
                .flat_map(|rank| {
                    let ranks = Ranks::new(8, rank, num_ranks).unwrap();
                    (0..24 / num_ranks).map(move |nth| ranks.position_of(nth))
                })
                .collect();
            read.sort_unstable();
            assert_eq!(read, (0..24).collect::<Vec<_>>());
        }
    }

    #[test]
    fn positions_are_restored_at_steps() {
        let ranks = Ranks::new(8, 1, 2).unwrap();
        assert_eq!(ranks.position(4), 8);
        assert_eq!(ranks.delivered(8).unwrap(), 4);
        assert!(ranks.delivered(9).is_err());
        assert_eq!(Ranks::single(8).delivered(9).unwrap(), 9);
    }

    #[test]
    fn uneven_divisions_name_the_nearest_counts() {
        let error = Ranks::new(10, 0, 4).unwrap_err().to_string();
        assert!(error.contains("use 8 or 12"), "{error}");
        assert!(Ranks::new(4, 2, 2).is_err());
    }
}
