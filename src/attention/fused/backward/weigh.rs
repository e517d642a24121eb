//! Scores and products of a pair of tiles become `p` and `dS`.

use super::super::panels::PANEL;
use super::super::seen::{TileSeen, visible};
use crate::attention::exponential::exp;
use pulp::Simd;

/// One branch's part in a pair of tiles.
#[derive(Debug, Clone, Copy)]
pub(super) struct Branch<'a> {
    /// Where only some of the keys are seen.
    pub(super) seen: Option<&'a TileSeen>,
    pub(super) share: f32,
    pub(super) lse: &'a [f32],
    pub(super) d: &'a [f32],
}

/// What is weighed.
#[derive(Debug)]
pub(super) struct Numbers<'a> {
    pub(super) first_key: usize,
    /// `[rows, keys]` in panels, from `first_key` on; they become `p`.
    pub(super) scores: &'a mut [f32],
    /// Of the same shape; they become `dS`.
    pub(super) products: &'a mut [f32],
}

/// Weighs a pair of tiles.
#[expect(
    clippy::inline_always,
    reason = "the processor's instructions are chosen by the caller"
)]
#[inline(always)]
pub(super) fn weigh<S: Simd, const N: usize>(
    simd: S,
    branches: &[Branch<'_>; N],
    numbers: Numbers<'_>,
) {
    let Numbers {
        first_key,
        scores,
        products,
    } = numbers;
    let len = branches[0].lse.len() * PANEL;
    let panels = scores
        .chunks_exact_mut(len)
        .zip(products.chunks_exact_mut(len));
    let is_partial = branches.iter().any(|branch| branch.seen.is_some());
    for (index, (scores, products)) in panels.enumerate() {
        let (scores, _) = scores.as_chunks_mut();
        let (products, _) = products.as_chunks_mut();
        let rows = scores.iter_mut().zip(products).enumerate();
        // Asked once and not for every row.
        if is_partial {
            let keys = keys_from(first_key + index * PANEL);
            for (row, numbers) in rows {
                weigh_row(simd, branches, row, Some(&keys), numbers);
            }
        } else {
            for (row, numbers) in rows {
                weigh_row(simd, branches, row, None, numbers);
            }
        }
    }
}

fn keys_from(first: usize) -> [u32; PANEL] {
    std::array::from_fn(|key| u32::try_from(first + key).unwrap_or(u32::MAX))
}

/// A row of a panel; `keys` are asked for where some are not seen.
#[expect(clippy::inline_always, reason = "as above")]
#[inline(always)]
fn weigh_row<S: Simd, const N: usize>(
    simd: S,
    branches: &[Branch<'_>; N],
    row: usize,
    keys: Option<&[u32; PANEL]>,
    (scores, products): (&mut [f32; PANEL], &mut [f32; PANEL]),
) {
    let (scores, _) = S::as_mut_simd_f32s(scores);
    let (products, _) = S::as_mut_simd_f32s(products);
    let keys = keys.map(|keys| S::as_simd_u32s(keys).0);
    let zero = simd.splat_f32s(0.0);
    for (column, (score, product)) in scores.iter_mut().zip(products).enumerate() {
        let (mut p, mut ds) = (zero, zero);
        for branch in branches {
            let weight = exp(
                simd,
                simd.sub_f32s(*score, simd.splat_f32s(branch.lse[row])),
            );
            let mut weight = simd.mul_f32s(weight, simd.splat_f32s(branch.share));
            if let (Some(keys), Some(seen)) = (keys, branch.seen) {
                let [head, from, to] = seen.row(row);
                let bounds = [
                    simd.splat_u32s(head),
                    simd.splat_u32s(from),
                    simd.splat_u32s(to),
                ];
                weight = simd.select_f32s(visible(simd, keys[column], bounds), weight, zero);
            }
            let slope = simd.sub_f32s(*product, simd.splat_f32s(branch.d[row]));
            p = simd.add_f32s(p, weight);
            ds = simd.mul_add_e_f32s(weight, slope, ds);
        }
        (*score, *product) = (p, ds);
    }
}
