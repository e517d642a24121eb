//! A tile of queries and a tile of keys: their part of the gradients.

use super::super::buffer::Buffer;
use super::super::problem::TILE;
use super::super::product::{ByColumn, ByRow, Sums, product};
use super::super::seen::{Share, TileSeen, visible};
use super::kv_head::KvHead;
use crate::attention::exponential::exp;
use pulp::Simd;

/// A tile of queries and a tile of keys.
#[derive(Clone, Copy)]
pub(super) struct Pair<'a> {
    pub(super) head: &'a KvHead,
    pub(super) tile: usize,
    pub(super) first_key: usize,
}

impl Pair<'_> {
    /// The tile's part of something with `len` numbers a row.
    fn rows(&self, len: usize) -> std::ops::Range<usize> {
        let tile = self.head.tile_rows * len;
        self.tile * tile..(self.tile + 1) * tile
    }

    fn keys(&self) -> std::ops::Range<usize> {
        let width = self.head.width;
        self.first_key * width..(self.first_key + TILE) * width
    }

    /// `Q K^T` and `dO V^T`, `[rows, TILE]`.
    #[expect(clippy::inline_always, reason = "as above")]
    #[inline(always)]
    pub(super) fn multiply<S: Simd>(&self, simd: S, scores: &mut Buffer, products: &mut Buffer) {
        let head = self.head;
        let operands = [
            (&head.q, &head.k_t, scores),
            (&head.dout, &head.v_t, products),
        ];
        for (left, right, numbers) in operands {
            let left = ByRow {
                numbers: &left[self.rows(head.width)],
                row_len: head.width,
            };
            let sums = Sums {
                numbers,
                row_len: TILE,
                add: false,
            };
            product(simd, left, head.depth, &right[self.keys()], sums);
        }
    }

    /// Turns scores into `p` and products into `dS`.
    #[expect(clippy::inline_always, reason = "as above")]
    #[inline(always)]
    pub(super) fn weigh<S: Simd>(
        &self,
        simd: S,
        seen: [Option<(&TileSeen, Share)>; 2],
        scores: &mut Buffer,
        products: &mut Buffer,
    ) {
        let shares = [self.head.shares.full, self.head.shares.streaming];
        let keys: [u32; TILE] =
            std::array::from_fn(|key| u32::try_from(self.first_key + key).unwrap_or(u32::MAX));
        let branches: [Option<Branch<'_>>; 2] = std::array::from_fn(|index| {
            let ((seen, share), [lse, d]) = (seen[index]?, self.head.stats[index].as_ref()?);
            Some(Branch {
                seen: (share == Share::Some).then_some(seen),
                share: shares[index],
                lse: &lse[self.rows(1)],
                d: &d[self.rows(1)],
            })
        });
        let rows = scores
            .chunks_exact_mut(TILE)
            .zip(products.chunks_exact_mut(TILE));
        for (row, (scores, products)) in rows.enumerate() {
            match &branches {
                [Some(branch), None] | [None, Some(branch)] => {
                    weigh_row(simd, &keys, [branch.row(row)], scores, products);
                }
                [Some(full), Some(streaming)] => {
                    weigh_row(
                        simd,
                        &keys,
                        [full.row(row), streaming.row(row)],
                        scores,
                        products,
                    );
                }
                [None, None] => {}
            }
        }
    }

    /// Adds the pair's part to the gradients of its keys, `dk` and `dv`.
    #[expect(clippy::inline_always, reason = "as above")]
    #[inline(always)]
    pub(super) fn add_to_keys<S: Simd>(
        &self,
        simd: S,
        p: &Buffer,
        ds: &Buffer,
        [dk, dv]: &mut [Buffer; 2],
    ) {
        let (head, width) = (self.head, self.head.width);
        for (left, right, numbers) in [(p, &head.dout, dv), (ds, &head.q, dk)] {
            let left = ByColumn {
                numbers: left,
                column_len: TILE,
            };
            let sums = Sums {
                numbers,
                row_len: width,
                add: true,
            };
            product(simd, left, head.tile_rows, &right[self.rows(width)], sums);
        }
    }

    /// Adds the pair's part to the gradients of its queries.
    #[expect(clippy::inline_always, reason = "as above")]
    #[inline(always)]
    pub(super) fn add_to_queries<S: Simd>(&self, simd: S, ds: &Buffer, dq: &mut [f32]) {
        let left = ByRow {
            numbers: ds,
            row_len: TILE,
        };
        let sums = Sums {
            numbers: dq,
            row_len: self.head.width,
            add: true,
        };
        product(simd, left, TILE, &self.head.k[self.keys()], sums);
    }
}

/// One branch's part in a pair of tiles.
struct Branch<'a> {
    /// Where only some of the keys are seen.
    seen: Option<&'a TileSeen>,
    share: f32,
    lse: &'a [f32],
    d: &'a [f32],
}

/// One branch's part in a row.
#[derive(Clone, Copy)]
struct BranchRow {
    seen: Option<[u32; 3]>,
    share: f32,
    lse: f32,
    d: f32,
}

impl Branch<'_> {
    fn row(&self, row: usize) -> BranchRow {
        BranchRow {
            seen: self.seen.map(|seen| seen.row(row)),
            share: self.share,
            lse: self.lse[row],
            d: self.d[row],
        }
    }
}

/// A row's scores become `p`, its products `dS`.
#[expect(clippy::inline_always, reason = "as above")]
#[inline(always)]
fn weigh_row<S: Simd, const N: usize>(
    simd: S,
    keys: &[u32; TILE],
    branches: [BranchRow; N],
    scores: &mut [f32],
    products: &mut [f32],
) {
    let (scores, _) = S::as_mut_simd_f32s(scores);
    let (products, _) = S::as_mut_simd_f32s(products);
    let (keys, _) = S::as_simd_u32s(keys);
    let zero = simd.splat_f32s(0.0);
    for ((score, product), key) in scores.iter_mut().zip(products).zip(keys) {
        let (mut p, mut ds) = (zero, zero);
        for branch in branches {
            let weight = exp(simd, simd.sub_f32s(*score, simd.splat_f32s(branch.lse)));
            let mut weight = simd.mul_f32s(weight, simd.splat_f32s(branch.share));
            if let Some(bounds) = branch.seen {
                let bounds = bounds.map(|bound| simd.splat_u32s(bound));
                weight = simd.select_f32s(visible(simd, *key, bounds), weight, zero);
            }
            let slope = simd.sub_f32s(*product, simd.splat_f32s(branch.d));
            p = simd.add_f32s(p, weight);
            ds = simd.mul_add_e_f32s(weight, slope, ds);
        }
        (*score, *product) = (p, ds);
    }
}
