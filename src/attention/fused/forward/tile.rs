//! The queries of a tile with their running softmax, and the walk over the keys.

use super::super::buffer::Buffer;
use super::super::panels::{PANEL, place};
use super::super::problem::{Problem, TILE, are_tame};
use super::super::product::{ByColumn, ByRow, Part, Right, Sums, product};
use super::super::seen::{Share, TileSeen, visible};
use super::{KvHead, QueryOut};
use crate::attention::exponential::exp;
use pulp::{Arch, Simd, WithSimd};
use std::ops::Range;

/// A tile's queries of one kv head, and its running softmax.
pub(super) struct Tile {
    width: usize,
    /// `[width, rows]` in panels, scaled.
    q_t: Buffer,
    /// `[TILE, rows]` in panels.
    scores: Buffer,
    /// `[width, rows]` in panels.
    out_t: Buffer,
    max: Buffer,
    sum: Buffer,
    arch: Arch,
}

impl Tile {
    pub(super) fn new(problem: &Problem) -> Self {
        let (rows, width) = (problem.sizes.tile_rows(), problem.sizes.width());
        Self {
            width,
            q_t: Buffer::zeros(width * rows),
            scores: Buffer::zeros(TILE * rows),
            out_t: Buffer::zeros(width * rows),
            max: Buffer::zeros(rows),
            sum: Buffer::zeros(rows),
            arch: problem.arch,
        }
    }

    /// Begins with the queries of tile `tile` of a kv head; whether their scores stay finite.
    pub(super) fn take(
        &mut self,
        problem: &Problem,
        (batch, head): (usize, usize),
        tile: usize,
    ) -> bool {
        let sizes = problem.sizes;
        self.q_t.fill(0.0);
        let mut is_tame = true;
        for (index, q) in sizes.queries_of(tile).enumerate() {
            let start = problem.query_start(batch, q, head);
            let numbers = &problem.q[start..start + sizes.group * sizes.head_dim];
            is_tame &= are_tame(numbers);
            for (member, query) in numbers.chunks_exact(sizes.head_dim).enumerate() {
                let lane = index * sizes.group + member;
                for (depth, number) in query.iter().enumerate() {
                    self.q_t[place(self.width, depth, lane)] = number * problem.scale;
                }
            }
        }
        self.out_t.fill(0.0);
        self.max.fill(f32::MIN);
        self.sum.fill(0.0);
        is_tame
    }

    /// Makes all outputs NaN.
    pub(super) fn spoil(&mut self) {
        self.sum.fill(f32::NAN);
    }

    /// Takes in the keys that are seen.
    pub(super) fn walk(&mut self, kv: &KvHead, seen: &TileSeen) {
        self.arch.dispatch(Walk {
            tile: self,
            kv,
            seen,
        });
    }

    /// Writes outputs and lse of what was taken in, query by query.
    pub(super) fn give(&self, queries: Vec<QueryOut>) {
        let rows = self.max.len();
        let mut lanes = 0..rows;
        for QueryOut { out, lse } in queries {
            let members = out.chunks_exact_mut(out.len() / lse.len()).zip(lse);
            for ((out, lse), lane) in members.zip(&mut lanes) {
                let factor = self.sum[lane].recip();
                for (depth, number) in out.iter_mut().enumerate() {
                    *number = self.out_t[place(self.width, depth, lane)] * factor;
                }
                *lse = self.max[lane] + self.sum[lane].ln();
            }
        }
    }
}

struct Walk<'a> {
    tile: &'a mut Tile,
    kv: &'a KvHead,
    seen: &'a TileSeen,
}

impl WithSimd for Walk<'_> {
    type Output = ();

    #[expect(
        clippy::inline_always,
        reason = "the processor's instructions are chosen by the caller"
    )]
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { tile, kv, seen } = self;
        let num_keys = kv.k.len() / kv.width;
        for (first_key, share) in seen.tiles(num_keys, TILE) {
            let keys = KeyTile::new(kv, first_key, seen);
            tile.score(simd, &keys);
            if share == Share::Some {
                hide(simd, &mut tile.scores, &keys, seen);
            }
            tile.weigh(simd, &keys);
            tile.add_values(simd, &keys);
        }
    }
}

/// A tile of keys and values; what is seen of it.
struct KeyTile<'a> {
    k: &'a [f32],
    v: &'a [f32],
    first_key: usize,
    /// Its keys from the first to the last that are seen, counted from its own first, in whole panels.
    seen: Range<usize>,
}

impl<'a> KeyTile<'a> {
    fn new(kv: &'a KvHead, first_key: usize, seen: &TileSeen) -> Self {
        let keys = first_key..first_key + TILE;
        let hull = seen.hull(&keys, PANEL);
        let numbers = first_key * kv.width..(first_key + TILE) * kv.width;
        Self {
            k: &kv.k[numbers.clone()],
            v: &kv.v[numbers],
            first_key,
            seen: hull.start - first_key..hull.end - first_key,
        }
    }
}

