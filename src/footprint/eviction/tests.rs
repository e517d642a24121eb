//! Golden budgets of inference.md section 8, and the edges of section 15.

use super::*;
use crate::fault::Coded;

fn eviction(observation_len: usize, sparsity: f64, layers: LayerBudget) -> TokenEviction {
    TokenEviction {
        observation_len,
        sparsity: TokenSparsity::new(sparsity).unwrap(),
        patch: false,
        layers,
    }
}

fn at(layer: usize) -> LayerAt {
    LayerAt {
        layer,
        num_layers: 32,
    }
}

fn kept(sparsity: f64, size: usize, patched: bool, layers: LayerBudget) -> Vec<usize> {
    let method = TokenEviction {
        patch: patched,
        ..eviction(64, sparsity, layers)
    };
    let patch_len = method.patch_len(!patched);
    (0..32)
        .map(|layer| method.budget(size, patch_len, at(layer)).num_kept())
        .collect()
}

/// Entries of layers 0, 1, 15, 16, 30, 31, and the mean over all 32 in halves.
struct Golden {
    chunk_len: usize,
    sparsity: f64,
    capacity: usize,
    plain: [usize; 6],
    plain_halves: usize,
    patched: [usize; 6],
    patched_halves: usize,
}

#[test]
fn pyramids_match_the_golden_table() {
    let row =
        |(chunk_len, sparsity, capacity), (plain, plain_halves), (patched, patched_halves)| {
            Golden {
                chunk_len,
                sparsity,
                capacity,
                plain,
                plain_halves,
                patched,
                patched_halves,
            }
        };
    let table = [
        row(
            (2048, 0.5, 1024),
            ([1936, 1878, 1066, 1008, 196, 138], 2074),
            ([1997, 1935, 1067, 1005, 137, 75], 2072),
        ),
        row(
            (2048, 0.6, 819),
            ([1537, 1491, 847, 801, 157, 111], 1648),
            ([1598, 1548, 848, 798, 98, 48], 1646),
        ),
        row(
            (2048, 0.7, 614),
            ([1137, 1104, 642, 609, 147, 114], 1251),
            ([1198, 1161, 643, 606, 88, 51], 1249),
        ),
        row(
            (2048, 0.8, 409),
            ([737, 716, 422, 401, 107, 86], 823),
            ([798, 773, 423, 398, 48, 23], 821),
        ),
        row(
            (2048, 0.9, 204),
            ([337, 329, 217, 209, 97, 89], 426),
            ([398, 386, 218, 206, 38, 26], 424),
        ),
    ];
    for golden in table {
        let sparsity = TokenSparsity::new(golden.sparsity).unwrap();
        assert_eq!(sparsity.num_kept(golden.chunk_len), golden.capacity);
        for (patched, picked, halves) in [
            (false, golden.plain, golden.plain_halves),
            (true, golden.patched, golden.patched_halves),
        ] {
            let kept = kept(
                golden.sparsity,
                golden.chunk_len,
                patched,
                LayerBudget::Pyramid,
            );
            assert_eq!([0, 1, 15, 16, 30, 31].map(|layer| kept[layer]), picked);
            assert_eq!(kept.iter().sum::<usize>(), 16 * halves);
        }
    }
}

#[test]
fn pyramids_of_long_chunks_match_the_golden_table() {
    for (chunk_len, sparsity, plain, mean, (first, last), patched_mean) in [
        (
            8192,
            0.7,
            [4731, 4585, 2541, 2395, 351, 205],
            2468,
            (4792, 142),
            2467,
        ),
        (
            32768,
            0.5,
            [31888, 30888, 16888, 15888, 1888, 888],
            16388,
            (31949, 825),
            16387,
        ),
        (
            32768,
            0.7,
            [19108, 18510, 10138, 9540, 1168, 570],
            9839,
            (19169, 507),
            9838,
        ),
        (
            32768,
            0.9,
            [6328, 6132, 3388, 3192, 448, 252],
            3290,
            (6389, 189),
            3289,
        ),
    ] {
        let found = kept(sparsity, chunk_len, false, LayerBudget::Pyramid);
        assert_eq!([0, 1, 15, 16, 30, 31].map(|layer| found[layer]), plain);
        assert_eq!(found.iter().sum::<usize>(), 32 * mean);
        let found = kept(sparsity, chunk_len, true, LayerBudget::Pyramid);
        assert_eq!((found[0], found[31]), (first, last));
        assert_eq!(found.iter().sum::<usize>(), 32 * patched_mean);
    }
}

