//! A weight whose numbers are f32.

use super::{Row, RowProduct};
use pulp::{Arch, Simd};

/// The row as it is.
pub(super) struct Plain<'a>(&'a [f32]);

impl<'a> Plain<'a> {
    pub(super) fn new(x: &'a [f32]) -> Self {
        Self(x)
    }
}

impl Row for Plain<'_> {
    type Stored = f32;

    fn stored_len(&self) -> usize {
        self.0.len()
    }

    #[expect(
        clippy::inline_always,
        reason = "the processor's instructions are chosen by the caller"
    )]
    #[inline(always)]
    fn dot<S: Simd>(&self, simd: S, row: &[f32]) -> f32 {
        dot_by(simd, self.0, row)
    }
}

/// The dot product of two rows of one length.
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut y = [0.0];
    let product = RowProduct {
        x: &Plain(a),
        w: b,
        y: &mut y,
    };
    Arch::new().dispatch(product);
    y[0]
}

/// [`dot`] by the instructions of `simd`.
#[expect(
    clippy::inline_always,
    reason = "the processor's instructions are chosen by the caller"
)]
#[inline(always)]
pub fn dot_by<S: Simd>(simd: S, a: &[f32], b: &[f32]) -> f32 {
    let ((a_lanes, a_rest), (b_lanes, b_rest)) = (S::as_simd_f32s(a), S::as_simd_f32s(b));
    let ((a_pairs, a_last), (b_pairs, b_last)) =
        (a_lanes.as_chunks::<2>(), b_lanes.as_chunks::<2>());
    // Two sums: one chain of additions would wait for itself.
    let [mut even, mut odd] = [simd.splat_f32s(0.0); 2];
    for ([a, c], [b, d]) in a_pairs.iter().zip(b_pairs) {
        even = simd.mul_add_e_f32s(*a, *b, even);
        odd = simd.mul_add_e_f32s(*c, *d, odd);
    }
    for (a, b) in a_last.iter().zip(b_last) {
        even = simd.mul_add_e_f32s(*a, *b, even);
    }
    let sum = simd.reduce_sum_f32s(simd.add_f32s(even, odd));
    let rest = a_rest.iter().zip(b_rest);
    rest.fold(sum, |sum, (a, b)| sum + a * b)
}
