//! The backward pass: tiles of keys, each over the tiles of queries that see it.
//!
//! Scores lie a row per query and a lane per key. With `D_X = rowsum(dO * O_X)`, a branch's share `w_X` (`z` or `1 - z`) and
//! `p_X = w_X exp(s - lse_X)`, 0 where branch X does not see the key:
//!
//! ```text
//! s = Q K^T   dP = dO V^T   p = p_F + p_T   dS = p_F (dP - D_F) + p_T (dP - D_T)
//! dV += p^T dO   dK += dS^T Q   dQ += dS K
//! ```
//!
//! Both branches share the five products.
//!
//! # Decisions
//! Threads share out tiles of keys, which own `dK` and `dV`; `dQ` is summed by all tiles of keys that a query sees, one after the
//! other in ascending order (`in_turn`), so the bits are those of one thread whatever the count, and no second buffer is summed.
//! A thread waits only with the last of five products, for a tile of keys that another thread took before it, so there always is
//! a thread that goes on. As many heads as there are threads are laid out and worked on at once, tiles of keys side by side: with
//! enough heads nobody waits, with fewer, threads follow each other through a head; one thread does head after head.

mod gather;
mod in_turn;
mod kv_head;
mod pair;
mod weigh;

use super::buffer::Buffer;
use super::panels::PANEL;
use super::problem::{Problem, Sizes, TILE};
use super::seen::{Seen, Share, TileSeen};
use super::share;
use gather::{Tiles, gather};
use in_turn::{InTurn, Watch, Workers};
use kv_head::{KvHead, lay_out};
use pair::Pair;
use pulp::{Arch, Simd, WithSimd};

/// Gradients.
#[derive(Debug)]
pub(super) struct Grads {
    /// `[B, T, H, D]`.
    pub(super) dq: Vec<f32>,
    /// `[B, S, K, D]`.
    pub(super) dk: Vec<f32>,
    /// `[B, S, K, D]`.
    pub(super) dv: Vec<f32>,
}

/// What the forward pass said of one branch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Saved<'a> {
    /// `[B, T, k, G, D]`.
    pub(super) out: &'a [f32],
    /// `[B, k, G, T]`.
    pub(super) lse: &'a [f32],
}

/// Gradients for the output gradient `dout` `[B, T, H, D]`.
pub(super) fn backward(problem: &Problem, dout: &[f32], saved: [Option<Saved>; 2]) -> Grads {
    let threads = share::num_threads(problem.num_scores());
    let seen = [
        Some(problem.seen(|q| problem.dense.seen(&problem.sizes, q))),
        problem
            .span
            .map(|span| problem.seen(|q| Seen::streaming(span, q))),
    ];
    let mut tiles = Tiles::default();
    let places: Vec<(usize, usize)> = problem.places().collect();
    for places in places.chunks(threads) {
        let heads = lay_out(problem, dout, saved, places, threads);
        solve(problem, threads, &heads, &seen, &mut tiles);
    }
    gather(problem, threads, &tiles)
}

/// Adds the gradients of `heads` to `tiles`.
fn solve(
    problem: &Problem,
    threads: usize,
    heads: &[KvHead],
    seen: &[Option<Vec<TileSeen>>; 2],
    tiles: &mut Tiles,
) {
    let sizes = problem.sizes;
    let in_turn = || (0..sizes.num_tiles()).map(|_| InTurn::default()).collect();
    let dq: Vec<Vec<InTurn>> = heads.iter().map(|_| in_turn()).collect();
    let none = || {
        (0..sizes.num_key_tiles())
            .map(|_| Default::default())
            .collect()
    };
    let mut of_keys: Vec<Vec<[Buffer; 2]>> = heads.iter().map(|_| none()).collect();
    let workers = Workers::default();
    share::each(
        threads,
        tasks(heads, &dq, &mut of_keys),
        || Scratch::new(&sizes, &workers, problem.arch),
        |scratch, task| task.solve(seen, scratch),
    );
    let sums = |tiles: Vec<InTurn>| tiles.into_iter().map(InTurn::into_sums).collect();
    tiles.dq.extend(dq.into_iter().map(sums));
    tiles.of_keys.extend(of_keys);
}

