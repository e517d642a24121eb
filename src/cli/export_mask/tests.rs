//! Exports from a run directory made by hand, and from the masks they give.

use super::*;
use crate::checkpoint::identity::Identity;
use crate::checkpoint::state::{NamedTensor, encode};
use crate::checkpoint::store::{self, CheckpointStore};
use crate::cli::export_source::STATE_NAME;
use crate::fault::Kind;
use crate::mask::arch::ArchFacts;
use crate::mask::export::SIDECAR_NAME;
use crate::mask::provenance::Provenance;
use crate::train::run_dir::EXPORT_NAME;
use clap::Parser;
use std::path::Path;

mod targets;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: Args,
}

fn args(words: &[&str]) -> Args {
    Line::try_parse_from(["export-mask"].iter().chain(words))
        .unwrap()
        .args
}

fn exported(words: &[&str]) -> Result<Exported, AnyFault> {
    let mut masks = export(&args(words))?.masks;
    assert_eq!(masks.len(), 1);
    Ok(masks.remove(0))
}

fn refused(words: &[&str]) -> AnyFault {
    exported(words).unwrap_err()
}

/// A run of 4 x 8 gates with checkpoints of steps 5 and 10.
fn run_dir() -> tempfile::TempDir {
    let run = tempfile::tempdir().unwrap();
    let published = crate::mask::provenance::tests::published();
    let provenance = Provenance {
        arch: ArchFacts {
            num_hidden_layers: 4,
            num_attention_heads: 32,
            num_key_value_heads: 8,
            ..published.arch
        },
        ..published
    };
    std::fs::write(run.path().join(EXPORT_NAME), provenance.to_json()).unwrap();
    for step in [5_u8, 10] {
        let gates: Vec<f32> = (0..32_u8)
            .map(|i| f32::from(i % 13) - f32::from(step))
            .collect();
        save(run.path(), u64::from(step), "log_alpha", &gates);
    }
    run
}

fn save(run: &Path, step: u64, name: &str, values: &[f32]) {
    save_all(
        run,
        step,
        &[NamedTensor::f32(name, &[values.len()], values)],
    );
}

