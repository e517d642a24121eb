//! How far masks of one model agree: shared retrieval heads, and the order behind them.
//!
//! # Decisions
//! The order is compared by Spearman's coefficient, Pearson's over mid-ranks, so that equal gates do not look ordered. Jaccard
//! and Spearman answer different questions: whether the same heads were kept, and whether the same heads came close.

use crate::mask::head_mask::HeadMask;
use crate::mask::sidecar::content::{RankSource, Sidecar};
use crate::real::real;

/// How two masks of the same extents agree.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Agreement {
    /// Heads that both keep.
    pub both: usize,
    /// Retrieval heads of the first alone.
    pub only_first: usize,
    /// Retrieval heads of the second alone.
    pub only_second: usize,
    /// Heads that stream in both.
    pub neither: usize,
    /// Heads that two random masks of these counts would share, on average.
    pub both_by_chance: f64,
    /// Shared retrieval heads of all retrieval heads, in [0, 1]; 1 if neither has any.
    pub jaccard: f64,
    /// Correlation of the orders in [-1, 1]; absent where a mask has no order, or holds no two different values.
    pub spearman: Option<f64>,
}

impl Agreement {
    /// Compares two sidecars; `None` if their masks have different extents.
    pub fn of(first: &Sidecar, second: &Sidecar) -> Option<Self> {
        let (a, b) = (&first.mask, &second.mask);
        if (a.num_layers(), a.num_kv_heads()) != (b.num_layers(), b.num_kv_heads()) {
            return None;
        }
        let count = |wanted: (bool, bool)| {
            let pairs = a.flags().iter().zip(b.flags());
            pairs.filter(|(a, b)| (**a, **b) == wanted).count()
        };
        let both = count((true, true));
        let union = a.flags().len() - count((false, false));
        let orders = order(first).zip(order(second));
        Some(Self {
            both,
            only_first: count((true, false)),
            only_second: count((false, true)),
            neither: count((false, false)),
            both_by_chance: real(a.num_retrieval()) * real(b.num_retrieval())
                / real(a.flags().len().max(1)),
            jaccard: if union == 0 {
                1.0
            } else {
                real(both) / real(union)
            },
            spearman: orders.and_then(|(a, b)| spearman(&a, &b)),
        })
    }

    /// Heads whose kind differs.
    pub fn num_changed(&self) -> usize {
        self.only_first + self.only_second
    }
}

/// In how many of `masks` each head is a retrieval head, row-major; masks of other extents than the first do not count.
pub fn votes(masks: &[&HeadMask]) -> Vec<usize> {
    let num_heads = masks.first().map_or(0, |mask| mask.flags().len());
    let mut votes = vec![0; num_heads];
    for mask in masks.iter().filter(|mask| mask.flags().len() == num_heads) {
        for (votes, kept) in votes.iter_mut().zip(mask.flags()) {
            *votes += usize::from(*kept);
        }
    }
    votes
}

/// Spearman's rank correlation of two lists; `None` if their lengths differ or one holds no two different values.
pub fn spearman(first: &[f64], second: &[f64]) -> Option<f64> {
    if first.len() != second.len() {
        return None;
    }
    let (first, second) = (mid_ranks(first), mid_ranks(second));
    // Mid-ranks of any list have this mean.
    let mean = (real(first.len()) - 1.0) / 2.0;
    let product_sum = |a: &[f64], b: &[f64]| -> f64 {
        let pairs = a.iter().zip(b);
        pairs.map(|(a, b)| (a - mean) * (b - mean)).sum()
    };
    let spread = product_sum(&first, &first) * product_sum(&second, &second);
    (spread > 0.0).then(|| product_sum(&first, &second) / spread.sqrt())
}

/// Ranks from 0, equal values sharing the mean of theirs.
fn mid_ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    let mut start = 0;
    for equals in order.chunk_by(|&a, &b| values[a].total_cmp(&values[b]).is_eq()) {
        let rank = real(start) + (real(equals.len()) - 1.0) / 2.0;
        for &index in equals {
            ranks[index] = rank;
        }
        start += equals.len();
    }
    ranks
}

