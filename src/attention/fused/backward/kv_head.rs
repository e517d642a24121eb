//! One kv head laid out for its gradients.

use super::super::buffer::Buffer;
use super::super::panels::{place, put_row};
use super::super::problem::{Problem, Shares, TILE};
use super::super::share;
use super::Saved;

/// One kv head with everything that its gradients need.
pub(super) struct KvHead {
    pub(super) shares: Shares,
    pub(super) width: usize,
    pub(super) tile_rows: usize,
    /// Queries tile by tile, each `[tile_rows, width]` in panels, scaled.
    pub(super) q: Buffer,
    /// The outputs' gradients, as the queries.
    pub(super) dout: Buffer,
    /// lse and D of every row, per branch.
    pub(super) stats: [Option<[Buffer; 2]>; 2],
    /// Keys tile by tile, each `[TILE, width]` in panels.
    pub(super) k: Buffer,
    /// Keys tile by tile, each `[width, TILE]` in panels.
    pub(super) k_t: Buffer,
    /// Values tile by tile, each `[width, TILE]` in panels.
    pub(super) v_t: Buffer,
}

/// A tile of queries that is to be laid out.
struct QueryTask<'a> {
    place: (usize, usize),
    tile: usize,
    q: &'a mut [f32],
    dout: &'a mut [f32],
    stats: [Option<[&'a mut [f32]; 2]>; 2],
}

/// A tile of keys that is to be laid out.
struct KeyTask<'a> {
    place: (usize, usize),
    tile: usize,
    k: &'a mut [f32],
    k_t: &'a mut [f32],
    v_t: &'a mut [f32],
}

/// The kv heads at `places` (document and head), laid out by `threads` threads.
pub(super) fn lay_out(
    problem: &Problem,
    dout: &[f32],
    saved: [Option<Saved>; 2],
    places: &[(usize, usize)],
    threads: usize,
) -> Vec<KvHead> {
    let has_saved = saved.each_ref().map(Option::is_some);
    let zeros = |(_, head): &(usize, usize)| KvHead::zeros(problem, *head, has_saved);
    let mut heads: Vec<KvHead> = places.iter().map(zeros).collect();
    let queries = heads.iter_mut().zip(places);
    let queries = queries.flat_map(|(head, place)| head.query_tasks(problem, *place));
    share::each(
        threads,
        queries.collect(),
        || (),
        |(), task| task.copy(problem, dout, saved),
    );
    let keys = heads.iter_mut().zip(places);
    let keys = keys.flat_map(|(head, place)| head.key_tasks(*place));
    share::each(
        threads,
        keys.collect(),
        || Buffer::zeros(TILE * problem.sizes.width()),
        |rows, task| task.copy(problem, rows),
    );
    heads
}

impl KvHead {
    fn zeros(problem: &Problem, head: usize, has_saved: [bool; 2]) -> Self {
        let sizes = problem.sizes;
        let width = sizes.width();
        let num_rows = sizes.num_tiles() * sizes.tile_rows();
        let whole_keys = sizes.num_key_tiles() * TILE;
        let shares = problem.shares[head];
        let stats = |branch: usize| {
            let has = has_saved[branch] && Shares::HAS[branch](&shares);
            has.then(|| [0, 1].map(|_| Buffer::zeros(num_rows)))
        };
        Self {
            shares,
            width,
            tile_rows: sizes.tile_rows(),
            q: Buffer::zeros(num_rows * width),
            dout: Buffer::zeros(num_rows * width),
            stats: [stats(0), stats(1)],
            k: Buffer::zeros(whole_keys * width),
            k_t: Buffer::zeros(whole_keys * width),
            v_t: Buffer::zeros(whole_keys * width),
        }
    }

