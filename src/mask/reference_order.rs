//! The reference's own order of heads, for parity with masks it has published (method.md section 12).
//!
//! Soft gates are zeroed layer by layer; ties among them are broken by seeded noise. Where zeros compete for places the result
//! follows that noise, not `log_alpha`: this is why it is not the default.

use crate::mask::rank::Ranks;
use crate::mask::soft_gate;
use rand_mt::Mt;

/// The seed that the reference fixes.
const SEED: u32 = 42;

/// Orders row-major f32 `log_alpha` as the reference does; `None` if a value is not finite or the number does not fit.
pub fn reference_order(num_layers: usize, num_kv_heads: usize, log_alpha: &[f32]) -> Option<Ranks> {
    let finite = log_alpha.iter().all(|value| value.is_finite());
    if !finite || num_layers.checked_mul(num_kv_heads)? != log_alpha.len() || num_kv_heads == 0 {
        return None;
    }
    let soft: Vec<f32> = log_alpha
        .chunks_exact(num_kv_heads)
        .flat_map(soft_gates)
        .collect();
    let tie_break = tie_breaks(soft.len());
    let mut order: Vec<usize> = (0..soft.len()).collect();
    order.sort_by(|&a, &b| tie_break[a].total_cmp(&tie_break[b]));
    order.sort_by(|&a, &b| soft[b].total_cmp(&soft[a]));
    Ranks::from_order(num_layers, num_kv_heads, &order)
}

/// Gates of one layer as the reference compares them: in f32, where large ones saturate and tie.
#[expect(
    clippy::cast_possible_truncation,
    reason = "f32 is the reference's precision"
)]
fn soft_gates(log_alpha: &[f32]) -> Vec<f32> {
    let wide: Vec<f64> = log_alpha.iter().map(|value| f64::from(*value)).collect();
    let gates = soft_gate::deterministic(&wide);
    gates.into_iter().map(|gate| gate as f32).collect()
}

/// One number in [0, 1) per head: the low 24 bits of a Mersenne Twister's outputs.
fn tie_breaks(count: usize) -> Vec<f64> {
    let mut generator = Mt::new(SEED);
    (0..count)
        .map(|_| f64::from(generator.next_u32() & 0x00ff_ffff) / f64::from(1_u32 << 24))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mask::rounding::Rounding;

    #[test]
    fn tie_breaks_match_the_golden_stream() {
        let golden = [
            0.882_269_263_267_517_1,
            0.915_003_955_364_227_3,
            0.382_863_759_994_506_84,
            0.959_305_644_035_339_4,
            0.390_448_212_623_596_2,
            0.600_895_345_211_029,
        ];
        assert_eq!(tie_breaks(6), golden);
    }

    /// The 4 x 4 gates `4 sin(1 + 5 l + 3 j)` of the golden table.
    #[expect(clippy::cast_possible_truncation, reason = "the table's gates are f32")]
    fn golden_gates() -> Vec<f32> {
        (0..16_u8)
            .map(|i| (4.0 * (1.0 + 5.0 * f64::from(i / 4) + 3.0 * f64::from(i % 4)).sin()) as f32)
            .collect()
    }

    fn kept(ranks: &Ranks, num_retrieval: usize) -> Vec<(usize, usize)> {
        let flags = ranks.cut(num_retrieval);
        let kept = flags.flags().iter().enumerate().filter(|(_, kept)| **kept);
        kept.map(|(index, _)| (index / 4, index % 4)).collect()
    }

    #[test]
    fn both_orders_keep_the_golden_heads() {
        let gates = golden_gates();
        let reference = reference_order(4, 4, &gates).unwrap();
        let ours = Ranks::by_score(4, 4, &gates).unwrap();
        let quarter = [
            (0, 0),
            (0, 2),
            (0, 3),
            (1, 0),
            (1, 1),
            (1, 2),
            (1, 3),
            (2, 1),
            (2, 3),
            (3, 1),
            (3, 2),
            (3, 3),
        ];
        assert_eq!(Rounding::Reference.num_retrieval(16, 0.25), Some(12));
        assert_eq!(kept(&reference, 12), quarter);
        let mut ours_at_quarter: Vec<_> =
            quarter.into_iter().filter(|head| *head != (0, 3)).collect();
        ours_at_quarter.insert(8, (3, 0));
        ours_at_quarter.sort_unstable();
        assert_eq!(kept(&ours, 12), ours_at_quarter);
        let half = [
            (0, 0),
            (0, 2),
            (1, 1),
            (1, 3),
            (2, 1),
            (2, 3),
            (3, 1),
            (3, 2),
        ];
        let seven_tenths = [(0, 0), (0, 2), (2, 1), (2, 3)];
        assert_eq!(Rounding::FloorRetrieval.num_retrieval(16, 0.7), Some(4));
        for ranks in [&reference, &ours] {
            assert_eq!(kept(ranks, 8), half);
            assert_eq!(kept(ranks, 4), seven_tenths);
        }
        assert_eq!(Rounding::DuoStable.num_retrieval(16, 0.7), Some(5));
        assert!(kept(&ours, 5).contains(&(1, 3)));
    }

    #[test]
    fn unusable_gates_have_no_order() {
        assert!(reference_order(1, 2, &[0.0, f32::INFINITY]).is_none());
        assert!(reference_order(2, 2, &[0.0; 3]).is_none());
        assert!(reference_order(0, 0, &[]).is_none());
    }
}