/// What ordered the heads, higher first: the gates, else the stored ranks; nothing for a mask that came without an order.
fn order(sidecar: &Sidecar) -> Option<Vec<f64>> {
    if sidecar.rank_source == RankSource::Mask {
        return None;
    }
    Some(match &sidecar.log_alpha {
        // A negative zero equals a zero, which a total order does not know.
        Some(gates) => gates.iter().map(|gate| f64::from(*gate) + 0.0).collect(),
        None => sidecar
            .ranks
            .ranks()
            .iter()
            .map(|rank| -real(*rank))
            .collect(),
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::mask::provenance::tests::published;
    use crate::mask::sidecar::cut::{Target, TrainedGates, trained};

    /// One layer of eight heads with these gates, cut at `num_retrieval`.
    pub(crate) fn sidecar(gates: [f32; 8], num_retrieval: usize) -> Sidecar {
        let mut provenance = published();
        provenance.arch.num_hidden_layers = 1;
        let gates = TrainedGates {
            log_alpha: &gates,
            num_steps: 1,
        };
        trained(gates, &provenance, Target::NumRetrieval(num_retrieval)).unwrap()
    }

    fn close(found: f64, expected: f64) {
        assert!(
            (found - expected).abs() < 1e-12,
            "{found} is not {expected}"
        );
    }

    #[test]
    fn counts_match_those_made_by_hand() {
        // Keeps 7 6 5 4, and 7 6 3 2 1.
        let first = sidecar([0., 1., 2., 3., 4., 5., 6., 7.], 4);
        let second = sidecar([0., 3., 4., 5., 1., 2., 6., 7.], 5);
        let agreement = Agreement::of(&first, &second).unwrap();
        assert_eq!((agreement.both, agreement.neither), (2, 1));
        assert_eq!((agreement.only_first, agreement.only_second), (2, 3));
        assert_eq!(agreement.num_changed(), 5);
        close(agreement.jaccard, 2.0 / 7.0);
        close(agreement.both_by_chance, 20.0 / 8.0);
        // d = 0 2 2 2 3 3 0 0: 1 - 6 * 30 / (8 * 63).
        close(agreement.spearman.unwrap(), 1.0 - 180.0 / 504.0);
        assert_eq!(
            votes(&[&first.mask, &second.mask]),
            [0, 1, 1, 1, 1, 1, 2, 2]
        );
    }

    #[test]
    fn a_mask_agrees_with_itself_and_opposite_orders_do_not() {
        let rising = sidecar([0., 1., 2., 3., 4., 5., 6., 7.], 4);
        let falling = sidecar([7., 6., 5., 4., 3., 2., 1., 0.], 4);
        let same = Agreement::of(&rising, &rising).unwrap();
        assert_eq!(same.num_changed(), 0);
        close(same.jaccard, 1.0);
        close(same.spearman.unwrap(), 1.0);
        let opposite = Agreement::of(&rising, &falling).unwrap();
        assert_eq!((opposite.both, opposite.neither), (0, 0));
        close(opposite.jaccard, 0.0);
        close(opposite.spearman.unwrap(), -1.0);
        let none = sidecar([0.; 8], 0);
        close(Agreement::of(&none, &none).unwrap().jaccard, 1.0);
    }

    #[test]
    fn equal_gates_share_a_rank_and_no_order_has_no_correlation() {
        assert_eq!(mid_ranks(&[2.0, 1.0, 2.0, 5.0]), [1.5, 0.0, 1.5, 3.0]);
        // Mid-ranks 0 1.5 1.5 3 and 0 1 2 3: covariance 4.5, spreads 4.5 and 5.
        let tied = spearman(&[1.0, 2.0, 2.0, 3.0], &[1.0, 2.0, 3.0, 4.0]).unwrap();
        close(tied, 4.5 / (4.5_f64 * 5.0).sqrt());
        assert_eq!(spearman(&[1.0, 1.0], &[1.0, 2.0]), None);
        assert_eq!(spearman(&[1.0], &[1.0]), None);
        assert_eq!(spearman(&[], &[]), None);
        assert_eq!(spearman(&[1.0, 2.0], &[1.0]), None);
        let mut imported = sidecar([0., 1., 2., 3., 4., 5., 6., 7.], 4);
        imported.log_alpha = None;
        let ranked = Agreement::of(&imported, &imported).unwrap();
        close(ranked.spearman.unwrap(), 1.0);
        imported.rank_source = RankSource::Mask;
        assert_eq!(Agreement::of(&imported, &imported).unwrap().spearman, None);
    }

    #[test]
    fn masks_of_other_extents_are_not_compared() {
        let one = sidecar([0.; 8], 4);
        let mut other = one.clone();
        other.mask = HeadMask::new(2, 4, one.mask.flags().to_vec()).unwrap();
        assert_eq!(Agreement::of(&one, &other), None);
    }
}