    fn query_tasks(&mut self, problem: &Problem, place: (usize, usize)) -> Vec<QueryTask<'_>> {
        let rows = self.tile_rows;
        let mut qs = self.q.chunks_mut(rows * self.width);
        let mut douts = self.dout.chunks_mut(rows * self.width);
        let mut stats = self.stats.each_mut().map(|stats| {
            let stats = stats.as_mut();
            stats.map(|stats| stats.each_mut().map(|numbers| numbers.chunks_mut(rows)))
        });
        let tasks = (0..problem.sizes.num_tiles()).map_while(|tile| {
            let mut of = |branch: usize| {
                let [lse, d] = stats[branch].as_mut()?;
                Some([lse.next()?, d.next()?])
            };
            Some(QueryTask {
                place,
                tile,
                q: qs.next()?,
                dout: douts.next()?,
                stats: [of(0), of(1)],
            })
        });
        tasks.collect()
    }

    fn key_tasks(&mut self, place: (usize, usize)) -> impl Iterator<Item = KeyTask<'_>> {
        let len = TILE * self.width;
        let turned = self.k_t.chunks_mut(len).zip(self.v_t.chunks_mut(len));
        let tiles = self.k.chunks_mut(len).zip(turned).enumerate();
        tiles.map(move |(tile, (k, (k_t, v_t)))| KeyTask {
            place,
            tile,
            k,
            k_t,
            v_t,
        })
    }
}

impl QueryTask<'_> {
    fn copy(self, problem: &Problem, dout: &[f32], saved: [Option<Saved>; 2]) {
        let at = (self.place, self.tile);
        copy_rows(problem, problem.q, at, problem.scale, self.q);
        copy_rows(problem, dout, at, 1.0, self.dout);
        for (branch, stats) in self.stats.into_iter().enumerate() {
            if let (Some(stats), Some(saved)) = (stats, saved[branch]) {
                fill_stats(problem, dout, (saved, Shares::HAS[branch]), at, stats);
            }
        }
    }
}

impl KeyTask<'_> {
    fn copy(self, problem: &Problem, rows: &mut [f32]) {
        problem.copy_keys(problem.k, self.place, self.tile, self.k);
        turn(self.k, self.k_t);
        rows.fill(0.0);
        problem.copy_keys(problem.v, self.place, self.tile, rows);
        turn(rows, self.v_t);
    }
}

/// A tile of one kv head and document of a tensor shaped like the queries, `[rows, width]`.
fn copy_rows(
    problem: &Problem,
    numbers: &[f32],
    ((batch, head), tile): ((usize, usize), usize),
    factor: f32,
    rows: &mut [f32],
) {
    let sizes = problem.sizes;
    for (index, q) in sizes.queries_of(tile).enumerate() {
        let start = problem.query_start(batch, q, head);
        let numbers = &numbers[start..start + sizes.group * sizes.head_dim];
        for (member, numbers) in numbers.chunks_exact(sizes.head_dim).enumerate() {
            let row = index * sizes.group + member;
            put_row(rows, sizes.tile_rows(), row, numbers, factor);
        }
    }
}

/// lse and D of a tile's rows, of a branch of the heads that have it.
fn fill_stats(
    problem: &Problem,
    dout: &[f32],
    (saved, has): (Saved, fn(&Shares) -> bool),
    ((batch, head), tile): ((usize, usize), usize),
    [lse, d]: [&mut [f32]; 2],
) {
    let sizes = problem.sizes;
    let count = |shares: &[Shares]| shares.iter().filter(|shares| has(shares)).count();
    let (num_heads, of_branch) = (count(problem.shares), count(&problem.shares[..head]));
    let mut rows = lse.iter_mut().zip(d);
    for q in sizes.queries_of(tile) {
        let start = problem.query_start(batch, q, head);
        let douts = dout[start..].chunks_exact(sizes.head_dim);
        let token = batch * sizes.num_queries + q;
        for ((member, dout), (lse, d)) in (0..sizes.group).zip(douts).zip(&mut rows) {
            let out = ((token * num_heads + of_branch) * sizes.group + member) * sizes.head_dim;
            let out = &saved.out[out..out + sizes.head_dim];
            *d = out.iter().zip(dout).map(|(a, b)| a * b).sum();
            let of_head = (batch * num_heads + of_branch) * sizes.group + member;
            *lse = saved.lse[of_head * sizes.num_queries + q];
        }
    }
}

/// A tile `[TILE, width]` in panels, turned to `[width, TILE]`.
fn turn(rows: &[f32], turned: &mut [f32]) {
    let width = rows.len() / TILE;
    for key in 0..TILE {
        for depth in 0..width {
            turned[place(width, depth, key)] = rows[place(TILE, key, depth)];
        }
    }
}
