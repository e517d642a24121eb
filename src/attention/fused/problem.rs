//! One attention problem as plain numbers, and its kv heads laid out for the products.

use super::panels::{PANEL, put_row};
use super::seen::{Seen, TileSeen};
use crate::span::Span;
use pulp::Arch;
use std::ops::Range;

/// Rows of a tile (queries of a group) and keys of a tile: whole panels, and whole blocks of the spans in use (128), so that no
/// tile of keys is half sink.
pub(super) const TILE: usize = 128;

/// Sizes of a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sizes {
    pub(super) batch: usize,
    pub(super) num_queries: usize,
    pub(super) num_keys: usize,
    pub(super) num_kv_heads: usize,
    /// Query heads per kv head.
    pub(super) group: usize,
    pub(super) head_dim: usize,
}

impl Sizes {
    /// Numbers of a row in every layout of ours: the head's, filled up with zeros.
    pub(super) fn width(&self) -> usize {
        self.head_dim.next_multiple_of(PANEL)
    }

    /// Queries of a tile; a tile of one query may have more rows than [`TILE`].
    pub(super) fn tile_queries(&self) -> usize {
        (TILE / self.group).max(1)
    }

    /// The queries of tile `tile`.
    pub(super) fn queries_of(&self, tile: usize) -> Range<usize> {
        let first = tile * self.tile_queries();
        first..self.num_queries.min(first + self.tile_queries())
    }

    /// Rows of a tile, filled up.
    pub(super) fn tile_rows(&self) -> usize {
        (self.tile_queries() * self.group).next_multiple_of(TILE)
    }

    /// Tiles of one document's keys.
    pub(super) fn num_key_tiles(&self) -> usize {
        self.num_keys.div_ceil(TILE)
    }

    /// Tiles of one document's queries.
    pub(super) fn num_tiles(&self) -> usize {
        self.num_queries.div_ceil(self.tile_queries())
    }

    /// Numbers of one query, all heads.
    pub(super) fn query_len(&self) -> usize {
        self.num_kv_heads * self.group * self.head_dim
    }
}

/// What a query of a dense problem sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dense {
    /// Every key.
    All,
    /// Causal, aligned at the bottom right.
    Causal,
    /// The most recent of these: so many.
    Window(usize),
}

impl Dense {
    /// The keys of query `q`.
    pub(super) fn seen(self, sizes: &Sizes, q: usize) -> Seen {
        let causal = q + 1 + sizes.num_keys - sizes.num_queries.min(sizes.num_keys);
        match self {
            Self::All => Seen::first(sizes.num_keys),
            Self::Causal => Seen::first(causal),
            Self::Window(len) => Seen::last(len, causal),
        }
    }
}

/// Which branches one kv head has, each with its share of the output.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Shares {
    /// Of the full branch: z.
    pub(super) full: f32,
    /// Of the streaming branch: 1 - z.
    pub(super) streaming: f32,
}

impl Shares {
    /// Whether a head has the full and the streaming branch.
    pub(super) const HAS: [fn(&Self) -> bool; 2] =
        [|shares| shares.full > 0.0, |shares| shares.streaming > 0.0];
}

/// Numbers behind the tensors of a problem, each whole.
#[derive(Debug, Clone, Copy)]
pub(super) struct Problem<'a> {
    pub(super) sizes: Sizes,
    /// `[B, T, H, D]`.
    pub(super) q: &'a [f32],
    /// `[B, S, K, D]`.
    pub(super) k: &'a [f32],
    /// `[B, S, K, D]`.
    pub(super) v: &'a [f32],
    pub(super) dense: Dense,
    /// What streaming heads see.
    pub(super) span: Option<&'a Span>,
    /// One a kv head.
    pub(super) shares: &'a [Shares],
    /// Factor of scores.
    pub(super) scale: f32,
    /// Whose registers it is solved in.
    pub(super) arch: Arch,
}

/// Scores of larger numbers are no longer told from infinity.
const LARGEST: f32 = 1e15;

/// Whether scores of these numbers stay finite.
pub(super) fn are_tame(numbers: &[f32]) -> bool {
    numbers.iter().all(|x| x.abs() < LARGEST)
}

impl Problem<'_> {
    /// Where the rows of query `q` of kv head `head` begin in tensors shaped like the queries.
    pub(super) fn query_start(&self, batch: usize, q: usize, head: usize) -> usize {
        let Sizes {
            num_queries,
            group,
            head_dim,
            ..
        } = self.sizes;
        (batch * num_queries + q) * self.sizes.query_len() + head * group * head_dim
    }

    /// Scores of every query with every key: what a problem is worth in threads.
    pub(super) fn num_scores(&self) -> usize {
        let sizes = self.sizes;
        sizes.batch * sizes.num_queries * sizes.num_keys * sizes.num_kv_heads * sizes.group
    }

    /// What every tile of queries sees, where query `q` sees `of(q)`.
    pub(super) fn seen(&self, of: impl Fn(usize) -> Seen) -> Vec<TileSeen> {
        let sizes = self.sizes;
        let tile = |tile: usize| {
            let queries: Vec<Seen> = sizes.queries_of(tile).map(&of).collect();
            TileSeen::new(&queries, sizes.group, sizes.tile_rows())
        };
        (0..sizes.num_tiles()).map(tile).collect()
    }

    /// Every kv head of every document: batch and head, documents first.
    pub(super) fn places(&self) -> impl Iterator<Item = (usize, usize)> {
        let Sizes {
            batch,
            num_kv_heads,
            ..
        } = self.sizes;
        (0..batch).flat_map(move |batch| (0..num_kv_heads).map(move |head| (batch, head)))
    }

    /// Copies keys or values of tile `tile` of one kv head into `rows` `[TILE, width]` of zeros, in panels.
    pub(super) fn copy_keys(
        &self,
        numbers: &[f32],
        (batch, head): (usize, usize),
        tile: usize,
        rows: &mut [f32],
    ) {
        let Sizes {
            num_keys,
            num_kv_heads,
            head_dim,
            ..
        } = self.sizes;
        let keys = tile * TILE..num_keys.min((tile + 1) * TILE);
        for (row, key) in keys.enumerate() {
            let start = ((batch * num_keys + key) * num_kv_heads + head) * head_dim;
            put_row(rows, TILE, row, &numbers[start..start + head_dim], 1.0);
        }
    }
}
