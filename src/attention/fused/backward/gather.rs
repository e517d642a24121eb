//! Tiles of gradients put together as tensors hold them.

use super::super::buffer::Buffer;
use super::super::panels::take_row;
use super::super::problem::{Problem, TILE};
use super::super::share;
use super::Grads;

/// `dq` of every kv head and tile of queries, unscaled; `dk` and `dv` of every kv head's tiles of keys.
#[derive(Debug, Default)]
pub(super) struct Tiles {
    pub(super) dq: Vec<Vec<Option<Buffer>>>,
    pub(super) of_keys: Vec<Vec<[Buffer; 2]>>,
}

/// The gradients of all heads.
pub(super) fn gather(problem: &Problem, threads: usize, tiles: &Tiles) -> Grads {
    let sizes = problem.sizes;
    let (kv_heads, group) = (sizes.num_kv_heads, sizes.group);
    let mut grads = Grads {
        dq: vec![0.0; problem.q.len()],
        dk: vec![0.0; problem.k.len()],
        dv: vec![0.0; problem.k.len()],
    };
    let document = [sizes.num_queries, sizes.tile_queries()].map(|len| len * sizes.query_len());
    by_tile(
        threads,
        &mut grads.dq,
        document,
        |(batch, tile), numbers| {
            for (index, to) in numbers.chunks_exact_mut(sizes.head_dim).enumerate() {
                let (token, head) = (index / (kv_heads * group), index / group % kv_heads);
                if let Some(rows) = &tiles.dq[batch * kv_heads + head][tile] {
                    let row = token * group + index % group;
                    take_row(rows, sizes.tile_rows(), row, to, problem.scale);
                }
            }
        },
    );
    let document = [sizes.num_keys, TILE].map(|len| len * kv_heads * sizes.head_dim);
    for (which, grad) in [&mut grads.dk, &mut grads.dv].into_iter().enumerate() {
        by_tile(threads, grad, document, |(batch, tile), numbers| {
            for (index, to) in numbers.chunks_exact_mut(sizes.head_dim).enumerate() {
                let (key, head) = (index / kv_heads, index % kv_heads);
                let rows = &tiles.of_keys[batch * kv_heads + head][tile][which];
                take_row(rows, TILE, key, to, 1.0);
            }
        });
    }
    grads
}

/// Does `write` with every tile of every document: its batch entry, its place there and its numbers.
fn by_tile(
    threads: usize,
    numbers: &mut [f32],
    [document_len, tile_len]: [usize; 2],
    write: impl Fn((usize, usize), &mut [f32]) + Sync,
) {
    let documents = numbers.chunks_mut(document_len).enumerate();
    let tasks = documents.flat_map(|(batch, document)| {
        let tiles = document.chunks_mut(tile_len).enumerate();
        tiles.map(move |(tile, numbers)| ((batch, tile), numbers))
    });
    share::each(
        threads,
        tasks.collect(),
        || (),
        |(), (place, numbers)| write(place, numbers),
    );
}
