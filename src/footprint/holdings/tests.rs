//! Golden footprints and peaks of inference.md section 17.

use super::*;
use crate::footprint::eviction::{LayerBudget, TokenSparsity};
use crate::footprint::tally::evicting;

const REFERENCE_LENGTHS: (usize, usize) = (131_052, 20);

fn published_span() -> Span {
    Span::new(128, 1024, 1).unwrap()
}

fn near(actual: f64, golden: f64, what: &str) {
    assert!(
        (actual - golden).abs() < 1e-6,
        "{what}: {actual} for {golden}"
    );
}

fn masks(
    lengths: (usize, usize),
    chunk_len: usize,
    streaming: StreamingHeads,
    (convention, rule): (Convention, StreamingRule),
) -> Prediction {
    let workload = Workload::new(lengths.0, lengths.1, chunk_len, convention).unwrap();
    let holdings = Holdings::Heads {
        streaming,
        span: published_span(),
        rule,
    };
    holdings.predict(&workload)
}

fn reference(lengths: (usize, usize), chunk_len: usize, share: f64) -> Prediction {
    masks(
        lengths,
        chunk_len,
        StreamingHeads::Nominal(share),
        (Convention::Reference, StreamingRule::DuoChunk),
    )
}

fn reference_eviction(
    (prompt_len, output_len): (usize, usize),
    chunk_len: usize,
    k: f64,
) -> Prediction {
    let workload = Workload::new(prompt_len, output_len, chunk_len, Convention::Reference).unwrap();
    // Layers and patch are nothing to the script.
    pyramid(k, true).predict(&workload)
}

fn pyramid(k: f64, patch: bool) -> Holdings {
    ranked_layers(LayerBudget::Pyramid, k, patch, 32)
}

fn ranked_layers(layers: LayerBudget, k: f64, patch: bool, num_layers: usize) -> Holdings {
    Holdings::Ranked {
        eviction: TokenEviction {
            observation_len: 64,
            sparsity: TokenSparsity::new(k).unwrap(),
            patch,
            layers,
        },
        num_layers,
        num_choosers: 1,
    }
}

#[test]
fn head_masks_match_the_reference_table() {
    let chunks = [131_072, 32_768, 8_192, 128];
    let table = [
        (
            0.5,
            [
                (0.999_848_77, 0.999_847_41),
                (0.631_556_47, 0.629_241_94),
                (0.539_483_74, 0.535_491_94),
                (0.509_238_04, 0.504_730_22),
            ],
        ),
        (
            0.7,
            [
                (0.999_788_27, 0.999_847_41),
                (0.484_179_06, 0.480_999_76),
                (0.355_277_23, 0.349_749_76),
                (0.312_933_25, 0.306_683_35),
            ],
        ),
        (
            0.9,
            [
                (0.999_727_78, 0.999_847_41),
                (0.336_801_65, 0.332_757_57),
                (0.171_070_72, 0.164_007_57),
                (0.116_628_46, 0.108_691_41),
            ],
        ),
        (
            1.0,
            [
                (0.999_697_53, 0.999_847_41),
                (0.263_112_95, 0.258_789_06),
                (0.078_967_47, 0.071_289_06),
                (0.018_476_07, 0.009_765_62),
            ],
        ),
    ];
    for (share, row) in table {
        for (chunk_len, (kv_footprint, kv_peak)) in chunks.into_iter().zip(row) {
            let what = format!("h = {share}, c = {chunk_len}");
            let prediction = reference(REFERENCE_LENGTHS, chunk_len, share);
            near(prediction.kv_footprint, kv_footprint, &what);
            near(prediction.kv_peak, kv_peak, &what);
        }
    }
}

