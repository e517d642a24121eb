//! Every ranking and both kinds of cache against one that repeats keys and values for every head, in f64.

use super::Policy;
use super::evicting::{EvictionMethod, EvictionPolicy, EvictionSettings, Selection};
use super::snapkv::{Pooling, Smoothing};
use crate::attention::choose;
use crate::attention::testing::normal;
use crate::footprint::eviction::TokenSparsity;
use crate::footprint::predict::predict_eviction;
use crate::footprint::workload::{Convention, Workload};
use crate::infer::cache::RowSpec;
use crate::infer::counter::KvUsage;
use crate::infer::model_cache::ModelCache;
use crate::model::kv::KvCache;
use crate::random;
use std::collections::BTreeSet;
use std::sync::Arc;
use tch::{Device, Kind, Tensor};

const NUM_LAYERS: usize = 4;
const KV_HEADS: usize = 2;
const HEAD_DIM: usize = 3;
const WINDOW: usize = 4;

const METHODS: [EvictionMethod; 5] = [
    EvictionMethod::SnapKv(Smoothing {
        pooling: Pooling::Average,
        reach: 2,
    }),
    EvictionMethod::SnapKv(Smoothing {
        pooling: Pooling::Max,
        reach: 1,
    }),
    EvictionMethod::PyramidKv(Smoothing {
        pooling: Pooling::Average,
        reach: 2,
    }),
    EvictionMethod::KeyNorm,
    EvictionMethod::RandomTokens { seed: 5 },
];

/// One prompt and its decoding under one setting.
#[derive(Debug, Clone, Copy)]
struct Case {
    method: EvictionMethod,
    sparsity: f64,
    patch: bool,
    selection: Selection,
    prefill_len: usize,
    chunk_len: usize,
    group_size: usize,
}

/// Consecutive rows taken in by one forward call.
#[derive(Debug, Clone, Copy)]
struct Call {
    start: usize,
    size: usize,
    patch_len: usize,
    decodes: bool,
}

const DECODE_LEN: usize = 3;

impl Case {
    fn settings(&self) -> EvictionSettings {
        EvictionSettings {
            sparsity: TokenSparsity::new(self.sparsity).unwrap(),
            observation_len: WINDOW,
            patch: self.patch,
            selection: self.selection,
        }
    }

    fn policy(&self) -> EvictionPolicy {
        EvictionPolicy::new(self.method, self.settings(), NUM_LAYERS).unwrap()
    }

    /// The calls of prefill and decode; a patch brings rows of its own.
    fn calls(&self) -> Vec<Call> {
        let mut calls = Vec::new();
        let (mut start, mut seen) = (0, 0);
        while seen < self.prefill_len {
            let size = self.chunk_len.min(self.prefill_len - seen);
            seen += size;
            let patched = self.patch && seen < self.prefill_len;
            let patch_len = if patched { WINDOW } else { 0 };
            calls.push(Call {
                start,
                size,
                patch_len,
                decodes: false,
            });
            start += size + patch_len;
        }
        calls.extend((start..start + DECODE_LEN).map(|start| Call {
            start,
            size: 1,
            patch_len: 0,
            decodes: true,
        }));
        calls
    }
}

impl Call {
    fn len(&self) -> usize {
        self.size + self.patch_len
    }

    fn rows(&self, tensor: &Tensor) -> Tensor {
        tensor.narrow(0, signed(self.start), signed(self.len()))
    }
}

fn signed(x: usize) -> i64 {
    i64::try_from(x).unwrap()
}

/// Queries, keys and values of all calls, as tensors and as numbers.
struct Input {
    tensors: [Tensor; 3],
    numbers: [Vec<f64>; 3],
    group_size: usize,
}

impl Input {
    fn new(case: &Case) -> Self {
        tch::set_num_threads(1);
        let last = *case.calls().last().unwrap();
        let num_rows = last.start + 1;
        let shape = |heads: usize| [num_rows, heads, HEAD_DIM].map(signed);
        let tensors = [
            normal(1, &shape(KV_HEADS * case.group_size)),
            normal(2, &shape(KV_HEADS)),
            normal(3, &shape(KV_HEADS)),
        ];
        let numbers = [0, 1, 2].map(|i| Vec::try_from(tensors[i].reshape([-1])).unwrap());
        Self {
            tensors,
            numbers,
            group_size: case.group_size,
        }
    }

