//! The forward pass: tiles of queries, each over the tiles of keys that it sees, with a running softmax.
//!
//! Scores lie transposed, a row per key and a lane per query of the group, so that maxima and sums are those of lanes:
//!
//! ```text
//! s = K Q^T    m' = max(m, s)    p = exp(s - m')    l = l exp(m - m') + sum p    O^T = O^T exp(m - m') + V^T p
//! ```
//!
//! A kv head with both branches walks the streaming keys first; what it has then is the streaming output. The rest of the keys
//! makes the full one (the snapshot of performance notes on gated attention): one pass over the keys for both.

mod tile;

use super::buffer::Buffer;
use super::problem::{Problem, Shares, TILE, are_tame};
use super::seen::{Seen, TileSeen};
use super::share;
use std::sync::atomic::{AtomicBool, Ordering};
use tile::Tile;

/// One branch's outputs and normalisers, over the kv heads that have it.
#[derive(Debug)]
pub(super) struct Branch {
    /// `[B, T, k, G, D]`.
    pub(super) out: Vec<f32>,
    /// `[B, T, k, G]`.
    pub(super) lse: Vec<f32>,
}

/// The full and the streaming branch; none where no kv head has it.
pub(super) fn forward(problem: &Problem) -> [Option<Branch>; 2] {
    let threads = share::num_threads(problem.num_scores());
    let heads = lay_out(problem, threads);
    let seen = SeenTiles::new(problem);
    let mut branches = Shares::HAS.map(|has| empty(problem, has));
    let mut tasks = tasks(problem, &mut branches);
    // Later queries see more keys: what takes longest is begun first.
    tasks.reverse();
    share::each(
        threads,
        tasks,
        || Tile::new(problem),
        |tile, task| task.solve(problem, &heads, &seen, tile),
    );
    branches
}

fn empty(problem: &Problem, has: fn(&Shares) -> bool) -> Option<Branch> {
    let sizes = problem.sizes;
    let num_heads = problem.shares.iter().filter(|shares| has(shares)).count();
    let num_rows = sizes.batch * sizes.num_queries * num_heads * sizes.group;
    (num_heads > 0).then(|| Branch {
        out: vec![0.0; num_rows * sizes.head_dim],
        lse: vec![0.0; num_rows],
    })
}

/// Keys and values of one kv head tile by tile, each `[TILE, width]` in panels.
struct KvHead {
    width: usize,
    k: Buffer,
    v: Buffer,
    is_tame: AtomicBool,
}

/// A tile of keys and values that is to be laid out.
struct KeyTask<'a> {
    place: (usize, usize),
    tile: usize,
    k: &'a mut [f32],
    v: &'a mut [f32],
    is_tame: &'a AtomicBool,
}

/// Every kv head's keys and values, laid out for the products.
fn lay_out(problem: &Problem, threads: usize) -> Vec<KvHead> {
    let tile_len = TILE * problem.sizes.width();
    let whole = problem.sizes.num_key_tiles() * tile_len;
    let mut heads: Vec<KvHead> = problem
        .places()
        .map(|_| KvHead {
            width: problem.sizes.width(),
            k: Buffer::zeros(whole),
            v: Buffer::zeros(whole),
            is_tame: AtomicBool::new(true),
        })
        .collect();
    let tasks = heads.iter_mut().zip(problem.places());
    let tasks = tasks.flat_map(|(KvHead { k, v, is_tame, .. }, place)| {
        let tiles = k.chunks_mut(tile_len).zip(v.chunks_mut(tile_len));
        let is_tame = &*is_tame;
        tiles.enumerate().map(move |(tile, (k, v))| KeyTask {
            place,
            tile,
            k,
            v,
            is_tame,
        })
    });
    share::each(
        threads,
        tasks.collect(),
        || (),
        |(), task| task.copy(problem),
    );
    heads
}

impl KeyTask<'_> {
    fn copy(self, problem: &Problem) {
        problem.copy_keys(problem.k, self.place, self.tile, self.k);
        problem.copy_keys(problem.v, self.place, self.tile, self.v);
        if !(are_tame(self.k) && are_tame(self.v)) {
            self.is_tame.store(false, Ordering::Relaxed);
        }
    }
}