#[test]
fn eviction_matches_the_reference_table() {
    let chunks = [131_072, 32_768, 8_192];
    let table = [
        (
            0.3,
            [
                (0.999_908_61, 0.999_847_41),
                (0.776_452_98, 0.776_321_41),
                (0.726_024_97, 0.725_875_85),
            ],
        ),
        (
            0.5,
            [
                (0.999_847_59, 0.999_847_41),
                (0.626_429_72, 0.626_312_26),
                (0.538_568_37, 0.538_421_63),
            ],
        ),
        (
            0.7,
            [
                (0.999_786_56, 0.999_847_41),
                (0.476_406_46, 0.476_303_10),
                (0.351_111_78, 0.350_967_41),
            ],
        ),
        (
            0.9,
            [
                (0.999_725_53, 0.999_847_41),
                (0.326_406_09, 0.326_316_83),
                (0.163_540_74, 0.163_398_74),
            ],
        ),
    ];
    for (k, row) in table {
        for (chunk_len, (kv_footprint, kv_peak)) in chunks.into_iter().zip(row) {
            let what = format!("k = {k}, c = {chunk_len}");
            let prediction = reference_eviction(REFERENCE_LENGTHS, chunk_len, k);
            near(prediction.kv_footprint, kv_footprint, &what);
            near(prediction.kv_peak, kv_peak, &what);
        }
    }
}

#[test]
fn other_lengths_match_the_reference() {
    let whole_prompt = 32_768;
    for (lengths, share, kv_footprint, kv_peak) in [
        ((12_000, 1_000), 0.7, 0.906_004_27, 0.923_076_92),
        ((38_000, 10_000), 0.7, 0.645_213_17, 0.682_666_67),
        ((6_000, 3_000), 0.7, 0.670_906_94, 0.666_666_67),
    ] {
        let prediction = reference(lengths, whole_prompt, share);
        near(prediction.kv_footprint, kv_footprint, "masks");
        near(prediction.kv_peak, kv_peak, "masks");
    }
    for (lengths, kv_footprint, kv_peak) in [
        ((12_000, 1_000), 0.901_356_70, 0.923_076_92),
        ((6_000, 3_000), 0.693_663_67, 0.666_666_67),
    ] {
        let prediction = reference_eviction(lengths, whole_prompt, 0.7);
        near(prediction.kv_footprint, kv_footprint, "eviction");
        near(prediction.kv_peak, kv_peak, "eviction");
    }
    let saturated = reference_eviction((200, 10), 80, 0.5);
    near(saturated.kv_footprint, 1.0, "the 64 extra entries saturate");
    near(saturated.kv_peak, 1.0, "the 64 extra entries saturate");
}

#[test]
fn integer_head_counts_are_not_their_nominal_share() {
    for (num_streaming, golden) in [(179, 0.484_754_76), (180, 0.481_876_29)] {
        // Spread over 32 layers as unevenly as can be: only the number counts.
        let layer = |layer: usize| (num_streaming - (8 * layer).min(num_streaming)).min(8);
        let heads = StreamingHeads::Counted {
            per_layer: (0..32).map(layer).collect(),
            num_kv_heads: 8,
        };
        let prediction = masks(
            REFERENCE_LENGTHS,
            32_768,
            heads,
            (Convention::Reference, StreamingRule::DuoChunk),
        );
        near(prediction.kv_footprint, golden, "of 256");
    }
}

#[test]
fn tiny_cases_match_the_worked_examples() {
    let tiny = |(prompt_len, output_len), share| {
        let workload = Workload::new(prompt_len, output_len, 4, Convention::Reference).unwrap();
        let holdings = Holdings::Heads {
            streaming: StreamingHeads::Nominal(share),
            span: Span::new(1, 2, 1).unwrap(),
            rule: StreamingRule::DuoChunk,
        };
        holdings.predict(&workload)
    };
    for (lengths, share, kv_footprint, kv_peak) in [
        ((8, 2), 1.0, 0.727_272_73, 0.7),
        ((8, 2), 0.5, 0.863_636_36, 0.75),
        ((10, 3), 0.25, 0.895_604_40, 0.826_923_08),
    ] {
        let prediction = tiny(lengths, share);
        near(prediction.kv_footprint, kv_footprint, "tiny");
        near(prediction.kv_peak, kv_peak, "tiny");
    }
}

