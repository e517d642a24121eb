//! The oracle: a cache that repeats keys and values for every head, as loops over numbers.

use super::case::{Call, Case};
use super::input::Input;
use super::{HEAD_DIM, KV_HEADS, NUM_LAYERS, WINDOW};
use crate::footprint::eviction::TokenSparsity;
use crate::infer::policy::evicting::{EvictionMethod, Selection};
use crate::infer::policy::snapkv::{Pooling, Smoothing};
use crate::random;
use std::collections::BTreeSet;

/// A cache that repeats everything: each head keeps its own rows.
pub(super) struct Repeated<'a> {
    case: &'a Case,
    input: &'a Input,
    layer: usize,
    kept: Vec<Vec<usize>>,
    seen: usize,
    pub(super) out: Vec<f64>,
    pub(super) pairs: u64,
    /// Entries that take part in each call, summed over kv heads.
    pub(super) held: Vec<u64>,
}

impl<'a> Repeated<'a> {
    pub(super) fn run(case: &'a Case, input: &'a Input, layer: usize) -> Self {
        let mut run = Self {
            case,
            input,
            layer,
            kept: vec![Vec::new(); KV_HEADS * case.group_size],
            seen: 0,
            out: Vec::new(),
            pairs: 0,
            held: Vec::new(),
        };
        for call in case.calls() {
            run.count(&call);
            run.attend(&call);
            run.keep(&call);
            run.seen += call.size;
        }
        run
    }

    /// Rows that any head of the group keeps.
    pub(super) fn stored(&self, kv_head: usize) -> usize {
        let group = kv_head * self.case.group_size..(kv_head + 1) * self.case.group_size;
        let rows: BTreeSet<usize> = group.flat_map(|head| self.kept[head].clone()).collect();
        rows.len()
    }

    fn count(&mut self, call: &Call) {
        let len = call.len();
        let stored: usize = (0..KV_HEADS).map(|kv_head| self.stored(kv_head)).sum();
        self.held.push((stored + KV_HEADS * len) as u64);
        self.pairs += (stored * len + KV_HEADS * (len * (len + 1) / 2)) as u64;
    }

    fn attend(&mut self, call: &Call) {
        for query in call.start..call.start + call.len() {
            for head in 0..self.kept.len() {
                let mut rows = self.kept[head].clone();
                rows.extend(call.start..=query);
                let weights = self.input.weights(query, head, &rows);
                let mut out = [0.0; HEAD_DIM];
                for (row, weight) in rows.iter().zip(weights) {
                    let value = self.input.value(*row, head / self.case.group_size);
                    for (sum, x) in out.iter_mut().zip(value) {
                        *sum += weight * x;
                    }
                }
                self.out.extend(out);
            }
        }
    }

    fn keep(&mut self, call: &Call) {
        let num_ranked = call.len().saturating_sub(WINDOW);
        let num_top = if call.decodes {
            0
        } else {
            num_top(self.case, call, self.layer)
        };
        let scores: Vec<Vec<f64>> = (0..self.kept.len())
            .map(|head| self.scores(call, head))
            .collect();
        for head in 0..self.kept.len() {
            let group = head / self.case.group_size * self.case.group_size;
            let score = |at: usize| match self.case.selection {
                Selection::Head => scores[head][at],
                Selection::KvHead => (group..group + self.case.group_size)
                    .map(|head| scores[head][at])
                    .sum(),
            };
            let mut best: Vec<usize> = (0..num_ranked).collect();
            best.sort_by(|a, b| score(*b).total_cmp(&score(*a)));
            best.truncate(num_top);
            best.sort_unstable();
            best.extend(num_ranked..call.size);
            self.kept[head].extend(best.iter().map(|at| call.start + at));
        }
    }

    fn scores(&self, call: &Call, head: usize) -> Vec<f64> {
        let num_ranked = call.len().saturating_sub(WINDOW);
        let ranked = 0..num_ranked;
        match self.case.method {
            EvictionMethod::SnapKv(smoothing) | EvictionMethod::PyramidKv(smoothing) => {
                smoothed(&self.received(call, head), smoothing)
            }
            EvictionMethod::KeyNorm => ranked
                .map(|at| {
                    let key = self.input.key(call.start + at, head / self.case.group_size);
                    -key.iter().map(|x| x * x).sum::<f64>().sqrt()
                })
                .collect(),
            EvictionMethod::RandomTokens { seed } => {
                let at = [seed, self.layer as u64, self.seen as u64, head as u64];
                let mut rng = random::stream("evict random tokens", &at);
                ranked.map(|_| random::uniform(&mut rng)).collect()
            }
        }
    }

    /// The attention that each row before the window gets from the window.
    fn received(&self, call: &Call, head: usize) -> Vec<f64> {
        let num_ranked = call.len().saturating_sub(WINDOW);
        let mut sums = vec![0.0; num_ranked];
        for query in num_ranked..call.len() {
            let rows: Vec<usize> = (call.start..=call.start + query).collect();
            let weights = self.input.weights(call.start + query, head, &rows);
            for (sum, weight) in sums.iter_mut().zip(weights) {
                *sum += weight;
            }
        }
        sums
    }
}

fn smoothed(scores: &[f64], smoothing: Smoothing) -> Vec<f64> {
    let reach = smoothing.reach;
    let near = |at: usize| &scores[at.saturating_sub(reach)..(at + reach + 1).min(scores.len())];
    let width = f64::from(u32::try_from(2 * reach + 1).unwrap());
    (0..scores.len())
        .map(|at| match smoothing.pooling {
            Pooling::Average => near(at).iter().sum::<f64>() / width,
            Pooling::Max => near(at).iter().copied().fold(f64::MIN, f64::max),
        })
        .collect()
}

/// Entries kept before the window, as the pages of the methods state it.
fn num_top(case: &Case, call: &Call, layer: usize) -> usize {
    let (n, w) = (call.len(), WINDOW);
    let capacity = TokenSparsity::new(case.sparsity)
        .unwrap()
        .num_kept(call.size)
        + call.patch_len;
    if n <= w {
        return 0;
    }
    if case.method == EvictionMethod::KeyNorm && layer < 2 {
        return n - w;
    }
    if capacity <= w {
        return 0;
    }
    let average = capacity - w;
    if !matches!(case.method, EvictionMethod::PyramidKv(_)) || n < 2 * average {
        return average.min(n - w);
    }
    let mut low = average / 20;
    let mut high = 2 * average - low;
    if high >= n - w {
        high = n - w;
        low = 2 * average - high;
    }
    (high - layer * ((high - low) / (NUM_LAYERS - 1))).min(n - w)
}
