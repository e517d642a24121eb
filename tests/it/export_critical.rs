//! `prulong export-mask --critical`: as many heads as an evaluation found enough.

use crate::hand_made_mask::{arch, sidecar};
use crate::hand_made_run::{Asked, Place, SHAPE, write};
use assert_cmd::cargo::cargo_bin_cmd;
use prulong::checkpoint::identity::Identity;
use prulong::checkpoint::state::{NamedTensor, encode};
use prulong::checkpoint::store::CheckpointStore;
use prulong::mask::gate_method::GateMethod;
use prulong::mask::provenance::Provenance;
use prulong::mask::rank::Ranks;
use prulong::mask::sidecar::content::Sidecar;
use prulong::mask::sidecar::read::read;
use prulong::mask::sidecar::write::to_bytes;
use prulong::schedule::course::Plateau;
use prulong::span::{Span, StreamingRule};
use serde_json::Value;
use std::fs::File;
use std::path::{Path, PathBuf};

/// Masks of 1, 2 and 3 of 4 heads on two tasks and two lengths.
const TRIED: Asked<'static> = Asked {
    tasks: &["recall", "json_kv"],
    lengths: &[256, 512],
    num_depths: 2,
    items_per_cell: 5,
    masks: &[1, 2, 3],
    num_random: 1,
    words: &["all-streaming"],
};

/// The score of a mask by its size, of anything else full marks; footprints by size.
fn scored(of: [f64; 4]) -> impl Fn(&Place<'_>) -> (f64, f64) {
    move |place| match place.method {
        "all-streaming" => (0.1, of[0]),
        name if name.starts_with("mask") || name.contains("-of-4") => {
            let size = name.chars().find_map(|c| c.to_digit(10)).unwrap();
            (0.2 * f64::from(size), of[usize::try_from(size).unwrap()])
        }
        _ => (1.0, 1.0),
    }
}

/// A mask file whose order is that of the heads themselves, or its reverse, to be used with a window.
fn mask_file(folder: &Path, reversed: bool, window_len: usize) -> PathBuf {
    let kv_heads = SHAPE.num_kv_heads;
    let group = SHAPE.num_heads / kv_heads;
    let arch = arch(SHAPE.num_layers, kv_heads, group);
    let mut ranks: Vec<usize> = (0..SHAPE.num_gates()).collect();
    if reversed {
        ranks.reverse();
    }
    let ranks = Ranks::from_ranks(SHAPE.num_layers, kv_heads, &ranks).unwrap();
    let drawn = sidecar(arch, Span::new(4, window_len, 1).unwrap(), 1, 2);
    let ordered = Sidecar {
        mask: ranks.cut(2),
        ranks,
        ..drawn
    };
    let path = folder.join("order.safetensors");
    std::fs::write(&path, to_bytes(&ordered)).unwrap();
    path
}

/// A training run that left its target of 0.5 at step 5 with gates in the order of the heads, and ended in the reverse order.
fn run_through_two_targets(folder: &Path) -> PathBuf {
    let run = folder.join("stairs");
    std::fs::create_dir(&run).unwrap();
    let (num_layers, kv_heads) = (SHAPE.num_layers, SHAPE.num_kv_heads);
    let span = Span::new(4, 16, 1).unwrap();
    let provenance = Provenance {
        arch: arch(num_layers, kv_heads, SHAPE.num_heads / kv_heads),
        base_model: "model".to_owned(),
        base_model_revision: None,
        base_weights_sha256: None,
        weights_modified: false,
        deploy_span: span,
        train_span: span,
        seq_len: 128,
        num_steps: 10,
        seed: 1,
        method: GateMethod::PruLong,
        target_sparsity: Some(0.75),
        plateaus: vec![Plateau {
            sparsity: 0.5,
            step: 5,
        }],
        data_id: "none".to_owned(),
        config_sha256: "none".to_owned(),
    };
    std::fs::write(run.join("export.json"), provenance.to_json()).unwrap();
    let (falling, rising) = ([3.0, 2.0, 1.0, 0.0_f32], [0.0, 1.0, 2.0, 3.0_f32]);
    let state = encode(&[
        NamedTensor::f32("log_alpha", &[num_layers, kv_heads], &rising),
        NamedTensor::f32("log_alpha_plateaus", &[1, num_layers, kv_heads], &falling),
    ]);
    let identity = Identity::new(&serde_json::json!({}), "model", "data");
    let store = CheckpointStore::open(run.join("ckpt")).unwrap();
    let files = [("state.safetensors", state.unwrap())];
    let files = files
        .each_ref()
        .map(|(name, bytes)| (*name, bytes.as_slice()));
    store.publish(10, &identity, &files).unwrap();
    run
}