impl Tile {
    /// `s = K Q^T` of the keys that are seen.
    #[expect(clippy::inline_always, reason = "as above")]
    #[inline(always)]
    fn score<S: Simd>(&mut self, simd: S, keys: &KeyTile<'_>) {
        let left = ByRow {
            numbers: keys.k,
            num_rows: TILE,
        };
        let right = Right {
            numbers: &self.q_t,
            num_rows: self.width,
        };
        let sums = Sums {
            numbers: &mut self.scores,
            num_rows: TILE,
            add: false,
        };
        let part = Part {
            rows: keys.seen.clone(),
            depths: 0..self.width,
            columns: 0..self.max.len(),
        };
        product(simd, left, right, sums, &part);
    }

    /// `O^T += V^T p` of the keys that are seen.
    #[expect(clippy::inline_always, reason = "as above")]
    #[inline(always)]
    fn add_values<S: Simd>(&mut self, simd: S, keys: &KeyTile<'_>) {
        let left = ByColumn {
            numbers: keys.v,
            depth: TILE,
        };
        let right = Right {
            numbers: &self.scores,
            num_rows: TILE,
        };
        let sums = Sums {
            numbers: &mut self.out_t,
            num_rows: self.width,
            add: true,
        };
        let part = Part {
            rows: 0..self.width,
            depths: keys.seen.clone(),
            columns: 0..self.max.len(),
        };
        product(simd, left, right, sums, &part);
    }
}

/// Scores of keys that are not seen become -inf.
#[expect(clippy::inline_always, reason = "as above")]
#[inline(always)]
fn hide<S: Simd>(simd: S, scores: &mut [f32], keys: &KeyTile<'_>, seen: &TileSeen) {
    let per_row = PANEL / S::F32_LANES;
    let hidden = simd.splat_f32s(f32::NEG_INFINITY);
    let first_key = keys.first_key + keys.seen.start;
    for (index, panel) in scores.chunks_exact_mut(TILE * PANEL).enumerate() {
        let (rows, _) = panel.as_chunks_mut();
        for column in 0..per_row {
            let bounds = seen.register::<S>(index * per_row + column);
            let mut key = simd.splat_u32s(u32::try_from(first_key).unwrap_or(u32::MAX));
            for row in &mut rows[keys.seen.clone()] {
                let score = register(simd, row, column);
                *score = simd.select_f32s(visible(simd, key, bounds), *score, hidden);
                key = simd.add_u32s(key, simd.splat_u32s(1));
            }
        }
    }
}

impl Tile {
    /// Scores become weights relative to the new maxima; what was summed up before is rescaled.
    #[expect(clippy::inline_always, reason = "as above")]
    #[inline(always)]
    fn weigh<S: Simd>(&mut self, simd: S, keys: &KeyTile<'_>) {
        let lanes = self
            .max
            .chunks_exact_mut(PANEL)
            .zip(self.sum.chunks_exact_mut(PANEL));
        let scores = self.scores.chunks_exact_mut(TILE * PANEL);
        let outs = self.out_t.chunks_exact_mut(self.width * PANEL);
        for ((max, sum), (scores, out)) in lanes.zip(scores.zip(outs)) {
            let (max, _) = S::as_mut_simd_f32s(max);
            let (sum, _) = S::as_mut_simd_f32s(sum);
            let scores = &mut scores.as_chunks_mut().0[keys.seen.clone()];
            let (out, _) = out.as_chunks_mut();
            for (column, (max, sum)) in max.iter_mut().zip(sum).enumerate() {
                let new_max = simd.max_f32s(*max, largest(simd, column, scores));
                let factor = exp(simd, simd.sub_f32s(*max, new_max));
                let new_sum = exponentials(simd, column, new_max, scores);
                (*max, *sum) = (new_max, simd.mul_add_e_f32s(*sum, factor, new_sum));
                for row in &mut *out {
                    let number = register(simd, row, column);
                    *number = simd.mul_f32s(*number, factor);
                }
            }
        }
    }
}

/// Register `index` of a row of a panel.
#[expect(clippy::inline_always, reason = "as above")]
#[inline(always)]
fn register<S: Simd>(_: S, row: &mut [f32; PANEL], index: usize) -> &mut S::f32s {
    &mut S::as_mut_simd_f32s(row).0[index]
}

/// The largest scores of a register column.
#[expect(clippy::inline_always, reason = "as above")]
#[inline(always)]
fn largest<S: Simd>(simd: S, column: usize, scores: &mut [[f32; PANEL]]) -> S::f32s {
    // A processor finds several maxima at once, but each waits for the one before.
    let mut largest = [simd.splat_f32s(f32::NEG_INFINITY); 4];
    for rows in scores.as_chunks_mut::<4>().0 {
        for (largest, row) in largest.iter_mut().zip(rows) {
            *largest = simd.max_f32s(*largest, *register(simd, row, column));
        }
    }
    let [a, b, c, d] = largest;
    simd.max_f32s(simd.max_f32s(a, b), simd.max_f32s(c, d))
}

/// A register column of scores becomes `exp(score - max)`; the sums.
#[expect(clippy::inline_always, reason = "as above")]
#[inline(always)]
fn exponentials<S: Simd>(
    simd: S,
    column: usize,
    max: S::f32s,
    scores: &mut [[f32; PANEL]],
) -> S::f32s {
    let mut sum = simd.splat_f32s(0.0);
    for row in scores {
        let score = register(simd, row, column);
        *score = exp(simd, simd.sub_f32s(*score, max));
        sum = simd.add_f32s(sum, *score);
    }
    sum
}