/// What every tile of queries sees.
struct SeenTiles {
    full: Vec<TileSeen>,
    /// What the streaming branch sees, and what it does not.
    streaming: Option<[Vec<TileSeen>; 2]>,
}

impl SeenTiles {
    fn new(problem: &Problem) -> Self {
        Self {
            full: problem.seen(|q| problem.dense.seen(&problem.sizes, q)),
            streaming: problem
                .span
                .map(|span| [Seen::streaming, Seen::rest].map(|of| problem.seen(|q| of(span, q)))),
        }
    }
}

/// A tile of one kv head's queries with the places of its outputs.
struct Task<'a> {
    batch: usize,
    head: usize,
    tile: usize,
    full: Option<Vec<QueryOut<'a>>>,
    streaming: Option<Vec<QueryOut<'a>>>,
}

/// Where a branch's outputs of one query and the heads of a group go.
struct QueryOut<'a> {
    /// `[G, D]`.
    out: &'a mut [f32],
    /// `[G]`.
    lse: &'a mut [f32],
}

/// The tiles of all kv heads of all documents.
fn tasks<'a>(problem: &Problem, branches: &'a mut [Option<Branch>; 2]) -> Vec<Task<'a>> {
    let sizes = problem.sizes;
    let [full, streaming] = branches;
    let mut full = places(problem, full.as_mut()).into_iter();
    let mut streaming = places(problem, streaming.as_mut()).into_iter();
    let mut tasks = Vec::with_capacity(sizes.batch * sizes.num_tiles() * sizes.num_kv_heads);
    for batch in 0..sizes.batch {
        for tile in 0..sizes.num_tiles() {
            for (head, shares) in problem.shares.iter().enumerate() {
                let [has_full, has_streaming] = Shares::HAS.map(|has| has(shares));
                tasks.push(Task {
                    batch,
                    head,
                    tile,
                    full: if has_full { full.next() } else { None },
                    streaming: if has_streaming {
                        streaming.next()
                    } else {
                        None
                    },
                });
            }
        }
    }
    tasks
}

/// A branch's outputs of every tile and kv head, heads of a tile side by side.
fn places<'a>(problem: &Problem, branch: Option<&'a mut Branch>) -> Vec<Vec<QueryOut<'a>>> {
    let Some(branch) = branch else {
        return Vec::new();
    };
    let sizes = problem.sizes;
    let num_heads = branch.lse.len() / (sizes.batch * sizes.num_queries * sizes.group);
    let num_places = sizes.batch * sizes.num_tiles() * num_heads;
    let mut places: Vec<Vec<QueryOut>> = (0..num_places).map(|_| Vec::new()).collect();
    let outs = branch.out.chunks_mut(sizes.group * sizes.head_dim);
    let rows = outs.zip(branch.lse.chunks_mut(sizes.group));
    for (index, (out, lse)) in rows.enumerate() {
        let (token, head) = (index / num_heads, index % num_heads);
        let (batch, q) = (token / sizes.num_queries, token % sizes.num_queries);
        let tile = batch * sizes.num_tiles() + q / sizes.tile_queries();
        places[tile * num_heads + head].push(QueryOut { out, lse });
    }
    places
}

impl Task<'_> {
    fn solve(self, problem: &Problem, heads: &[KvHead], seen: &SeenTiles, tile: &mut Tile) {
        let kv = &heads[self.batch * problem.sizes.num_kv_heads + self.head];
        let is_tame = tile.take(problem, (self.batch, self.head), self.tile);
        if !(is_tame && kv.is_tame.load(Ordering::Relaxed)) {
            tile.spoil();
        }
        let mut unseen = &seen.full;
        if let (Some(places), Some([streaming, rest])) = (self.streaming, &seen.streaming) {
            tile.walk(kv, &streaming[self.tile]);
            tile.give(places);
            unseen = rest;
        }
        if let Some(places) = self.full {
            tile.walk(kv, &unseen[self.tile]);
            tile.give(places);
        }
    }
}
