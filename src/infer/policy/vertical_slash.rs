//! Vertical-slash (`MInference`, arXiv 2407.02490): while the prompt is read, every head attends to columns of its own (keys
//! that matter to all queries) and slashes of its own (distances that matter to all queries).
//!
//! Both are picked by the attention that the last 64 queries of a call pay: a column by the sum over a key, a slash by the sum
//! over a distance. The first keys and the shortest distances are always among them. Queries are cut into blocks of 64; a
//! slash gives each block the 64 keys at its distance.
//!
//! # Decisions
//! Published for a prompt in one piece. In chunks, each chunk picks by its own last queries among all keys so far, and its
//! blocks start with the chunk.
//! Ranges of slashes are merged where they overlap or touch and not beyond; the published kernel rounds merged ranges up to
//! whole blocks.

use crate::attention::{scale, wide};
use crate::infer::cache::blocks::cut;
use crate::infer::cache::keys::Keys;
use crate::infer::cache::pattern::{Call, Part, Pattern};
use crate::infer::cache::ranking::top;
use crate::infer::int::{to_host, to_i64, to_usize};
use crate::torch::dims::dims;
use std::ops::Range;
use tch::{Kind, Tensor};

/// Queries of a block, and keys that a slash gives it.
const BLOCK_LEN: usize = 64;
/// Last queries of a call, by whose attention lines are picked.
const NUM_OBSERVING: usize = 64;
/// Leading keys that are always columns.
const FORCED_COLUMNS: usize = 30;
/// Shortest distances that are always slashes.
const FORCED_SLASHES: usize = 100;

/// The pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct VerticalSlash {
    /// Columns of each head.
    pub num_columns: usize,
    /// Slashes of each head.
    pub num_slashes: usize,
}

impl Default for VerticalSlash {
    /// The published default.
    fn default() -> Self {
        Self {
            num_columns: 1000,
            num_slashes: 6096,
        }
    }
}

/// What one head picked, ascending.
struct Lines {
    columns: Vec<usize>,
    distances: Vec<usize>,
}

impl VerticalSlash {
    /// Fewest columns: fewer count as so many.
    pub const MIN_COLUMNS: usize = 30;
    /// Fewest slashes: fewer count as so many.
    pub const MIN_SLASHES: usize = 50;

    /// Picks the lines of the only head of `call`.
    fn lines(&self, call: &Call) -> Lines {
        let probabilities_ms = observed(call);
        let columns_s = probabilities_ms.sum_dim_intlist(0, false, None);
        let slashes_s = slash_sums(&probabilities_ms);
        let (num_columns, num_slashes) = (
            self.num_columns.max(Self::MIN_COLUMNS),
            self.num_slashes.max(Self::MIN_SLASHES),
        );
        Lines {
            columns: best(&columns_s, FORCED_COLUMNS, num_columns),
            distances: best(&slashes_s, FORCED_SLASHES, num_slashes),
        }
    }
}

impl Pattern for VerticalSlash {
    fn attend(&self, call: &Call) -> Part {
        let queries = call.queries();
        if queries.len() == 1 {
            return call.attend(&queries, &Keys::all(queries.end));
        }
        let of_head = |head| {
            let call = call.head(head);
            let lines = self.lines(&call);
            let blocks = cut(queries.clone(), BLOCK_LEN);
            Part::after(blocks.map(|block| call.attend(&block, &lines.keys(&block))))
        };
        Part::beside((0..call.num_heads()).map(of_head))
    }
}

impl Lines {
    /// The keys of a block of queries.
    fn keys(&self, block: &Range<usize>) -> Keys {
        let end = block.start + BLOCK_LEN;
        let reaching = self.distances.iter().rev().filter(|back| **back < end);
        let slashes = reaching.map(|back| {
            let end = (end - back).max(BLOCK_LEN);
            end - BLOCK_LEN..end
        });
        let columns = self.columns.iter().map(|column| *column..column + 1);
        Keys::new(slashes.chain(columns), block.end)
    }
}

/// Attention of the last queries of the only head to every key: `[M, S]`.
fn observed(call: &Call) -> Tensor {
    let kind = wide(call.q().kind());
    let [num_queries, _, head_dim] = dims(call.q());
    let num_observing = num_queries.min(to_i64(NUM_OBSERVING));
    let last = call
        .q()
        .narrow(0, num_queries - num_observing, num_observing);
    let q_md = last.squeeze_dim(1).to_kind(kind) * scale(head_dim);
    let scores_ms = q_md.matmul(&call.k().squeeze_dim(1).to_kind(kind).tr());
    let [_, num_keys] = dims(&scores_ms);
    let options = (Kind::Bool, scores_ms.device());
    let later = Tensor::ones([num_observing, num_keys], options).triu(num_keys - num_observing + 1);
    scores_ms
        .masked_fill(&later, f64::NEG_INFINITY)
        .softmax(-1, kind)
}

/// Sums of `[M, S]` along the distances between query and key, shortest first: `[S]`; row `i` is the query at `S - M + i`.
fn slash_sums(probabilities_ms: &Tensor) -> Tensor {
    let [num_observing, num_keys] = dims(probabilities_ms);
    // Rows padded to `S + M` and read as rows of one less: each is shifted by one more, and what was a slash is a column.
    let padded = probabilities_ms
        .flip([0])
        .constant_pad_nd([0, num_observing]);
    let width = num_keys + num_observing - 1;
    let shifted = padded
        .view([-1])
        .narrow(0, 0, num_observing * width)
        .view([num_observing, width]);
    let sums = shifted.sum_dim_intlist(0, false, None);
    sums.narrow(0, 0, num_keys).flip([0])
}

/// The first `forced` places and those of the highest scores, `count` in all, ascending.
fn best(scores_s: &Tensor, forced: usize, count: usize) -> Vec<usize> {
    let [len] = dims(scores_s);
    let forced = to_i64(forced).min(len);
    let first = scores_s.narrow(0, 0, forced).full_like(f64::INFINITY);
    let rest = scores_s.narrow(0, forced, len - forced);
    let scores = Tensor::cat(&[first, rest], 0);
    to_host(&top(&scores, count.min(to_usize(len))))
}
