//! A total order over all kv heads of a model: cutting it anywhere gives a mask.
//!
//! **Invariant:** a rank is a permutation of `0..n`, row-major `[layers, kv_heads]`, 0 = most retrieval-like. `rank < m` is the
//! mask with `m` retrieval heads, so masks cut from one order are nested.

use crate::mask::head_mask::HeadMask;
use crate::real::real;
use std::cmp::Ordering;

/// Ranks of every kv head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ranks {
    num_layers: usize,
    num_kv_heads: usize,
    rank_of: Vec<usize>,
}

impl Ranks {
    /// Orders by `score` descending, ties by (layer, kv head); `None` if a score is not finite or their number does not fit.
    pub fn by_score(num_layers: usize, num_kv_heads: usize, scores: &[f32]) -> Option<Self> {
        let scores: Vec<f64> = scores.iter().copied().map(f64::from).collect();
        Self::by_wide_score(num_layers, num_kv_heads, &scores)
    }

    /// As [`Ranks::by_score`], for scores that would lose their order in F32.
    pub fn by_wide_score(num_layers: usize, num_kv_heads: usize, scores: &[f64]) -> Option<Self> {
        if !scores.iter().all(|score| score.is_finite()) {
            return None;
        }
        let mut order: Vec<usize> = (0..scores.len()).collect();
        order.sort_by(|&a, &b| {
            scores[b]
                .partial_cmp(&scores[a])
                .unwrap_or(Ordering::Equal)
                .then(a.cmp(&b))
        });
        Self::from_order(num_layers, num_kv_heads, &order)
    }

    /// The order that a decision implies: retrieval heads first, each kind by (layer, kv head).
    pub fn of_mask(mask: &HeadMask) -> Self {
        let mut rank_of = vec![0; mask.flags().len()];
        let mut next = 0;
        for kind in [true, false] {
            for (rank, flag) in rank_of.iter_mut().zip(mask.flags()) {
                if *flag == kind {
                    *rank = next;
                    next += 1;
                }
            }
        }
        Self {
            num_layers: mask.num_layers(),
            num_kv_heads: mask.num_kv_heads(),
            rank_of,
        }
    }

    /// From the flat indices of all heads, most retrieval-like first; `None` unless each occurs once.
    pub fn from_order(num_layers: usize, num_kv_heads: usize, order: &[usize]) -> Option<Self> {
        let mut rank_of = vec![None; num_layers.checked_mul(num_kv_heads)?];
        if order.len() != rank_of.len() {
            return None;
        }
        for (rank, &index) in order.iter().enumerate() {
            let previous = rank_of.get_mut(index)?.replace(rank);
            if previous.is_some() {
                return None;
            }
        }
        Some(Self {
            num_layers,
            num_kv_heads,
            rank_of: rank_of.into_iter().collect::<Option<Vec<_>>>()?,
        })
    }

    /// From the rank of every head, row-major; `None` unless they are a permutation of `0..n`.
    pub fn from_ranks(num_layers: usize, num_kv_heads: usize, rank_of: &[usize]) -> Option<Self> {
        // The inverse of a permutation is one too: reading ranks as an order and inverting twice checks and copies.
        let inverse = Self::from_order(num_layers, num_kv_heads, rank_of)?;
        Self::from_order(num_layers, num_kv_heads, &inverse.rank_of)
    }

    /// Row-major ranks.
    pub fn ranks(&self) -> &[usize] {
        &self.rank_of
    }

    /// The order as scores, row-major: `1 - rank / (n - 1)`, so the first head has 1, the last 0, and no two the same.
    /// A single head has 1.
    pub fn graded(&self) -> Vec<f64> {
        let last = real(self.rank_of.len().saturating_sub(1).max(1));
        let ranks = self.rank_of.iter();
        ranks.map(|rank| 1.0 - real(*rank) / last).collect()
    }

    /// Decoder blocks covered.
    pub fn num_layers(&self) -> usize {
        self.num_layers
    }

    /// Kv heads per layer.
    pub fn num_kv_heads(&self) -> usize {
        self.num_kv_heads
    }

    /// The mask that keeps the `num_retrieval` most retrieval-like heads, or all if there are fewer.
    pub fn cut(&self, num_retrieval: usize) -> HeadMask {
        let flags = self
            .rank_of
            .iter()
            .map(|rank| *rank < num_retrieval)
            .collect();
        HeadMask::new(self.num_layers, self.num_kv_heads, flags)
            .unwrap_or_else(|| unreachable!("ranks cover every head"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn higher_scores_rank_first_and_ties_go_to_the_lower_index() {
        let ranks = Ranks::by_score(2, 3, &[0.0, 5.0, -1.0, 5.0, -0.0, 7.0]).unwrap();
        assert_eq!(ranks.ranks(), [3, 1, 5, 2, 4, 0]);
        let mask = ranks.cut(3);
        assert_eq!(mask.flags(), [false, true, false, true, false, true]);
    }

    #[test]
    fn cuts_are_nested_and_have_the_promised_count() {
        let scores: Vec<f32> = (0..40_u8).map(|i| f32::from(i % 11 * 7 % 11)).collect();
        let ranks = Ranks::by_score(5, 8, &scores).unwrap();
        for num_retrieval in 0..=40 {
            let mask = ranks.cut(num_retrieval);
            assert_eq!(mask.num_retrieval(), num_retrieval);
            let larger = ranks.cut(num_retrieval + 1);
            let nested = mask.flags().iter().zip(larger.flags());
            assert!(nested.into_iter().all(|(small, large)| !small || *large));
        }
    }

    #[test]
    fn a_decision_orders_its_retrieval_heads_first() {
        let mask = HeadMask::new(2, 2, vec![false, true, false, true]).unwrap();
        let ranks = Ranks::of_mask(&mask);
        assert_eq!(ranks.ranks(), [2, 0, 3, 1]);
        assert_eq!(ranks.cut(2), mask);
    }

    #[test]
    fn scores_that_differ_beyond_single_precision_keep_their_order() {
        let scores = [0.5, 0.5 + 1e-12, 0.5 - 1e-12];
        let ranks = Ranks::by_wide_score(1, 3, &scores).unwrap();
        assert_eq!(ranks.ranks(), [1, 0, 2]);
    }

    #[test]
    fn graded_ranks_fall_from_one_to_zero() {
        let ranks = Ranks::from_ranks(1, 5, &[4, 0, 1, 3, 2]).unwrap();
        assert_eq!(ranks.graded(), [0.0, 1.0, 0.75, 0.25, 0.5]);
        assert_eq!(Ranks::from_ranks(1, 1, &[0]).unwrap().graded(), [1.0]);
    }

    #[test]
    fn only_permutations_are_ranks() {
        assert!(Ranks::from_ranks(1, 3, &[2, 0, 1]).is_some());
        for bad in [vec![0, 1, 1], vec![0, 1, 3], vec![0, 1], vec![0, 1, 2, 3]] {
            assert!(Ranks::from_ranks(1, 3, &bad).is_none(), "{bad:?}");
        }
        let ranks = Ranks::from_ranks(1, 3, &[2, 0, 1]).unwrap();
        assert_eq!(ranks.ranks(), [2, 0, 1]);
        assert!(Ranks::by_score(1, 2, &[f32::NAN, 0.0]).is_none());
        assert!(Ranks::by_score(1, 2, &[1.0]).is_none());
    }
}
