//! Exponentials of scores that are not positive, as many at once as the processor has lanes.
//!
//! `exp(x) = 2^n exp(r)` with a whole `n` and `|r| <= ln 2 / 2`, where a polynomial is exact to less than one unit in the last place.
//!
//! # Decisions
//! Below [`LOWEST`] the result is 0. A softmax has a term of 1, beside which 2e-22 is nothing in f32 even a million times over; but
//! multiplied by values and gradients such terms become subnormal numbers, with which Intel's processors compute a hundred times
//! slower: a step of the trained tiny model, whose heads look at few tokens, took eight times the CPU time (one run each, loading
//! included, `prulong train --config configs/quickstart.toml --dry-run`).

use pulp::Simd;

/// `x -> exp(x - max)` in place; returns the sum.
#[expect(
    clippy::inline_always,
    reason = "the processor's instructions are chosen by the caller"
)]
#[inline(always)]
pub(super) fn exponentials<S: Simd>(simd: S, scores: &mut [f32], max: f32) -> f32 {
    let (registers, rest) = S::as_mut_simd_f32s(scores);
    let mut sums = simd.splat_f32s(0.0);
    for register in registers {
        *register = exp(simd, simd.sub_f32s(*register, simd.splat_f32s(max)));
        sums = simd.add_f32s(sums, *register);
    }
    rest.iter_mut().fold(simd.reduce_sum_f32s(sums), |sum, x| {
        *x = exp_of_one(*x - max);
        sum + *x
    })
}

/// [`exp`] of one number.
fn exp_of_one(x: f32) -> f32 {
    if x < LOWEST { 0.0 } else { x.exp() }
}

/// Where results end: below, 0 is as good.
const LOWEST: f32 = -50.0;
/// Adding it rounds to whole numbers, which then stand in the low bits: 1.5 x 2^23.
const ROUNDER: f32 = 12_582_912.0;
/// ln 2 in two parts: the first has few enough bits for its multiples to be exact.
const LN_2_HIGH: f32 = 355.0 / 512.0;
const LN_2_LOW: f32 = -2.121_944_4e-4;
/// Of r^6 down to r^0: the polynomial whose largest relative error within half of ln 2 is least among those that begin with
/// `1 + r`, by Remez's exchange; 5e-9, what Taylor's has with one more term.
const POLYNOMIAL: [f32; 7] = [
    1.381_446_7e-3,
    8.368_781e-3,
    4.166_839_3e-2,
    0.166_665_2,
    0.499_999_94,
    1.0,
    1.0,
];

/// `exp` of numbers that are not positive: `2^n exp(r)`, `n` whole, `|r| <= ln 2 / 2`.
#[expect(clippy::inline_always, reason = "as above")]
#[inline(always)]
pub(super) fn exp<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    // Whatever becomes of such a number below is put aside at the end.
    let is_nothing = simd.less_than_f32s(x, simd.splat_f32s(LOWEST));
    let rounder = simd.splat_f32s(ROUNDER);
    let shifted = simd.mul_add_e_f32s(x, simd.splat_f32s(std::f32::consts::LOG2_E), rounder);
    let whole = simd.sub_f32s(shifted, rounder);
    let rest = simd.negate_mul_add_e_f32s(whole, simd.splat_f32s(LN_2_HIGH), x);
    let rest = simd.negate_mul_add_e_f32s(whole, simd.splat_f32s(LN_2_LOW), rest);
    let mut sum = simd.splat_f32s(POLYNOMIAL[0]);
    for factor in &POLYNOMIAL[1..] {
        sum = simd.mul_add_e_f32s(sum, rest, simd.splat_f32s(*factor));
    }
    // The low bits of `shifted` are `n`; moved up to the exponent's place and added, they multiply by 2^n.
    let power = simd.wrapping_dyn_shl_u32s(simd.transmute_u32s_f32s(shifted), simd.splat_u32s(23));
    let found = simd.transmute_f32s_u32s(simd.add_u32s(simd.transmute_u32s_f32s(sum), power));
    simd.select_f32s(is_nothing, simd.splat_f32s(0.0), found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pulp::{Arch, WithSimd};

    #[test]
    fn exponentials_are_right_to_two_units_in_the_last_place() {
        let mut found: Vec<f32> = (0..5_001_u16).map(|x| f32::from(x) * -0.01).collect();
        let exact: Vec<f64> = found.iter().map(|x| f64::from(*x).exp()).collect();
        Arch::new().dispatch(All(&mut found));
        for (found, exact) in found.iter().zip(exact) {
            let error = (f64::from(*found) - exact).abs();
            assert!(
                error <= 2.0 * f64::from(f32::EPSILON) * exact,
                "{found} for {exact}"
            );
        }
    }

    #[test]
    fn what_is_nothing_beside_one_is_zero() {
        // A register's worth and some more, for both ways.
        let mut found = [-50.1, -87.0, -1e30, f32::NEG_INFINITY].repeat(9);
        found.push(0.0);
        let sum = Arch::new().dispatch(All(&mut found));
        assert!(
            found.iter().rev().skip(1).all(|x| x.to_bits() == 0),
            "{found:?}"
        );
        assert!((sum - 1.0).abs() < f32::EPSILON);
    }

    #[test]
    fn what_is_no_number_stays_none() {
        // In a register, and in what is left over.
        for place in [0, 32] {
            let mut found = vec![-1.0; 33];
            found[place] = f32::NAN;
            Arch::new().dispatch(All(&mut found));
            let places: Vec<usize> = (0..33).filter(|at| found[*at].is_nan()).collect();
            assert_eq!(places, [place]);
        }
    }

    struct All<'a>(&'a mut [f32]);

    impl WithSimd for All<'_> {
        type Output = f32;

        #[expect(clippy::inline_always, reason = "as above")]
        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) -> f32 {
            exponentials(simd, self.0, 0.0)
        }
    }
}