#[test]
fn the_counted_convention_matches_brute_force_sums() {
    let counted = |chunk_len, share, rule| {
        masks(
            REFERENCE_LENGTHS,
            chunk_len,
            StreamingHeads::Nominal(share),
            (Convention::Counted, rule),
        )
    };
    for (rule, share, chunk_len, kv_footprint, kv_peak) in [
        (
            StreamingRule::DuoChunk,
            1.0,
            32_768,
            0.263_113_01,
            Some(0.258_791_04),
        ),
        (
            StreamingRule::DuoChunk,
            1.0,
            8_192,
            0.078_967_59,
            Some(0.071_289_61),
        ),
        (StreamingRule::DuoChunk, 0.7, 32_768, 0.484_179_11, None),
        (StreamingRule::DuoChunk, 0.7, 8_192, 0.355_277_31, None),
        (
            StreamingRule::Sliding,
            1.0,
            32_768,
            0.017_500_94,
            Some(0.258_783_41),
        ),
        (
            StreamingRule::Sliding,
            1.0,
            8_192,
            0.017_500_94,
            Some(0.071_281_98),
        ),
        (StreamingRule::Sliding, 0.7, 32_768, 0.312_250_66, None),
        (StreamingRule::Sliding, 0.7, 8_192, 0.312_250_66, None),
        (
            StreamingRule::FrozenPrompt,
            1.0,
            32_768,
            0.999_697_55,
            Some(0.999_847_41),
        ),
        (
            StreamingRule::FrozenPrompt,
            1.0,
            8_192,
            0.999_697_55,
            Some(0.999_847_41),
        ),
    ] {
        let what = format!("{rule:?}, h = {share}, c = {chunk_len}");
        let prediction = counted(chunk_len, share, rule);
        near(prediction.kv_footprint, kv_footprint, &what);
        if let Some(kv_peak) = kv_peak {
            near(prediction.kv_peak, kv_peak, &what);
        }
    }
}

/// `SnapKV` in the counted convention, with or without a patch.
fn snap_kv(chunk_len: usize, k: f64, patch: bool) -> Prediction {
    let (prompt_len, output_len) = REFERENCE_LENGTHS;
    let workload = Workload::new(prompt_len, output_len, chunk_len, Convention::Counted).unwrap();
    ranked_layers(LayerBudget::Uniform, k, patch, 2).predict(&workload)
}

#[test]
fn counted_eviction_matches_brute_force_sums() {
    for (chunk_len, k, kv_footprint, kv_peak, patched) in [
        (32_768, 0.3, 0.774_965_11, 0.774_831_96, 0.776_210_95),
        (32_768, 0.5, 0.624_964_74, 0.624_844_55, 0.626_064_10),
        (32_768, 0.7, 0.474_941_48, 0.474_834_25, 0.475_894_35),
        (32_768, 0.9, 0.324_918_22, 0.324_823_95, 0.325_724_60),
        (8_192, 0.3, 0.718_700_66, 0.718_549_49, 0.724_105_63),
        (8_192, 0.5, 0.531_244_06, 0.531_093_83, 0.535_367_60),
        (8_192, 0.7, 0.343_673_02, 0.343_523_74, 0.346_514_34),
        (8_192, 0.9, 0.156_216_43, 0.156_068_09, 0.157_776_31),
    ] {
        let what = format!("c = {chunk_len}, k = {k}");
        let plain = snap_kv(chunk_len, k, false);
        near(plain.kv_footprint, kv_footprint, &what);
        near(plain.kv_peak, kv_peak, &what);
        let patched_prediction = snap_kv(chunk_len, k, true);
        near(patched_prediction.kv_footprint, patched, &what);
        near(patched_prediction.kv_peak, kv_peak, &what);
    }
}