    fn query(&self, row: usize, head: usize) -> &[f64] {
        let at = (row * KV_HEADS * self.group_size + head) * HEAD_DIM;
        &self.numbers[0][at..at + HEAD_DIM]
    }

    fn key(&self, row: usize, kv_head: usize) -> &[f64] {
        let at = (row * KV_HEADS + kv_head) * HEAD_DIM;
        &self.numbers[1][at..at + HEAD_DIM]
    }

    fn value(&self, row: usize, kv_head: usize) -> &[f64] {
        let at = (row * KV_HEADS + kv_head) * HEAD_DIM;
        &self.numbers[2][at..at + HEAD_DIM]
    }

    /// Attention weights of one query over `rows`.
    fn weights(&self, query: usize, head: usize, rows: &[usize]) -> Vec<f64> {
        let scale = f64::from(u32::try_from(HEAD_DIM).unwrap()).sqrt();
        let exp = rows.iter().map(|row| {
            let key = self.key(*row, head / self.group_size);
            let dot: f64 = self
                .query(query, head)
                .iter()
                .zip(key)
                .map(|(a, b)| a * b)
                .sum();
            (dot / scale).exp()
        });
        let exp: Vec<f64> = exp.collect();
        let total: f64 = exp.iter().sum();
        exp.iter().map(|weight| weight / total).collect()
    }

    /// Runs the calls through real caches: outputs per layer, and the cost.
    fn run(&self, case: &Case) -> (Vec<Vec<f64>>, KvUsage, u64) {
        let spec = RowSpec {
            num_kv_heads: KV_HEADS,
            head_dim: HEAD_DIM,
            kind: Kind::Double,
            device: Device::Cpu,
            expected_len: 1000,
            backend: Arc::from(choose::choose("auto", Device::Cpu).unwrap()),
        };
        let mut cache = ModelCache::open(&case.policy(), NUM_LAYERS, spec).unwrap();
        let mut outputs = vec![Vec::new(); NUM_LAYERS];
        let mut decoding = false;
        for call in case.calls() {
            if call.decodes && !decoding {
                cache.end_prefill().unwrap();
                decoding = true;
            }
            if call.patch_len > 0 {
                cache.expect_patch(call.patch_len).unwrap();
            }
            let [q, k, v] = [0, 1, 2].map(|i| call.rows(&self.tensors[i]));
            for (layer, outputs) in outputs.iter_mut().enumerate() {
                let out = cache.attend(layer, &q, &k, &v).unwrap();
                outputs.extend(Vec::<f64>::try_from(out.reshape([-1])).unwrap());
            }
        }
        let usage = cache.usage();
        (outputs, usage, usage.peak_allocated_entries)
    }
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

/// A cache that repeats everything: each head keeps its own rows.
struct Repeated<'a> {
    case: &'a Case,
    input: &'a Input,
    layer: usize,
    kept: Vec<Vec<usize>>,
    seen: usize,
    out: Vec<f64>,
    pairs: u64,
    /// Entries that take part in each call, summed over kv heads.
    held: Vec<u64>,
}

