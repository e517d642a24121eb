//! Token eviction under the real model: chunks, patches, positions, and what it costs.

use super::{KV_HEADS, LAYERS, engine, model, tokens};
use crate::footprint::eviction::TokenSparsity;
use crate::footprint::workload::{Convention, Workload};
use crate::infer::cache::RowSpec;
use crate::infer::decode::Limits;
use crate::infer::model_cache::ModelCache;
use crate::infer::policy::Policy;
use crate::infer::policy::evicting::{EvictionMethod, EvictionPolicy, EvictionSettings, Selection};
use crate::infer::policy::full::Full;
use crate::infer::policy::snapkv::Smoothing;
use crate::infer::prefill::prefill;
use crate::model::llama::Llama;
use tch::Tensor;

const WINDOW: usize = 4;
const SNAP_KV: EvictionMethod = EvictionMethod::SnapKv(Smoothing {
    pooling: crate::infer::policy::snapkv::Pooling::Average,
    reach: 2,
});

fn methods() -> [EvictionMethod; 4] {
    [
        SNAP_KV,
        EvictionMethod::PyramidKv(Smoothing::default()),
        EvictionMethod::KeyNorm,
        EvictionMethod::RandomTokens { seed: 3 },
    ]
}

fn policy(method: EvictionMethod, sparsity: f64, patch: bool) -> EvictionPolicy {
    selecting(method, sparsity, patch, Selection::KvHead)
}

fn selecting(
    method: EvictionMethod,
    sparsity: f64,
    patch: bool,
    selection: Selection,
) -> EvictionPolicy {
    let settings = EvictionSettings {
        sparsity: TokenSparsity::new(sparsity).unwrap(),
        observation_len: WINDOW,
        patch,
        selection,
    };
    EvictionPolicy::new(method, settings, LAYERS).unwrap()
}

fn open(llama: &Llama, policy: &dyn Policy) -> ModelCache {
    let spec = RowSpec::of(llama, engine(llama, 1).backend, 1);
    ModelCache::open(policy, LAYERS, spec).unwrap()
}

/// Hidden states of the last prompt token and two more, each its own call.
fn decoded(llama: &Llama, cache: &mut ModelCache, from: usize) -> Tensor {
    let ids = tokens(from + 3);
    let step = |at: usize| llama.forward_cached(&ids[at..=at], at, cache).unwrap();
    Tensor::cat(&(from..from + 3).map(step).collect::<Vec<_>>(), 0)
}

fn hidden(llama: &Llama, policy: &dyn Policy, prefill_len: usize, chunk_len: usize) -> Tensor {
    let mut cache = open(llama, policy);
    prefill(llama, &mut cache, &tokens(prefill_len), chunk_len).unwrap();
    decoded(llama, &mut cache, prefill_len)
}

fn difference(a: &Tensor, b: &Tensor) -> f64 {
    (a - b).abs().max().double_value(&[]) / b.abs().max().double_value(&[])
}

#[test]
fn nothing_dropped_equals_the_plain_forward_for_any_chunking() {
    let llama = model();
    let plain = hidden(&llama, &Full, 33, 33);
    for method in methods() {
        for selection in [Selection::KvHead, Selection::Head] {
            for patch in [false, true] {
                for chunk_len in [1, 3, 4, 5, 8, 16, 29, 32, 33, 64] {
                    if patch && chunk_len < WINDOW {
                        continue;
                    }
                    let policy = selecting(method, 0.0, patch, selection);
                    let found = hidden(&llama, &policy, 33, chunk_len);
                    let error = difference(&found, &plain);
                    assert!(
                        error < 1e-10,
                        "{policy:?} in chunks of {chunk_len}: {error}"
                    );
                }
            }
        }
    }
}

#[test]
fn counted_equals_predicted_for_every_method_chunk_and_remainder() {
    let llama = model();
    let limits = Limits {
        max_new_tokens: 3,
        stop_tokens: Vec::new(),
    };
    for method in methods() {
        for (sparsity, patch) in [(0.0, false), (0.3, true), (0.55, false), (0.7, true)] {
            for chunk_len in [15, 16, 23] {
                for prompt_len in [1, 2, 5, 15, 16, 17, 24, 33, 36, 50] {
                    let policy = policy(method, sparsity, patch);
                    let prompt = tokens(prompt_len);
                    let run = engine(&llama, chunk_len)
                        .generate(&policy, &prompt, &limits)
                        .unwrap();
                    let workload =
                        Workload::new(prompt_len, 3, chunk_len, Convention::Counted).unwrap();
                    let formula = policy.holdings(1).predict(&workload);
                    let near = |a: f64, b: f64| (a - b).abs() < 1e-12;
                    assert!(
                        near(run.usage.kv_footprint(), formula.kv_footprint)
                            && near(run.usage.kv_peak(), formula.kv_peak),
                        "{policy:?} {prompt_len} in {chunk_len}: {:?} {formula:?}",
                        run.usage
                    );
                    assert_eq!(run.usage.num_tokens, (prompt_len + 2) as u64);
                }
            }
        }
    }
}

