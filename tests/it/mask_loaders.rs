//! Exported masks through the algorithms that other tools load them with, re-stated from their documented behaviour.
//!
//! The same with real `NumPy`, and with programs that can be run, is `make test-clients`.

use crate::hand_made_mask::{arch, sidecar};
use prulong::mask::rounding::{Rounding, exact_sparsity, survives};
use prulong::mask::sidecar::content::Sidecar;
use prulong::mask::{duo, duo_rank, head_scores, rtp_llm};
use prulong::random;
use prulong::span::Span;
use safetensors::SafeTensors;
use serde_json::Value;

/// Layers, kv heads and query heads per kv head: Llama-3.1-8B, the tiny model, one with an odd number of heads.
const SHAPES: [(usize, usize, usize); 3] = [(32, 8, 4), (4, 8, 2), (7, 3, 1)];
const NUM_SEEDS: u64 = 20;

fn mask(shape: (usize, usize, usize), num_retrieval: usize) -> Sidecar {
    let span = Span::new(128, 1024, 1).unwrap();
    sidecar(arch(shape.0, shape.1, shape.2), span, 3, num_retrieval)
}

/// A table as `NumPy` loads it, clipped to [0, 1] as the family does.
fn table(text: &str, sidecar: &Sidecar) -> Vec<f64> {
    let number = |field: &str| -> f64 { field.parse().unwrap() };
    let lines = text
        .lines()
        .map(|line| line.split('\t').map(number).collect());
    let lines: Vec<Vec<f64>> = lines.collect();
    assert_eq!(lines.len(), sidecar.mask.num_layers());
    assert!(
        lines
            .iter()
            .all(|line| line.len() == sidecar.mask.num_kv_heads())
    );
    lines.concat().iter().map(|x| x.clamp(0.0, 1.0)).collect()
}

/// The exported mask.
fn flags(sidecar: &Sidecar) -> Vec<f64> {
    table(&duo::table_text(&sidecar.mask), sidecar)
}

/// Its settings.
fn settings(sidecar: &Sidecar) -> Value {
    serde_json::from_str(&duo::config_text(sidecar)).unwrap()
}

#[expect(clippy::cast_precision_loss, reason = "head counts are small")]
fn real(count: usize) -> f64 {
    count as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "Python's `int` of a small positive number"
)]
fn whole(value: f64) -> usize {
    value as usize
}

/// `numpy.quantile` with its linear interpolation, which counts from the nearer neighbour.
fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = share * real(values.len() - 1);
    let (low, part) = (sorted[whole(place)], place.fract());
    let high = sorted[whole(place.ceil())];
    if part < 0.5 {
        low + (high - low) * part
    } else {
        high - (high - low) * (1.0 - part)
    }
}

/// `duo_attn`, `PruLong`'s evaluation, `OmniServe` and RLKV: noise makes values distinct, what lies at or above a quantile is kept.
fn noise_and_quantile(values: &[f64], sparsity: f64, seed: u64) -> Vec<bool> {
    let mut rng = random::stream("noise of a loader", &[seed]);
    let noise = |value: &f64| value + 1e-6 * random::uniform(&mut rng);
    let noisy: Vec<f64> = values.iter().map(noise).collect();
    if sparsity <= 0.0 || sparsity >= 1.0 {
        return vec![sparsity <= 0.0; values.len()];
    }
    let threshold = quantile(&noisy, sparsity);
    noisy.iter().map(|value| *value >= threshold).collect()
}

fn num_changed(kept: &[bool], sidecar: &Sidecar) -> usize {
    let pairs = kept.iter().zip(sidecar.mask.flags());
    pairs.filter(|(found, flag)| found != flag).count()
}

/// Heads that came back in the other class, for every noise.
fn changes(sidecar: &Sidecar, sparsity: f64) -> Vec<usize> {
    let values = flags(sidecar);
    let kept = (0..NUM_SEEDS).map(|seed| noise_and_quantile(&values, sparsity, seed));
    kept.map(|kept| num_changed(&kept, sidecar)).collect()
}

#[test]
fn quantiles_are_numpys() {
    // numpy.quantile([0.3, 0.1, 0.2, 0.7], s)
    for (share, expected) in [
        (0.0, 0.1),
        (0.1, 0.13),
        (0.5, 0.25),
        (0.9, 0.58),
        (1.0, 0.7),
    ] {
        assert!((quantile(&[0.3, 0.1, 0.2, 0.7], share) - expected).abs() < 1e-15);
    }
}

#[test]
fn every_count_arrives_unchanged_at_its_exact_fraction() {
    for shape in SHAPES {
        let n = shape.0 * shape.1;
        for kept in 0..=n {
            let sidecar = mask(shape, kept);
            let exact = settings(&sidecar)["sparsity"].as_f64().unwrap();
            assert_eq!(exact.to_bits(), exact_sparsity(n - kept, n).to_bits());
            let changes = changes(&sidecar, exact);
            assert!(
                changes.iter().all(|count| *count == 0),
                "{shape:?}, {kept} kept: {changes:?}"
            );
        }
    }
}

