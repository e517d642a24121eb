//! How much the kernel multiplies: tiles that are seen, once for both branches.

use super::{in_kind, inputs, of};
use crate::attention::fused::CpuFused;
use crate::attention::fused::problem::TILE;
use crate::attention::fused::product::work;
use crate::attention::gated::{GatedAttention, Wanted};
use crate::span::Span;
use crate::torch::threads::set_threads;
use tch::Kind;

/// Multiplications of a forward and a backward pass of one kv head with `group` queries a key, on one thread.
fn work_of(num_tokens: i64, (z, group): (f64, i64), span: &Span) -> [usize; 2] {
    let x = in_kind(
        &inputs(([1, num_tokens, num_tokens], [1, group, 16])),
        Kind::Float,
    );
    let attention = GatedAttention {
        backend: &CpuFused::default(),
        span: Some(span),
    };
    set_threads(1).unwrap();
    let mut branches = None;
    let forward = work::of(|| branches = Some(attention.forward(of(&x), &[z]).1));
    let branches = branches.unwrap();
    let backward = work::of(|| {
        attention.backward(&x[3], of(&x), &[z], &branches, Wanted::GatesAndInputs);
    });
    [forward, backward]
}

/// Pairs of tiles of which something is seen, for one query a key.
fn num_pairs(num_tokens: usize, sees: impl Fn(usize, usize) -> bool) -> usize {
    let tiles = || (0..num_tokens).step_by(TILE);
    let is_seen = |queries: usize, keys: usize| {
        let keys = keys..keys + TILE;
        (queries..queries + TILE).any(|q| keys.clone().any(|key| sees(q, key)))
    };
    let pairs = tiles().flat_map(|queries| tiles().map(move |keys| (queries, keys)));
    pairs
        .filter(|(queries, keys)| is_seen(*queries, *keys))
        .count()
}

/// A kernel that computes what nobody sees, or each branch for itself, does more of it, on every machine alike.
#[test]
fn only_tiles_that_are_seen_are_multiplied_and_both_branches_share_them() {
    const PRODUCT: usize = TILE * TILE * 16;
    let span = Span::new(TILE, 2 * TILE, TILE).unwrap();
    for num_tiles in [2, 5, 8] {
        let len = num_tiles * TILE;
        let tokens = i64::try_from(len).unwrap();
        let full = num_pairs(len, |q, key| key <= q);
        let streaming = num_pairs(len, |q, key| span.sees(q, key));
        let work = |z, group| work_of(tokens, (z, group), &span);
        assert_eq!(work(1.0, 1), [2 * full * PRODUCT, 5 * full * PRODUCT]);
        let expected = [2 * streaming * PRODUCT, 5 * streaming * PRODUCT];
        assert_eq!(work(0.0, 1), expected, "streaming, {num_tiles} tiles");
        assert_eq!(work(0.5, 1), work(1.0, 1), "both, {num_tiles} tiles");
        // Twice the queries.
        let [of_pair, of_one] = [2, 1].map(|group| work(0.0, group));
        assert!(
            of_pair
                .iter()
                .zip(of_one)
                .all(|(pair, one)| (one + 1..=2 * one).contains(pair))
        );
    }
}