impl<'a> Repeated<'a> {
    fn run(case: &'a Case, input: &'a Input, layer: usize) -> Self {
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
    fn stored(&self, kv_head: usize) -> usize {
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

fn check(case: &Case) {
    let input = Input::new(case);
    let (outputs, usage, allocated) = input.run(case);
    let layers: Vec<Repeated> = (0..NUM_LAYERS)
        .map(|layer| Repeated::run(case, &input, layer))
        .collect();
    for (layer, expected) in layers.iter().enumerate() {
        let largest = expected.out.iter().fold(0.0_f64, |max, x| max.max(x.abs()));
        let pairs = outputs[layer].iter().zip(&expected.out);
        let worst = pairs.map(|(a, b)| (a - b).abs()).fold(0.0_f64, f64::max);
        assert_eq!(outputs[layer].len(), expected.out.len());
        assert!(worst <= 1e-10 * largest, "{case:?} layer {layer}: {worst}");
    }
    assert_eq!(
        usage.pairs,
        layers.iter().map(|run| run.pairs).sum::<u64>(),
        "{case:?}"
    );
    let held = |call: usize| layers.iter().map(|run| run.held[call]).sum::<u64>();
    let peak = (0..case.calls().len()).map(held).max().unwrap();
    assert_eq!(usage.peak_entries, peak, "{case:?}");
    let kv_heads = || {
        layers
            .iter()
            .flat_map(|run| (0..KV_HEADS).map(|head| run.stored(head)))
    };
    assert_eq!(
        usage.stored_entries,
        kv_heads().sum::<usize>() as u64,
        "{case:?}"
    );
    assert_eq!(usage.num_tokens, (case.prefill_len + DECODE_LEN) as u64);
    let most = (usage.stored_entries * 5).div_ceil(4) + kv_heads().count() as u64;
    assert!(
        allocated <= most,
        "{case:?}: {allocated} of {}",
        usage.stored_entries
    );
    check_formula(case, &usage);
}

/// What the caches counted is what the closed formula says; where heads choose, no less.
fn check_formula(case: &Case, usage: &KvUsage) {
    let (prompt_len, chunk_len) = (case.prefill_len + 1, case.chunk_len);
    let workload = Workload::new(prompt_len, DECODE_LEN, chunk_len, Convention::Counted).unwrap();
    let formula = predict_eviction(&workload, &case.policy().eviction(), NUM_LAYERS);
    for (counted, formula) in [
        (usage.kv_footprint(), formula.kv_footprint),
        (usage.kv_peak(), formula.kv_peak),
    ] {
        match case.selection {
            Selection::KvHead => assert!((counted - formula).abs() < 1e-12, "{case:?}"),
            Selection::Head => assert!(counted > formula - 1e-12, "{case:?}"),
        }
    }
}

#[test]
fn every_method_equals_a_repeated_cache() {
    for method in METHODS {
        for selection in [Selection::KvHead, Selection::Head] {
            for patch in [false, true] {
                for (sparsity, chunk_len) in [(0.0, 9), (0.3, 21), (0.5, 20), (0.7, 24)] {
                    for last in [1, WINDOW - 1, WINDOW, WINDOW + 1, chunk_len] {
                        check(&Case {
                            method,
                            sparsity,
                            patch,
                            selection,
                            prefill_len: 2 * chunk_len + last,
                            chunk_len,
                            group_size: 3,
                        });
                    }
                }
            }
        }
    }
}

#[test]
fn every_small_prompt_and_chunk_equals_a_repeated_cache() {
    for prefill_len in 0..=14 {
        for chunk_len in 1..=prefill_len.max(1) {
            for (index, selection) in [Selection::KvHead, Selection::Head].into_iter().enumerate() {
                let method = METHODS[(prefill_len + 2 * chunk_len + index) % METHODS.len()];
                check(&Case {
                    method,
                    sparsity: 0.4,
                    patch: chunk_len >= WINDOW && (prefill_len + chunk_len) % 2 == 0,
                    selection,
                    prefill_len,
                    chunk_len,
                    group_size: 1 + prefill_len % 2,
                });
            }
        }
    }
}

#[test]
fn methods_without_a_patch_refuse_one() {
    let spec = RowSpec {
        num_kv_heads: 1,
        head_dim: 2,
        kind: Kind::Double,
        device: Device::Cpu,
        expected_len: 1,
        backend: Arc::from(choose::choose("auto", Device::Cpu).unwrap()),
    };
    let mut cache = ModelCache::open(&super::full::Full, 1, spec).unwrap();
    let error = cache.expect_patch(3).unwrap_err();
    assert_eq!(crate::fault::Coded::code(&error), "infer.patch");
    assert_eq!(super::full::Full.patch_len(), 0);
}

#[test]
fn rankings_that_observe_need_a_window() {
    let settings = EvictionSettings {
        sparsity: TokenSparsity::new(0.5).unwrap(),
        observation_len: 0,
        patch: false,
        selection: Selection::KvHead,
    };
    for method in METHODS {
        let policy = EvictionPolicy::new(method, settings, 2);
        let observes = ["snapkv", "pyramidkv"].contains(&method.name());
        assert_eq!(policy.is_err(), observes, "{method:?}");
    }
}