#[test]
fn at_nominal_sparsities_exactly_the_difference_of_the_counts_changes() {
    let mut num_survivors = 0;
    for shape in SHAPES {
        let n = shape.0 * shape.1;
        for hundredths in (5..100_u32).step_by(5) {
            let nominal = f64::from(hundredths) / 100.0;
            for rule in [
                Rounding::FloorRetrieval,
                Rounding::DuoStable,
                Rounding::Nearest,
            ] {
                let kept = rule.num_retrieval(n, nominal).unwrap();
                let theirs = Rounding::DuoStable.num_retrieval(n, nominal).unwrap();
                let sidecar = mask(shape, kept);
                let changes = changes(&sidecar, nominal);
                let expected = kept.abs_diff(theirs);
                assert!(
                    changes.iter().all(|count| *count == expected),
                    "{shape:?} {rule:?} at {nominal}: {changes:?}, expected {expected}"
                );
                assert_eq!(survives(n - kept, n, nominal), expected == 0);
                num_survivors += usize::from(expected == 0);
            }
        }
    }
    assert!(
        num_survivors > 57 && num_survivors < 171,
        "{num_survivors} of 171"
    );
}

#[test]
fn halves_thresholds_and_ranks_slices_are_the_mask() {
    let sidecar = mask(SHAPES[0], 76);
    let (values, config) = (flags(&sidecar), settings(&sidecar));
    // duo_attn's patch is strict, HeadKV-SGLang's threshold is not.
    let threshold = config["threshold"].as_f64().unwrap();
    for kept in [
        values.iter().map(|x| *x > 0.5).collect::<Vec<bool>>(),
        values.iter().map(|x| *x >= threshold).collect(),
    ] {
        assert_eq!(kept, sidecar.mask.flags());
    }
    for (size, window) in [
        ("sink_size", "recent_size"),
        ("deploy_sink_size", "deploy_recent_size"),
    ] {
        assert_eq!(
            (&config[size], &config[window]),
            (&128.into(), &1024.into())
        );
    }
    // RLKV: each of R tensor-parallel ranks takes its columns of the cut table.
    let cut = noise_and_quantile(&values, 0.703_125, 1);
    let kv_heads = sidecar.mask.num_kv_heads();
    for num_ranks in [1, 2, 8] {
        let width = kv_heads / num_ranks;
        for (layer, row) in cut.chunks(kv_heads).enumerate() {
            for (rank, slice) in row.chunks(width).enumerate() {
                let own = &sidecar.mask.layer(layer)[rank * width..(rank + 1) * width];
                assert_eq!(slice, own);
            }
        }
    }
}

#[test]
fn graded_scores_cut_cleanly_at_every_sparsity() {
    for shape in SHAPES {
        let n = shape.0 * shape.1;
        let sidecar = mask(shape, n / 3);
        let values = table(&duo_rank::table_text(&sidecar).unwrap(), &sidecar);
        // kvpress: the round(n * ratio) lowest of a sort whose order of equal scores is open; there are none.
        let mut order: Vec<usize> = (0..n).collect();
        order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
        assert!(
            order
                .windows(2)
                .all(|pair| values[pair[0]] < values[pair[1]])
        );
        for count in 0..=n {
            let ratio = exact_sparsity(count, n);
            let num_pruned = whole((real(n) * ratio).round_ties_even());
            let mut kept = vec![true; n];
            order[..num_pruned]
                .iter()
                .for_each(|head| kept[*head] = false);
            assert_eq!(kept, sidecar.ranks.cut(n - count).flags());
            let noisy = noise_and_quantile(&values, ratio, 1);
            assert_eq!(noisy, kept, "{count} of {n}");
        }
    }
}

#[test]
fn lists_per_query_head_repeat_the_kv_head() {
    for shape in SHAPES {
        let sidecar = mask(shape, 5);
        let file: Value = serde_json::from_str(&rtp_llm::text(&sidecar)).unwrap();
        let config = &file["headwise_config"];
        for layer in 0..shape.0 {
            let flags = config[layer.to_string()].as_array().unwrap();
            assert_eq!(flags.len(), shape.1 * shape.2);
            for (head, flag) in flags.iter().enumerate() {
                let expected = sidecar.mask.layer(layer)[head / shape.2];
                assert_eq!(flag.as_u64(), Some(u64::from(expected)), "{layer} {head}");
            }
        }
        for (key, value) in [
            ("sink_token_num", 128),
            ("swa_token_num", 1024),
            ("seqlen_threshold", 1152),
        ] {
            assert_eq!(config[key], value);
        }
    }
}

/// `KVzip` keeps what lies strictly above the score at its ratio, every token having its head's score: at `k / n` that is one head
/// fewer than `k`, at `(k + 1) / n` it is `k`.
#[test]
fn scores_of_heads_are_cut_where_kvzip_cuts_them() {
    let num_tokens = 9;
    let kvzip = |scores: &[f32], ratio: f64| -> Vec<bool> {
        let mut spread: Vec<f32> = scores.iter().flat_map(|x| [*x; 9]).collect();
        spread.sort_by(|a, b| b.total_cmp(a));
        let place = whole(real(scores.len() * num_tokens) * ratio).saturating_sub(1);
        scores.iter().map(|score| *score > spread[place]).collect()
    };
    for shape in SHAPES {
        let n = shape.0 * shape.1;
        for kept in 1..n - 1 {
            let sidecar = mask(shape, kept);
            let bytes = head_scores::to_bytes(&sidecar);
            let file = SafeTensors::deserialize(&bytes).unwrap();
            let tensor = file.tensor("head_score").unwrap();
            assert_eq!(tensor.shape(), [shape.0, shape.1]);
            let (words, _) = tensor.data().as_chunks::<4>();
            let scores: Vec<f32> = words.iter().copied().map(f32::from_le_bytes).collect();
            let found = kvzip(&scores, real(kept + 1) / real(n));
            assert_eq!(found, sidecar.mask.flags(), "{kept} of {n}");
            let found = kvzip(&scores, real(kept) / real(n));
            assert_eq!(num_changed(&found, &sidecar), 1, "{kept} of {n}");
        }
    }
}
