//! `prulong score-heads` as a shell sees it, and the run that starts from what it writes.

use assert_cmd::cargo::cargo_bin_cmd;
use prulong::mask::sidecar::content::{RankSource, Sidecar};
use prulong::mask::sidecar::read::parse;
use serde_json::Value;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// 4 layers of 8 kv heads.
const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/checkpoints/tiny");
const ROW_LEN: usize = 256;

/// A folder with rows of made-up code, packed for the model.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        let mut code = String::new();
        for line in 0..900 {
            let _ = writeln!(
                code,
                "let value_{} = compute({line}, {});",
                line % 17,
                line * line
            );
        }
        std::fs::create_dir(place.at("text")).unwrap();
        std::fs::write(place.at("text/code.rs"), code).unwrap();
        let row_len = ROW_LEN.to_string();
        let source = format!("text={}", place.at("text").display());
        let rows = place.at("rows");
        let words = [
            "pack",
            "--source",
            &source,
            "--tokenizer",
            MODEL,
            "--row-len",
            &row_len,
            "--held-out",
            "0",
        ];
        let (code, _, err) = run(&words, &["-o", rows.to_str().unwrap()]);
        assert_eq!(code, 0, "{err}");
        place
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn score(&self, words: &[&str]) -> (i32, String, String) {
        let data = self.at("rows");
        let fixed = [
            "score-heads",
            "--model",
            MODEL,
            "--data",
            data.to_str().unwrap(),
        ];
        let fixed = [
            &fixed[..],
            &["--sink-len", "4", "--window-len", "32", "--rows", "3"],
        ]
        .concat();
        run(
            &fixed,
            &[words, &["--threads", "1", "--device", "cpu"]].concat(),
        )
    }

    fn mask(&self, name: &str, by: &str) -> Sidecar {
        let out = self.at(name);
        let out = out.to_str().unwrap();
        let (code, text, err) = self.score(&["--by", by, "--num-retrieval", "10", "-o", out]);
        assert_eq!(code, 0, "{err}");
        assert!(text.contains(by) && text.contains("layer   3:"), "{text}");
        read(&self.at(name).join("head_mask.safetensors"))
    }
}

fn run(first: &[&str], second: &[&str]) -> (i32, String, String) {
    let output = cargo_bin_cmd!("prulong")
        .args(first)
        .args(second)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let code = output.status.code().unwrap();
    (code, text(output.stdout), text(output.stderr))
}

fn read(path: &Path) -> Sidecar {
    parse(&std::fs::read(path).unwrap(), path).unwrap().sidecar
}

#[test]
fn every_score_gives_a_mask_with_its_order_and_where_it_is_from() {
    let place = Place::new();
    let names = ["loss-slope", "outside-mass", "needle-mass"];
    let masks = names.map(|by| place.mask(by, by));
    for (mask, by) in masks.iter().zip(names) {
        assert_eq!((mask.mask.num_retrieval(), mask.source.as_str()), (10, by));
        assert_eq!(mask.rank_source, RankSource::Score);
        let span = &mask.span;
        assert_eq!(
            (span.sink_len(), span.window_len(), span.block_len()),
            (4, 32, 1)
        );
        assert_eq!(mask.other["prulong.score.num_rows"], "3");
        let scores = mask.gate_score.as_ref().unwrap();
        let best = (0..32)
            .max_by(|a, b| scores[*a].total_cmp(&scores[*b]))
            .unwrap();
        assert_eq!(mask.ranks.ranks()[best], 0);
        let is_share = |score: &f32| (0.0..=1.0).contains(score);
        assert!(
            by == "loss-slope" || scores.iter().all(is_share),
            "{scores:?}"
        );
    }
    assert_ne!(masks[0].ranks, masks[1].ranks);
    assert_ne!(masks[1].ranks, masks[2].ranks);
}

#[test]
fn the_same_call_does_nothing_more_and_another_seed_is_refused_the_folder() {
    let place = Place::new();
    let out = place.at("mask");
    let words = ["--sparsity", "0.5", "--json", "-o", out.to_str().unwrap()];
    let (code, text, err) = place.score(&words);
    assert_eq!(code, 0, "{err}");
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(report["masks"][0]["num_retrieval"], 16);
    assert_eq!(place.score(&words).0, 0);
    let (code, _, err) = place.score(&[&words[..], &["--seed", "1"]].concat());
    assert!(code == 2 && err.contains("mask.exists_differs"), "{err}");
}

#[test]
fn what_cannot_be_scored_is_said_before_anything_is_written() {
    let place = Place::new();
    let out = place.at("mask");
    let out = out.to_str().unwrap();
    let (code, _, err) = place.score(&["-o", out]);
    assert!(code == 2 && err.contains("--sparsity"), "{err}");
    let wide = ["score-heads", "--model", MODEL, "--data"];
    let rows = place.at("rows");
    let rest = [
        "--sink-len",
        "4",
        "--window-len",
        "256",
        "--by",
        "outside-mass",
        "--sparsity",
        "0.5",
        "-o",
        out,
    ];
    let (code, _, err) = run(&[&wide[..], &[rows.to_str().unwrap()]].concat(), &rest);
    assert!(code == 2 && err.contains("score.short_rows"), "{err}");
    let (code, _, err) = place.score(&["--by", "random", "--sparsity", "0.5", "-o", out]);
    assert!(code == 2 && err.contains("score.unused_data"), "{err}");
    assert!(!place.at("mask").exists());
}

#[test]
fn a_run_starts_from_the_order_of_a_mask() {
    let place = Place::new();
    let mask = place.mask("mask", "loss-slope");
    let config = place.at("run.toml");
    let text = format!(
        r#"
seed = 1
[model]
path = {MODEL:?}
dtype = "f32"
[data]
train = ["rows"]
[attention]
sink_len = 4
window_len = 32
block_len = 1
[gates]
train = true
init = {{ kind = "scores", path = "mask/head_mask.safetensors", mean = 1.0, spread = 3.0 }}
[sparsity]
start = 0.0
end = 0.5
warmup_ratio = 0.5
[optimizer]
steps = 1
tokens_per_step = {ROW_LEN}
warmup_ratio = 1.0
min_lr_ratio = 0.1
gate_lr = 0.3
lambda_lr = 0.3
[run]
device = "cpu"
threads = 1
[checkpoint]
every = 1
"#
    );
    std::fs::write(&config, text).unwrap();
    let run_dir = place.at("run");
    let train = ["train", "--config", config.to_str().unwrap(), "--run-dir"];
    let (code, _, err) = run(&train, &[run_dir.to_str().unwrap()]);
    assert_eq!(code, 0, "{err}");
    // The first step has rate 0: the gates are where they began.
    let out = place.at("cut");
    let export = [
        "export-mask",
        run_dir.to_str().unwrap(),
        "--num-retrieval",
        "10",
        "-o",
    ];
    let (code, _, err) = run(&export, &[out.to_str().unwrap()]);
    assert_eq!(code, 0, "{err}");
    let trained = read(&out.join("head_mask.safetensors"));
    assert_eq!(trained.ranks, mask.ranks);
    let gates = trained.log_alpha.unwrap();
    let extremes = gates
        .iter()
        .fold((f32::MAX, f32::MIN), |(low, high), gate| {
            (low.min(*gate), high.max(*gate))
        });
    assert_eq!(extremes, (-2.0, 4.0));
}