#[test]
fn locret_matches_the_reference_and_brute_force_sums() {
    let (prompt_len, output_len) = REFERENCE_LENGTHS;
    let predict = |k, convention| {
        let workload = Workload::new(prompt_len, output_len, 32_768, convention).unwrap();
        Holdings::Locret(Locret::published(TokenSparsity::new(k).unwrap())).predict(&workload)
    };
    for (k, script, counted) in [
        (
            0.2,
            (0.907_155_71, 0.906_295_78),
            (0.850_251_65, 0.849_180_98),
        ),
        (
            0.5,
            (0.682_029_77, 0.681_304_93),
            (0.624_775_43, 0.624_081_60),
        ),
        (
            0.7,
            (0.531_930_53, 0.531_295_78),
            (0.475_026_44, 0.474_178_12),
        ),
        (
            0.9,
            (0.381_854_20, 0.381_309_51),
            (0.325_033_89, 0.324_274_63),
        ),
    ] {
        for (convention, (kv_footprint, kv_peak)) in [
            (Convention::Reference, script),
            (Convention::Counted, counted),
        ] {
            let found = predict(k, convention);
            near(found.kv_footprint, kv_footprint, &format!("k = {k}"));
            near(found.kv_peak, kv_peak, &format!("k = {k}"));
        }
    }
}

#[test]
fn full_attention_is_exactly_one_and_more_streaming_is_never_more() {
    for rule in [
        StreamingRule::DuoChunk,
        StreamingRule::Sliding,
        StreamingRule::FrozenPrompt,
    ] {
        let mut last = Prediction {
            kv_footprint: 1.0,
            kv_peak: 1.0,
        };
        for num_streaming in 0..=16 {
            let heads = StreamingHeads::Counted {
                per_layer: vec![num_streaming],
                num_kv_heads: 16,
            };
            let prediction = masks((5000, 17), 512, heads, (Convention::Counted, rule));
            if num_streaming == 0 {
                assert_eq!(prediction, last, "{rule:?}");
            }
            assert!(prediction.kv_footprint <= last.kv_footprint && prediction.kv_footprint > 0.0);
            assert!(prediction.kv_peak <= last.kv_peak && prediction.kv_peak > 0.0);
            last = prediction;
        }
    }
}

#[test]
fn a_pyramid_costs_what_its_layers_cost_on_average() {
    let workload = Workload::new(500, 7, 100, Convention::Counted).unwrap();
    let eviction = TokenEviction {
        observation_len: 4,
        sparsity: TokenSparsity::new(0.7).unwrap(),
        patch: false,
        layers: LayerBudget::Pyramid,
    };
    let alone = |layer| {
        let at = LayerAt {
            layer,
            num_layers: 6,
        };
        evicting(&workload.chunks(), 7, |chunk, past| {
            let size = usize::try_from(chunk.end - chunk.start).unwrap();
            Eviction {
                call_len: size as u64,
                num_kept: past + eviction.budget(size, 0, at).num_kept() as u64,
            }
        })
    };
    let layers: Vec<HeadTally> = (0..6).map(alone).collect();
    let pairs: u64 = layers.iter().map(|layer| layer.num_pairs).sum();
    let holdings = Holdings::Ranked {
        eviction,
        num_layers: 6,
        num_choosers: 1,
    };
    let bill = holdings.bill(&workload);
    let expected = real(pairs) / (6.0 * real(workload.num_full_pairs()));
    near(bill.model.figures.kv_footprint, expected, "pyramid");
    assert!(layers[0].num_pairs > layers[5].num_pairs);
    assert_eq!(bill.layers.len(), 6);
    for (account, tally) in bill.layers.iter().zip(&layers) {
        assert!((account.end_entries - real(tally.stored)).abs() < 1e-9);
        let share = real(tally.num_pairs) / real(workload.num_full_pairs());
        near(account.figures.kv_footprint, share, "layer");
    }
}

#[test]
fn layers_are_told_apart_only_where_they_differ() {
    let workload = Workload::new(100, 5, 16, Convention::Counted).unwrap();
    let layers = |per_layer: &[usize]| {
        let holdings = Holdings::Heads {
            streaming: StreamingHeads::Counted {
                per_layer: per_layer.to_vec(),
                num_kv_heads: 4,
            },
            span: Span::new(1, 8, 1).unwrap(),
            rule: StreamingRule::Sliding,
        };
        holdings.bill(&workload)
    };
    assert_eq!(layers(&[2, 2, 2]).layers.len(), 1);
    let differ = layers(&[0, 4, 2]);
    assert_eq!(differ.layers.len(), 3);
    let ends: Vec<f64> = differ
        .layers
        .iter()
        .map(|layer| layer.end_entries)
        .collect();
    // 104 tokens; a streaming head is left with its sink and the window but for the next query's own token.
    assert_eq!(ends, [104.0, 8.0, 56.0]);
    assert!((differ.model.end_entries - 56.0).abs() < 1e-12);
    assert_eq!(differ.model, layers(&[2, 2, 2]).model);
    assert_eq!(Holdings::All.bill(&workload).layers.len(), 1);
}

