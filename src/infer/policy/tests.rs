//! Every ranking and both kinds of cache against one that repeats keys and values for every head, in f64.

use super::Policy;
use super::evicting::{EvictionMethod, EvictionPolicy, EvictionSettings, Selection};
use super::full::Full;
use super::snapkv::{Pooling, Smoothing};
use crate::fault::Coded;
use crate::footprint::eviction::TokenSparsity;
use crate::footprint::workload::{Convention, Workload};
use crate::infer::counter::KvUsage;
use case::Case;
use input::Input;
use repeated::Repeated;

mod case;
mod dense;
mod input;
mod nsa;
mod repeated;
mod skipping;

const NUM_LAYERS: usize = 4;
const KV_HEADS: usize = 2;
const HEAD_DIM: usize = 3;
const WINDOW: usize = 4;
const DECODE_LEN: usize = 3;

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

fn check(case: &Case) {
    let input = Input::new(case);
    let (outputs, usage) = input.run(case);
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
    assert!(usage.peak_allocated_entries <= most, "{case:?}: {usage:?}");
    check_formula(case, &usage);
}

/// What the caches counted is what the closed formula says; where heads choose, between its least and its most.
fn check_formula(case: &Case, usage: &KvUsage) {
    let (prompt_len, chunk_len) = (case.prefill_len + 1, case.chunk_len);
    let workload = Workload::new(prompt_len, DECODE_LEN, chunk_len, Convention::Counted).unwrap();
    let holdings = case.policy().holdings(case.group_size);
    let (least, most) = (holdings.predict(&workload), holdings.at_most(&workload));
    for (counted, least, most) in [
        (usage.kv_footprint(), least.kv_footprint, most.kv_footprint),
        (usage.kv_peak(), least.kv_peak, most.kv_peak),
    ] {
        let within = least - 1e-12 < counted && counted < most + 1e-12;
        assert!(within, "{case:?}: {least} {counted} {most}");
        assert!(case.selection == Selection::Head || (most - least).abs() < 1e-12);
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
    let error = input::open(&Full).expect_patch(3).unwrap_err();
    assert_eq!(error.code(), "infer.patch");
    assert_eq!(Full.patch_len(), 0);
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