/// Exit code, JSON and standard error of an export of the smallest mask that the run found enough.
fn exported(
    scores: [f64; 4],
    (reversed, window_len): (bool, usize),
    more: &[&str],
) -> (Option<i32>, Value, String, tempfile::TempDir) {
    exported_of(|place| mask_file(place, reversed, window_len), scores, more)
}

fn exported_of(
    source: impl Fn(&Path) -> PathBuf,
    scores: [f64; 4],
    more: &[&str],
) -> (Option<i32>, Value, String, tempfile::TempDir) {
    let place = tempfile::tempdir().unwrap();
    let run = place.path().join("run");
    std::fs::create_dir(&run).unwrap();
    write(&run, &TRIED.results(&scored(scores)));
    let output = cargo_bin_cmd!("prulong")
        .arg("export-mask")
        .arg(source(place.path()))
        .arg("--critical")
        .arg(&run)
        .arg("-o")
        .arg(place.path().join("out"))
        .arg("--json")
        .args(more)
        .output()
        .unwrap();
    let json = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let stderr = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), json, stderr, place)
}

#[test]
fn the_smallest_mask_that_keeps_the_score_everywhere_is_exported_with_how_it_was_evaluated() {
    for (scores, keep, expected) in [
        ([0.1, 0.5, 0.92, 0.95], "0.9", 2),
        ([0.1, 0.5, 0.92, 0.95], "0.95", 3),
        // A smaller mask that recovers does not count: a larger one failed.
        ([0.1, 0.93, 0.5, 0.95], "0.9", 3),
        ([0.99, 0.99, 0.99, 0.99], "0.9", 0),
    ] {
        let (code, json, stderr, place) = exported(scores, (false, 16), &["--keep", keep]);
        assert_eq!(code, Some(0), "{stderr}");
        assert_eq!(
            json["masks"][0]["num_retrieval"], expected,
            "{scores:?} {keep}"
        );
        let path = place.path().join("out/head_mask.safetensors");
        let sidecar = read(File::open(&path).unwrap(), &path).unwrap().sidecar;
        assert_eq!(sidecar.streaming_rule, Some(StreamingRule::Sliding));
        assert_eq!(sidecar.chunk_len, Some(64));
    }
}

#[test]
fn an_evaluation_that_names_no_mask_is_refused() {
    let (code, _, stderr, place) = exported([0.1, 0.5, 0.6, 0.7], (false, 16), &[]);
    assert_eq!(code, Some(2));
    assert!(
        stderr.contains("critical.none_keeps") && stderr.contains("3 retrieval heads"),
        "{stderr}"
    );
    assert!(!place.path().join("out").exists());
    // The same sizes, but other heads than this order has.
    let (code, _, stderr, _place) = exported([0.1, 0.5, 0.92, 0.95], (true, 16), &[]);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("mask.other_order"), "{stderr}");
}

#[test]
fn a_mask_for_another_window_does_not_claim_to_have_been_evaluated() {
    let (code, json, stderr, place) = exported([0.1, 0.5, 0.92, 0.95], (false, 32), &[]);
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(
        json["masks"][0]["warnings"][0]["code"],
        "mask.span_mismatch"
    );
    let path = place.path().join("out/head_mask.safetensors");
    let sidecar = read(File::open(&path).unwrap(), &path).unwrap().sidecar;
    assert_eq!((sidecar.streaming_rule, sidecar.chunk_len), (None, None));
}

#[test]
fn of_a_run_through_several_targets_the_order_that_was_evaluated_is_found() {
    let scores = [0.1, 0.5, 0.92, 0.95];
    let (code, json, stderr, _place) = exported_of(run_through_two_targets, scores, &[]);
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(
        (
            &json["masks"][0]["step"],
            &json["masks"][0]["num_retrieval"]
        ),
        (&5.into(), &2.into())
    );
}
