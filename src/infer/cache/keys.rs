//! Which keys a block of queries reads: ranges of positions, read causally.

use super::attend::slice;
use crate::infer::int::{to_i64, to_u64};
use std::ops::Range;
use tch::{Kind, Tensor};

/// Disjoint ranges of token positions that do not touch, ascending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    ranges: Vec<Range<usize>>,
}

impl Keys {
    /// What `ranges` cover before `end`.
    pub fn new(ranges: impl IntoIterator<Item = Range<usize>>, end: usize) -> Self {
        let clipped = ranges
            .into_iter()
            .map(|range| range.start..range.end.min(end));
        let mut ranges: Vec<Range<usize>> = clipped.filter(|range| !range.is_empty()).collect();
        ranges.sort_by_key(|range| range.start);
        ranges.dedup_by(|next, last| {
            let joins = next.start <= last.end;
            if joins {
                last.end = last.end.max(next.end);
            }
            joins
        });
        Self { ranges }
    }

    /// Every key before `end`.
    pub fn all(end: usize) -> Self {
        Self::new(std::iter::once(0..end), end)
    }

    /// (query, key) pairs of `queries` with the keys at or before them.
    pub fn num_pairs(&self, queries: &Range<usize>) -> u64 {
        let seen = |keys: &Range<usize>| -> usize {
            if keys.end <= queries.start + 1 {
                return queries.len() * keys.len();
            }
            let seen = |query: usize| (query + 1).min(keys.end).saturating_sub(keys.start);
            queries.clone().map(seen).sum()
        };
        to_u64(self.ranges.iter().map(seen).sum())
    }

    /// Whether every one of `queries` may see every key.
    pub fn all_before(&self, queries: &Range<usize>) -> bool {
        let last = self.ranges.last();
        last.is_none_or(|keys| keys.end <= queries.start + 1)
    }

    /// Picks the rows out of those of all tokens.
    ///
    /// # Shapes
    /// `rows`: `[S, K, D]`. Returns `[N, K, D]`.
    pub fn rows(&self, rows: &Tensor) -> Tensor {
        if let [keys] = self.ranges.as_slice() {
            return slice(rows, keys.start, keys.len());
        }
        rows.index_select(0, &self.positions().to_device(rows.device()))
    }

    /// Marks what each of `queries` sees.
    ///
    /// # Shapes
    /// `like`: any; only its device counts. Returns `[T, N]`, boolean.
    pub fn mask(&self, queries: &Range<usize>, like: &Tensor) -> Tensor {
        let options = (Kind::Int64, like.device());
        let q_t = Tensor::arange_start(to_i64(queries.start), to_i64(queries.end), options);
        let k_n = self.positions().to_device(like.device());
        q_t.unsqueeze(1).ge_tensor(&k_n)
    }

    fn positions(&self) -> Tensor {
        let positions: Vec<i64> = self.ranges.iter().cloned().flatten().map(to_i64).collect();
        Tensor::from_slice(&positions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_overlap_or_touch_are_one() {
        let keys = Keys::new([10..14, 2..4, 4..6, 12..13, 30..40, 5..5, 18..19], 20);
        assert_eq!(keys.ranges, [2..6, 10..14, 18..19]);
        assert_eq!(Keys::new([8..9, 0..1], 8), Keys::all(1));
    }

    #[test]
    fn pairs_are_those_of_the_mask() {
        let keys = Keys::new([0..3, 7..12], 12);
        for queries in [3..5, 8..12, 6..7, 11..12, 0..2] {
            let mask = keys.mask(&queries, &Tensor::from(0.0));
            let pairs = mask.sum(Kind::Int64).int64_value(&[]);
            assert_eq!(keys.num_pairs(&queries), u64::try_from(pairs).unwrap());
            let all = mask.all().int64_value(&[]) == 1;
            assert_eq!(keys.all_before(&queries), all, "{queries:?}");
        }
    }
}