fn save_all(run: &Path, step: u64, tensors: &[NamedTensor<'_>]) {
    let state = encode(tensors).unwrap();
    let identity = Identity::new(&serde_json::json!({}), "model", "data");
    let store = CheckpointStore::open(run.join(store::DIR_NAME)).unwrap();
    store
        .publish(step, &identity, &[(STATE_NAME, &state)])
        .unwrap();
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_run_gives_its_newest_gates_at_its_final_sparsity() {
    let run = run_dir();
    let report = exported(&[text(run.path())]).unwrap();
    assert_eq!((report.num_retrieval, report.num_heads), (9, 32));
    assert_eq!((report.step, report.target_sparsity), (Some(10), Some(0.7)));
    assert_eq!(report.folder, run.path().join("masks/9-of-32"));
    assert!(report.written && report.warnings.is_empty());
    for file in &report.files {
        assert!(report.folder.join(file).is_file(), "{file}");
    }
    let table =
        std::fs::read_to_string(report.folder.join("duo/full_attention_heads.tsv")).unwrap();
    assert_eq!(table.lines().count(), 4);
    assert_eq!(table.matches('1').count(), 9);
    let older = exported(&[text(run.path()), "--step", "5", "--num-retrieval", "8"]).unwrap();
    assert_eq!((older.step, older.num_retrieval), (Some(5), 8));
}

#[test]
fn repeating_an_export_changes_nothing_and_other_content_is_refused() {
    let run = run_dir();
    let out = run.path().join("out");
    let words = [text(run.path()), "--sparsity", "0.5", "-o", text(&out)];
    exported(&words).unwrap();
    let sidecar = out.join(SIDECAR_NAME);
    let written = std::fs::metadata(&sidecar).unwrap().modified().unwrap();
    exported(&words).unwrap();
    assert_eq!(
        std::fs::metadata(&sidecar).unwrap().modified().unwrap(),
        written
    );
    let before = std::fs::read(&sidecar).unwrap();
    let other = [text(run.path()), "--sparsity", "0.25", "-o", text(&out)];
    let fault = refused(&other);
    assert_eq!(
        (fault.code(), fault.kind()),
        ("mask.exists_differs", Kind::Input)
    );
    assert!(fault.hint().unwrap().contains("--force"));
    assert_eq!(std::fs::read(&sidecar).unwrap(), before);
    exported(&[&other[..], &["--force"]].concat()).unwrap();
    assert_ne!(std::fs::read(&sidecar).unwrap(), before);
}

#[test]
fn a_dry_run_writes_nothing() {
    let run = run_dir();
    let report = exported(&[text(run.path()), "--dry-run"]).unwrap();
    assert!(!report.written && !report.folder.exists());
}

#[test]
fn a_mask_is_cut_again_along_its_order() {
    let run = run_dir();
    let from_run = exported(&[text(run.path()), "--num-retrieval", "20"]).unwrap();
    let mask = exported(&[text(run.path())])
        .unwrap()
        .folder
        .join(SIDECAR_NAME);
    let out = run.path().join("again");
    let again = exported(&[text(&mask), "--num-retrieval", "20", "-o", text(&out)]).unwrap();
    assert_eq!(again.num_retrieval, 20);
    let bytes = |folder: &Path| std::fs::read(folder.join(SIDECAR_NAME)).unwrap();
    assert_eq!(bytes(&out), bytes(&from_run.folder));
    let copy = run.path().join("copy");
    exported(&[text(&mask), "-o", text(&copy)]).unwrap();
    assert_eq!(bytes(&copy), std::fs::read(&mask).unwrap());
}

#[test]
fn rules_and_the_survival_of_the_nominal_target_are_reported() {
    let run = run_dir();
    let at = |more: &[&str]| {
        let base = [text(run.path()), "--sparsity", "0.7", "--dry-run"];
        exported(&[&base[..], more].concat()).unwrap()
    };
    let floor = at(&[]);
    assert_eq!(
        (floor.num_streaming, floor.survives_target),
        (23, Some(false))
    );
    let interval = floor.survival_interval.unwrap();
    assert!(interval.above < floor.sparsity && floor.sparsity <= interval.up_to);
    let duo = at(&["--duo-compatible"]);
    assert_eq!((duo.num_streaming, duo.survives_target), (22, Some(true)));
    assert_eq!(duo.rounding, "duo-stable");
    assert!(
        at(&["--rounding", "reference"])
            .folder
            .ends_with("9-of-32-reference")
    );
    assert_eq!(at(&["--rounding", "nearest"]).num_streaming, 22);
    let all = exported(&[text(run.path()), "--sparsity", "1", "--dry-run"]).unwrap();
    assert_eq!(all.warnings[0].code, "mask.all_streaming");
}

#[test]
fn sources_without_a_mask_in_them_are_named() {
    let run = run_dir();
    let path = text(run.path());
    let empty = tempfile::tempdir().unwrap();
    for (words, code) in [
        (vec![text(empty.path())], "run.foreign"),
        (vec!["/nonexistent/run"], "mask.unreadable"),
        (vec![path, "--step", "7"], "ckpt.missing"),
        (vec![path, "--sparsity", "1.5"], "mask.target"),
        (vec![path, "--num-retrieval", "33"], "mask.target"),
    ] {
        let fault = refused(&words);
        assert_eq!(
            (fault.code(), fault.kind()),
            (code, Kind::Input),
            "{words:?}: {fault}"
        );
    }
    let mask = exported(&[path]).unwrap().folder.join(SIDECAR_NAME);
    assert_eq!(refused(&[text(&mask)]).code(), "mask.usage");
    assert_eq!(refused(&[text(&mask), "--step", "1"]).code(), "mask.usage");
    std::fs::remove_dir_all(run.path().join(store::DIR_NAME)).unwrap();
    assert_eq!(refused(&[path]).code(), "run.no_checkpoint");
    save(run.path(), 3, "weights", &[1.0]);
    assert_eq!(refused(&[path]).code(), "run.no_gates");
    save(run.path(), 4, "log_alpha", &[1.0; 31]);
    assert_eq!(refused(&[path]).code(), "mask.nonfinite");
    std::fs::write(run.path().join(EXPORT_NAME), "{}").unwrap();
    assert_eq!(refused(&[path]).code(), "mask.provenance");
}

#[test]
fn a_damaged_newest_checkpoint_is_passed_over_with_a_warning() {
    let run = run_dir();
    std::fs::write(run.path().join("ckpt/step-10").join(STATE_NAME), "x").unwrap();
    let report = exported(&[text(run.path())]).unwrap();
    assert_eq!(report.step, Some(5));
    assert_eq!(report.warnings[0].code, "ckpt.corrupt");
}

#[test]
fn several_targets_give_a_folder_each_or_nothing_at_all() {
    let run = run_dir();
    let words = [
        text(run.path()),
        "--sparsity",
        "0.5",
        "--sparsity",
        "0.7",
        "--num-retrieval",
        "20",
        "--num-retrieval",
        "16",
    ];
    let report = export(&args(&words)).unwrap();
    let kept: Vec<usize> = report.masks.iter().map(|mask| mask.num_retrieval).collect();
    assert_eq!(kept, [16, 9, 20]);
    assert_eq!(report.masks[0].warnings[0].code, "mask.same_count");
    for mask in &report.masks {
        let folder = run
            .path()
            .join(format!("masks/{}-of-32", mask.num_retrieval));
        assert_eq!(mask.folder, folder);
        assert!(mask.files.iter().all(|file| folder.join(file).is_file()));
    }
    let out = run.path().join("out");
    std::fs::create_dir_all(out.join("9-of-32")).unwrap();
    std::fs::write(out.join("9-of-32").join(SIDECAR_NAME), "in the way").unwrap();
    let fault = refused(&[&words[..], &["-o", text(&out)]].concat());
    assert_eq!(fault.code(), "mask.exists_differs");
    assert!(!out.join("16-of-32").exists());
}

#[test]
fn an_export_has_every_file_of_its_table() {
    let run = run_dir();
    let report = exported(&[text(run.path())]).unwrap();
    let expected = [
        "head_mask.safetensors",
        "duo/full_attention_heads.tsv",
        "duo/config.json",
        "duo_rank/full_attention_heads.tsv",
        "duo_rank/config.json",
        "rtp_llm_headwise_config.json",
        "head_scores.safetensors",
        "README.md",
    ];
    assert_eq!(report.files, expected);
    let engines: Vec<&str> = report.engines.iter().map(|advice| advice.engine).collect();
    assert_eq!(engines.len(), 8, "{engines:?}");
}