#[test]
fn a_patch_is_the_end_of_the_prompt_and_leaves_no_trace_in_positions() {
    let llama = model();
    let (prefill_len, chunk_len) = (37, 16);
    let ids = tokens(prefill_len);
    for method in methods() {
        let policy = policy(method, 0.5, true);
        let mut by_hand = open(&llama, &policy);
        for (start, end) in [(0, 16), (16, 32)] {
            let call = [&ids[start..end], &ids[33..]].concat();
            by_hand.expect_patch(WINDOW).unwrap();
            let _ = llama.forward_cached(&call, start, &mut by_hand).unwrap();
            assert_eq!(by_hand.usage().num_tokens, end as u64);
        }
        let _ = llama.forward_cached(&ids[32..], 32, &mut by_hand).unwrap();
        by_hand.end_prefill().unwrap();
        let expected = decoded(&llama, &mut by_hand, prefill_len);
        let found = hidden(&llama, &policy, prefill_len, chunk_len);
        assert!(found.equal(&expected), "{method:?}");
        let unpatched = selecting(method, 0.5, false, Selection::KvHead);
        let without = hidden(&llama, &unpatched, prefill_len, chunk_len);
        assert!(
            difference(&without, &found) > 1e-6,
            "{method:?}: the patch does nothing"
        );
    }
}

#[test]
fn a_patch_does_nothing_to_a_single_chunk() {
    let llama = model();
    for method in methods() {
        for chunk_len in [30, 64] {
            let run = |patch| hidden(&llama, &policy(method, 0.6, patch), 30, chunk_len);
            assert!(run(true).equal(&run(false)), "{method:?}");
        }
    }
}

#[test]
fn a_pyramid_of_a_large_budget_is_snapkv() {
    let llama = model();
    let pyramid = EvictionMethod::PyramidKv(Smoothing::default());
    let run = |method, sparsity| hidden(&llama, &policy(method, sparsity, false), 70, 24);
    assert!(run(pyramid, 0.2).equal(&run(SNAP_KV, 0.2)));
    assert!(!run(pyramid, 0.6).equal(&run(SNAP_KV, 0.6)));
}

#[test]
fn random_tokens_depend_on_their_seed_alone() {
    let llama = model();
    let run = |seed| {
        let method = EvictionMethod::RandomTokens { seed };
        hidden(&llama, &policy(method, 0.5, false), 60, 20)
    };
    assert!(run(1).equal(&run(1)));
    assert!(!run(1).equal(&run(2)));
}

#[test]
fn evicting_changes_what_is_decoded_and_frees_the_rows() {
    let llama = model();
    let plain = hidden(&llama, &Full, 200, 50);
    for method in methods() {
        for selection in [Selection::KvHead, Selection::Head] {
            let policy = selecting(method, 0.8, false, selection);
            let mut cache = open(&llama, &policy);
            prefill(&llama, &mut cache, &tokens(200), 50).unwrap();
            let usage = cache.usage();
            let all = (200 * LAYERS * KV_HEADS) as u64;
            assert!(usage.stored_entries < all * 8 / 10, "{policy:?}");
            let quarter_more = (usage.stored_entries * 5).div_ceil(4) + 12;
            assert!(usage.peak_allocated_entries <= quarter_more, "{policy:?}");
            let found = decoded(&llama, &mut cache, 200);
            assert!(difference(&found, &plain) > 1e-6, "{policy:?}");
        }
    }
}

#[test]
fn heads_that_choose_for_themselves_hold_no_less() {
    let llama = model();
    let stored = |selection| {
        let policy = selecting(SNAP_KV, 0.6, false, selection);
        let mut cache = open(&llama, &policy);
        prefill(&llama, &mut cache, &tokens(100), 50).unwrap();
        cache.usage().stored_entries
    };
    let (together, alone) = (stored(Selection::KvHead), stored(Selection::Head));
    assert_eq!(together, (2 * 20 * LAYERS * KV_HEADS) as u64);
    assert!(alone > together && alone < 2 * together, "{alone}");
}

#[test]
fn chunks_that_cannot_be_evicted_from_are_refused_by_name() {
    let llama = model();
    let limits = Limits {
        max_new_tokens: 1,
        stop_tokens: Vec::new(),
    };
    for (sparsity, patch, chunk_len, code, words) in [
        (
            0.8,
            false,
            20,
            "eviction.capacity",
            ["C = 3", "w = 4", "c = 20", "k = 0.8"],
        ),
        (
            0.1,
            true,
            3,
            "eviction.patch",
            ["w = 4", "c = 3", "patch", "chunk"],
        ),
    ] {
        let policy = policy(SNAP_KV, sparsity, patch);
        let run = engine(&llama, chunk_len).generate(&policy, &tokens(30), &limits);
        let error = run.unwrap_err();
        assert_eq!(error.code(), code);
        let text = error.to_string();
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
        assert!(error.hint().is_some());
    }
}