#[test]
fn a_pyramid_of_a_large_budget_is_uniform() {
    for (sparsity, capacity) in [(0.2, 1638), (0.3, 1433), (0.4, 1228)] {
        for patched in [false, true] {
            for layers in [LayerBudget::Pyramid, LayerBudget::Uniform] {
                assert_eq!(kept(sparsity, 2048, patched, layers), [capacity; 32]);
            }
        }
    }
    let single = eviction(4, 0.8, LayerBudget::Pyramid);
    let only = LayerAt {
        layer: 0,
        num_layers: 1,
    };
    assert_eq!(single.budget(100, 0, only).num_kept(), 19);
}

/// The published function, in signed integers as it was written.
fn published_pyramid(capacity: i64, window: i64, len: i64, layer: i64, layers: i64) -> i64 {
    if len < capacity {
        return len;
    }
    if capacity <= window {
        return window.min(len);
    }
    if len < (capacity - window) * 2 {
        return capacity;
    }
    let mut low = (capacity - window) / 20;
    let mut high = (capacity - window) * 2 - low;
    if high >= len - window {
        high = len - window;
        low = (capacity - window) * 2 - high;
    }
    let steps = (high - low) / (layers - 1);
    (high - layer * steps).min(len - window) + window
}

#[test]
fn every_small_budget_equals_the_published_function() {
    let signed = |x: usize| i64::try_from(x).unwrap();
    for window in 1..=9 {
        for size in 1..=70 {
            for sparsity in [0.0, 0.1, 0.35, 0.5, 0.7, 0.9, 0.99] {
                for patch_len in [0, window] {
                    let method = eviction(window, sparsity, LayerBudget::Pyramid);
                    let capacity = method.sparsity.num_kept(size) + patch_len;
                    let call_len = size + patch_len;
                    for layer in 0..5 {
                        let at = LayerAt {
                            layer,
                            num_layers: 5,
                        };
                        let published = if call_len <= window {
                            signed(call_len)
                        } else {
                            let (c, w, n) = (signed(capacity), signed(window), signed(call_len));
                            published_pyramid(c, w, n, signed(layer), 5)
                        };
                        let budget = method.budget(size, patch_len, at);
                        let held = signed(budget.num_top + budget.window_len);
                        assert_eq!(held, published, "{method:?} {size} {patch_len} {layer}");
                    }
                }
            }
        }
    }
}

#[test]
fn short_last_chunks_keep_everything_and_tight_ones_the_window() {
    let method = eviction(8, 0.75, LayerBudget::Uniform);
    for (size, kept) in [(1, 1), (7, 7), (8, 8), (9, 8), (31, 8), (36, 9), (400, 100)] {
        assert_eq!(method.budget(size, 0, at(3)).num_kept(), kept, "{size}");
    }
    let skipping = eviction(8, 0.75, LayerBudget::FullBelow(2));
    for (layer, kept) in [(0, 400), (1, 400), (2, 100), (31, 100)] {
        assert_eq!(skipping.budget(400, 0, at(layer)).num_kept(), kept);
        assert_eq!(skipping.budget(400, 8, at(layer)).num_kept(), kept);
    }
    let random = eviction(0, 0.75, LayerBudget::Uniform);
    for (size, kept) in [(1, 0), (4, 1), (400, 100)] {
        assert_eq!(random.budget(size, 0, at(3)).num_kept(), kept, "{size}");
    }
}

#[test]
fn settings_that_cannot_evict_are_refused_by_name() {
    for share in [-0.1, 1.0, f64::NAN, f64::INFINITY] {
        let error = TokenSparsity::new(share).unwrap_err();
        assert_eq!(error.code(), "eviction.sparsity");
    }
    let tight = eviction(64, 0.9, LayerBudget::Uniform);
    let error = tight.check(640).unwrap_err();
    assert_eq!(
        error.to_string(),
        "a full chunk keeps C = 63 entries, not more than the observation window w = 64 \
         (chunk c = 640, token sparsity k = 0.9)"
    );
    assert!(error.hint().unwrap().contains("longer chunks"));
    assert!(tight.check(660).is_ok());
    let patched = |observation_len, sparsity| TokenEviction {
        patch: true,
        ..eviction(observation_len, sparsity, LayerBudget::Uniform)
    };
    assert!(patched(64, 0.9).check(64).is_ok());
    let error = patched(64, 0.1).check(63).unwrap_err();
    assert_eq!(error.code(), "eviction.patch");
    assert!(error.to_string().contains("w = 64") && error.to_string().contains("c = 63"));
    assert_eq!(
        patched(64, 0.99).check(64).unwrap_err().code(),
        "eviction.capacity"
    );
    assert_eq!(
        patched(0, 0.1).check(64).unwrap_err().code(),
        "eviction.window"
    );
    let lossless = eviction(64, 0.0, LayerBudget::Uniform);
    assert!((1..200).all(|chunk_len| lossless.check(chunk_len).is_ok()));
}