#[test]
fn heads_that_choose_for_themselves_hold_between_agreement_and_none() {
    let workload = Workload::new(40, 3, 20, Convention::Counted).unwrap();
    let holdings = |num_choosers| Holdings::Ranked {
        eviction: TokenEviction {
            observation_len: 2,
            sparsity: TokenSparsity::new(0.7).unwrap(),
            patch: false,
            layers: LayerBudget::Uniform,
        },
        num_layers: 2,
        num_choosers,
    };
    let alone = holdings(1);
    assert_eq!(alone.at_most(&workload), alone.predict(&workload));
    let two = holdings(2);
    assert_eq!(two.predict(&workload), alone.predict(&workload));
    // Of chunks of 20 and 19 tokens 2 + 2 * 4 and 2 + 2 * 3 entries stay, and 3 are decoded.
    let pairs = (20 * 21 / 2) + (19 * 20 / 2 + 19 * 10) + (3 * 4 / 2 + 3 * 18);
    let most = two.at_most(&workload);
    near(
        most.kv_footprint,
        f64::from(pairs) / (42.0 * 43.0 / 2.0),
        "most",
    );
    near(most.kv_peak, 29.0 / 42.0, "most");
    near(
        holdings(100).at_most(&workload).kv_footprint,
        1.0,
        "everything",
    );
}

#[test]
fn the_rent_of_all_queries_is_the_footprint() {
    let few_chunks = Workload::new(700, 12, 200, Convention::Counted).unwrap();
    let many_chunks = Workload::new(7000, 120, 20, Convention::Counted).unwrap();
    let span = Span::new(4, 30, 1).unwrap();
    let streaming = |rule| Holdings::Heads {
        streaming: StreamingHeads::Counted {
            per_layer: vec![0, 1, 2, 2],
            num_kv_heads: 2,
        },
        span,
        rule,
    };
    let ranked = |layers| ranked_layers(layers, 0.7, false, 4);
    for holdings in [
        Holdings::All,
        streaming(StreamingRule::DuoChunk),
        streaming(StreamingRule::Sliding),
        streaming(StreamingRule::FrozenPrompt),
        ranked(LayerBudget::Uniform),
        ranked(LayerBudget::Pyramid),
        Holdings::Locret(Locret::published(TokenSparsity::new(0.7).unwrap())),
    ] {
        for (workload, most) in [
            (few_chunks, 10_000),
            (few_chunks, 3),
            (many_chunks, 10_000),
            (many_chunks, 240),
            (many_chunks, 61),
            (many_chunks, 2),
        ] {
            let corners = holdings.rent(&workload, most);
            let what = format!("{holdings:?} in {} of {most} corners", corners.len());
            assert!(corners.len() <= most, "{what}");
            assert!(corners.iter().all(|corner| corner.held >= 0.0), "{what}");
            assert_eq!(corners.first().map(|corner| corner.query), Some(0));
            let last = corners.last().map(|corner| corner.query + 1);
            assert_eq!(last, Some(workload.total_len()), "{what}");
            let queries = 0..workload.total_len();
            let area: f64 = queries.map(|query| between(&corners, query)).sum();
            let share = area / real(workload.num_full_pairs());
            near(share, holdings.predict(&workload).kv_footprint, &what);
        }
    }
}

/// What a query pays between two corners.
fn between(corners: &[Corner], query: u64) -> f64 {
    let after = corners.partition_point(|corner| corner.query < query);
    let right = corners[after];
    if right.query == query {
        return right.held;
    }
    let left = corners[after - 1];
    let share = real(query - left.query) / real(right.query - left.query);
    left.held + share * (right.held - left.held)
}
