//! A weight whose numbers are bf16, read two at a time: a word of 32 bits holds an even one in its lower half and the odd one
//! after it in its upper half, and each becomes an f32 when the other's bits are cleared.

use super::Row;
use half::bf16;
use pulp::Simd;

/// Bits of the odd number of a pair, where it lies in f32.
const ODD_BITS: u32 = 0xffff_0000;

/// The row's numbers at even and at odd places.
pub(super) struct Pairs {
    even: Vec<f32>,
    odd: Vec<f32>,
}

impl Pairs {
    /// `None` for an odd number of them.
    pub(super) fn new(x: &[f32]) -> Option<Self> {
        let (pairs, rest) = x.as_chunks::<2>();
        rest.is_empty().then(|| Self {
            even: pairs.iter().map(|pair| pair[0]).collect(),
            odd: pairs.iter().map(|pair| pair[1]).collect(),
        })
    }
}

/// The numbers of a weight as pairs; `None` where they do not begin at a word or end within one, or where words begin with
/// their upper half.
pub(super) fn pairs(w: &[bf16]) -> Option<&[u32]> {
    let words = bytemuck::try_cast_slice(w).ok();
    words.filter(|_| cfg!(target_endian = "little"))
}

impl Row for Pairs {
    type Stored = u32;

    fn stored_len(&self) -> usize {
        self.even.len()
    }

    #[expect(
        clippy::inline_always,
        reason = "the processor's instructions are chosen by the caller"
    )]
    #[inline(always)]
    fn dot<S: Simd>(&self, simd: S, row: &[u32]) -> f32 {
        let (even_lanes, even_rest) = S::as_simd_f32s(&self.even);
        let (odd_lanes, odd_rest) = S::as_simd_f32s(&self.odd);
        let (pairs, rest) = S::as_simd_u32s(row);
        let (shift, odd_bits) = (simd.splat_u32s(16), simd.splat_u32s(ODD_BITS));
        let mut even_sums = simd.splat_f32s(0.0);
        let mut odd_sums = simd.splat_f32s(0.0);
        for (pair, (even, odd)) in pairs.iter().zip(even_lanes.iter().zip(odd_lanes)) {
            let first = simd.transmute_f32s_u32s(simd.wrapping_dyn_shl_u32s(*pair, shift));
            let second = simd.transmute_f32s_u32s(simd.and_u32s(*pair, odd_bits));
            even_sums = simd.mul_add_e_f32s(first, *even, even_sums);
            odd_sums = simd.mul_add_e_f32s(second, *odd, odd_sums);
        }
        let sum = simd.reduce_sum_f32s(simd.add_f32s(even_sums, odd_sums));
        let rest = rest.iter().zip(even_rest.iter().zip(odd_rest));
        rest.fold(sum, |sum, (pair, (even, odd))| {
            let [first, second] = [pair << 16, pair & ODD_BITS].map(f32::from_bits);
            sum + first * even + second * odd
        })
    }
}