/// What a thread computes in.
struct Scratch<'a> {
    scores: Buffer,
    products: Buffer,
    watch: Watch<'a>,
    arch: Arch,
}

impl<'a> Scratch<'a> {
    fn new(sizes: &Sizes, workers: &'a Workers, arch: Arch) -> Self {
        let [scores, products] = [0, 1].map(|_| Buffer::zeros(sizes.tile_rows() * TILE));
        Self {
            scores,
            products,
            watch: Watch(workers),
            arch,
        }
    }
}

/// A tile of one kv head's keys.
struct Task<'a> {
    head: &'a KvHead,
    first_key: usize,
    /// Of the head's tiles of queries.
    dq: &'a [InTurn],
    /// `dk` and `dv` of the tile's keys.
    grads: &'a mut [Buffer; 2],
}

/// The tiles of `heads`, side by side.
fn tasks<'a>(
    heads: &'a [KvHead],
    dq: &'a [Vec<InTurn>],
    of_keys: &'a mut [Vec<[Buffer; 2]>],
) -> Vec<Task<'a>> {
    let mut tasks = Vec::new();
    for ((head, dq), of_keys) in heads.iter().zip(dq).zip(of_keys) {
        let tiles = of_keys.iter_mut().enumerate();
        tasks.extend(tiles.map(|(tile, grads)| Task {
            head,
            first_key: tile * TILE,
            dq,
            grads,
        }));
    }
    // Stable: of one tile, head after head.
    tasks.sort_by_key(|task| task.first_key);
    tasks
}

impl Task<'_> {
    fn solve(self, seen: &[Option<Vec<TileSeen>>; 2], scratch: &mut Scratch) {
        let has = |branch: usize| {
            let stats = &self.head.stats[branch];
            seen[branch].as_deref().filter(|_| stats.is_some())
        };
        *self.grads = [0, 1].map(|_| Buffer::zeros(TILE * self.head.width));
        scratch.arch.dispatch(Solve {
            seen: [has(0), has(1)],
            task: self,
            scratch,
        });
    }
}

struct Solve<'a, 'b> {
    task: Task<'a>,
    /// What tiles of queries see by the full and the streaming branch, where the head has it.
    seen: [Option<&'a [TileSeen]>; 2],
    scratch: &'a mut Scratch<'b>,
}

impl WithSimd for Solve<'_, '_> {
    type Output = ();

    #[expect(
        clippy::inline_always,
        reason = "the processor's instructions are chosen by the caller"
    )]
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Task {
            head,
            first_key,
            dq,
            grads,
        } = self.task;
        let Scratch {
            scores,
            products,
            watch,
            ..
        } = self.scratch;
        let keys = first_key..first_key + TILE;
        for (tile, dq) in dq.iter().enumerate() {
            let of = |branch: usize| {
                let seen = &self.seen[branch]?[tile];
                let share = seen.share(&keys);
                (share != Share::None).then_some((seen, share))
            };
            let seen = [of(0), of(1)];
            // What the streaming branch sees, the full one sees too.
            let Some((widest, _)) = seen[0].or(seen[1]) else {
                continue;
            };
            let hull = widest.hull(&keys, PANEL);
            let pair = Pair {
                head,
                tile,
                first_key,
                seen: hull.start - first_key..hull.end - first_key,
            };
            pair.multiply(simd, scores, products);
            pair.weigh(simd, seen, scores, products);
            pair.add_to_keys(simd, scores, products, grads);
            let after = widest.before(first_key, TILE);
            let mut turn = dq.turn(after, head.tile_rows * head.width, watch.0);
            pair.add_to_queries(simd, products, turn.sums());
            turn.end(first_key);
        }
    }
}
