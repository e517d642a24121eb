//! A tile of queries and a tile of keys: their part of the gradients.

use super::super::buffer::Buffer;
use super::super::problem::TILE;
use super::super::product::{ByColumn, ByRow, Part, Right, Sums, product};
use super::super::seen::{Share, TileSeen};
use super::kv_head::KvHead;
use super::weigh::{Branch, Numbers, weigh};
use pulp::Simd;
use std::ops::Range;

/// A tile of queries and a tile of keys.
pub(super) struct Pair<'a> {
    pub(super) head: &'a KvHead,
    pub(super) tile: usize,
    pub(super) first_key: usize,
    /// The tile's keys from the first to the last that are seen, counted from `first_key`, in whole panels.
    pub(super) seen: Range<usize>,
}

impl Pair<'_> {
    /// The tile's part of something with `len` numbers a row.
    fn rows(&self, len: usize) -> Range<usize> {
        let tile = self.head.tile_rows * len;
        self.tile * tile..(self.tile + 1) * tile
    }

    fn keys(&self) -> Range<usize> {
        let width = self.head.width;
        self.first_key * width..(self.first_key + TILE) * width
    }

    /// `Q K^T` and `dO V^T`, `[rows, TILE]`.
    #[expect(clippy::inline_always, reason = "the caller chooses instructions")]
    #[inline(always)]
    pub(super) fn multiply<S: Simd>(&self, simd: S, scores: &mut Buffer, products: &mut Buffer) {
        let head = self.head;
        let operands = [
            (&head.q, &head.k_t, scores),
            (&head.dout, &head.v_t, products),
        ];
        let part = Part {
            rows: 0..head.tile_rows,
            depths: 0..head.width,
            columns: self.seen.clone(),
        };
        for (left, right, numbers) in operands {
            let left = ByRow {
                numbers: &left[self.rows(head.width)],
                num_rows: head.tile_rows,
            };
            let right = Right {
                numbers: &right[self.keys()],
                num_rows: head.width,
            };
            let sums = Sums {
                numbers,
                num_rows: head.tile_rows,
                add: false,
            };
            product(simd, left, right, sums, &part);
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
        let branches: [Option<Branch<'_>>; 2] = std::array::from_fn(|index| {
            let ((seen, share), [lse, d]) = (seen[index]?, self.head.stats[index].as_ref()?);
            Some(Branch {
                seen: (share == Share::Some).then_some(seen),
                share: shares[index],
                lse: &lse[self.rows(1)],
                d: &d[self.rows(1)],
            })
        });
        let rows = self.head.tile_rows;
        let part = self.seen.start * rows..self.seen.end * rows;
        let pair = Numbers {
            first_key: self.first_key + self.seen.start,
            scores: &mut scores[part.clone()],
            products: &mut products[part],
        };
        match branches {
            [Some(branch), None] | [None, Some(branch)] => weigh(simd, &[branch], pair),
            [Some(full), Some(streaming)] => weigh(simd, &[full, streaming], pair),
            [None, None] => {}
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
        let part = Part {
            rows: self.seen.clone(),
            depths: 0..head.tile_rows,
            columns: 0..width,
        };
        for (left, right, numbers) in [(p, &head.dout, dv), (ds, &head.q, dk)] {
            let left = ByColumn {
                numbers: left,
                depth: head.tile_rows,
            };
            let right = Right {
                numbers: &right[self.rows(width)],
                num_rows: head.tile_rows,
            };
            let sums = Sums {
                numbers,
                num_rows: TILE,
                add: true,
            };
            product(simd, left, right, sums, &part);
        }
    }

    /// Adds the pair's part to the gradients of its queries.
    #[expect(clippy::inline_always, reason = "as above")]
    #[inline(always)]
    pub(super) fn add_to_queries<S: Simd>(&self, simd: S, ds: &Buffer, dq: &mut [f32]) {
        let left = ByRow {
            numbers: ds,
            num_rows: self.head.tile_rows,
        };
        let right = Right {
            numbers: &self.head.k[self.keys()],
            num_rows: TILE,
        };
        let part = Part {
            rows: 0..self.head.tile_rows,
            depths: self.seen.clone(),
            columns: 0..self.head.width,
        };
        let sums = Sums {
            numbers: dq,
            num_rows: self.head.tile_rows,
            add: true,
        };
        product(simd, left, right, sums, &part);
    }
}
