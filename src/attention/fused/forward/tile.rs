//! The queries of a tile with their running softmax, and the walk over the keys.

use super::super::buffer::Buffer;
use super::super::problem::{Problem, TILE, are_tame};
use super::super::product::{ByColumn, ByRow, Sums, product};
use super::super::seen::{Share, TileSeen, visible};
use super::{KvHead, QueryOut};
use crate::attention::exponential::exp;
use pulp::{Arch, Simd, WithSimd};

/// A tile's queries of one kv head, and its running softmax.
pub(super) struct Tile {
    depth: usize,
    /// `[width, rows]`, scaled.
    q_t: Buffer,
    /// `[TILE, rows]`.
    scores: Buffer,
    /// `[width, rows]`.
    out_t: Buffer,
    max: Buffer,
    sum: Buffer,
}

impl Tile {
    pub(super) fn new(problem: &Problem) -> Self {
        let (rows, width) = (problem.sizes.tile_rows(), problem.sizes.width());
        Self {
            depth: problem.sizes.head_dim,
            q_t: Buffer::zeros(width * rows),
            scores: Buffer::zeros(TILE * rows),
            out_t: Buffer::zeros(width * rows),
            max: Buffer::zeros(rows),
            sum: Buffer::zeros(rows),
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
        let rows = self.max.len();
        self.q_t.fill(0.0);
        let mut is_tame = true;
        for (index, q) in sizes.queries_of(tile).enumerate() {
            let start = problem.query_start(batch, q, head);
            let numbers = &problem.q[start..start + sizes.group * sizes.head_dim];
            is_tame &= are_tame(numbers);
            for (member, query) in numbers.chunks_exact(sizes.head_dim).enumerate() {
                let lane = index * sizes.group + member;
                for (depth, number) in query.iter().enumerate() {
                    self.q_t[depth * rows + lane] = number * problem.scale;
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
        Arch::new().dispatch(Walk {
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
            let members = out.chunks_exact_mut(self.depth).zip(lse);
            for ((out, lse), lane) in members.zip(&mut lanes) {
                let factor = self.sum[lane].recip();
                for (depth, number) in out.iter_mut().enumerate() {
                    *number = self.out_t[depth * rows + lane] * factor;
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
        let rows = tile.max.len();
        let width = tile.q_t.len() / rows;
        let num_keys = kv.k.len() / width;
        for (start, share) in seen.tiles(num_keys, TILE) {
            let keys = start * width..(start + TILE) * width;
            let left = ByRow {
                numbers: &kv.k[keys.clone()],
                row_len: width,
            };
            let scores = Sums {
                numbers: &mut tile.scores,
                row_len: rows,
                add: false,
            };
            product(simd, left, tile.depth, &tile.q_t, scores);
            if share == Share::Some {
                hide(simd, &mut tile.scores, start, seen);
            }
            tile.weigh(simd);
            let left = ByColumn {
                numbers: &kv.v[keys],
                column_len: width,
            };
            let out = Sums {
                numbers: &mut tile.out_t,
                row_len: rows,
                add: true,
            };
            product(simd, left, TILE, &tile.scores, out);
        }
    }
}

/// Scores of keys that are not seen become -inf.
#[expect(clippy::inline_always, reason = "as above")]
#[inline(always)]
fn hide<S: Simd>(simd: S, scores: &mut [f32], first_key: usize, seen: &TileSeen) {
    let (registers, _) = S::as_mut_simd_f32s(scores);
    let per_row = registers.len() / TILE;
    let hidden = simd.splat_f32s(f32::NEG_INFINITY);
    for column in 0..per_row {
        let bounds = seen.register::<S>(column);
        let mut key = simd.splat_u32s(u32::try_from(first_key).unwrap_or(u32::MAX));
        for row in 0..TILE {
            let score = &mut registers[row * per_row + column];
            *score = simd.select_f32s(visible(simd, key, bounds), *score, hidden);
            key = simd.add_u32s(key, simd.splat_u32s(1));
        }
    }
}

impl Tile {
    /// Scores become weights relative to the new maxima; what was summed up before is rescaled.
    #[expect(clippy::inline_always, reason = "as above")]
    #[inline(always)]
    fn weigh<S: Simd>(&mut self, simd: S) {
        let (scores, _) = S::as_mut_simd_f32s(&mut self.scores);
        let (maxima, _) = S::as_mut_simd_f32s(&mut self.max);
        let (sums, _) = S::as_mut_simd_f32s(&mut self.sum);
        let (out, _) = S::as_mut_simd_f32s(&mut self.out_t);
        let per_row = maxima.len();
        for (column, (max, sum)) in maxima.iter_mut().zip(sums).enumerate() {
            let mut new_max = *max;
            for row in scores.chunks_exact(per_row) {
                new_max = simd.max_f32s(new_max, row[column]);
            }
            let factor = exp(simd, simd.sub_f32s(*max, new_max));
            let mut new_sum = simd.splat_f32s(0.0);
            for row in scores.chunks_exact_mut(per_row) {
                row[column] = exp(simd, simd.sub_f32s(row[column], new_max));
                new_sum = simd.add_f32s(new_sum, row[column]);
            }
            (*max, *sum) = (new_max, simd.mul_add_e_f32s(*sum, factor, new_sum));
            for row in out.chunks_exact_mut(per_row) {
                row[column] = simd.mul_f32s(row[column], factor);
            }
        }
    }
}
