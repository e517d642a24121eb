//! `prulong study` as a shell sees it: commands shown, run once, continued, and reported.

use crate::fault_runs::Running;
use crate::fault_store::wait_until;
use assert_cmd::cargo::cargo_bin_cmd;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/checkpoints/tiny");

const EVAL: &str = r#"
seeds = [0]
tasks = ["json_kv"]
lengths = [160]
num_depths = 1
items_per_cell = 2
chunk_lens = [80]
models = [{ path = "MODEL" }]
run = { device = "cpu", threads = 1 }
"#;

const STUDY: &str = r#"
seeds = [1, 2]
sparsities = [0.5]
model = "MODEL"
evaluation = "eval.toml"

[[arms]]
kind = "scores"
name = "drawn"
about = "drawn from the seed"
by = "random"
sink_len = 4
window_len = 32

[[arms]]
kind = "methods"
name = "eviction"
about = "no masks"
methods = [{ name = "snapkv", sparsity = [0.5], options = ["window=8"] }]
"#;

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        for (name, text) in [("eval.toml", EVAL), ("study.toml", STUDY)] {
            std::fs::write(place.at(name), text.replace("MODEL", MODEL)).unwrap();
        }
        place
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn study(&self, words: &[&str]) -> (i32, String, String) {
        let (config, dir) = (self.at("study.toml"), self.at("out"));
        let output = cargo_bin_cmd!("prulong")
            .args(["study", "--config", text(&config), "--dir", text(&dir)])
            .args(words)
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (
            output.status.code().unwrap(),
            text(output.stdout),
            text(output.stderr),
        )
    }

    /// Every answer of an arm so far.
    fn answers(&self, arm: &str) -> Vec<String> {
        let folders = std::fs::read_dir(self.at("out").join(arm));
        let mut files = folders
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path().join("predictions.jsonl")));
        let text = files.find_map(|path| std::fs::read_to_string(path).ok());
        text.map_or(Vec::new(), |text| text.lines().map(str::to_owned).collect())
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_study_shows_its_commands_runs_them_once_and_reports_what_it_found() {
    let place = Place::new();
    let (code, out, err) = place.study(&["--dry-run"]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("# 6 commands are left"), "{out}");
    assert!(out.contains("prulong score-heads --by random"), "{out}");
    assert!(!place.at("out").exists());

    let (code, _, err) = place.study(&["--report"]);
    assert!(code == 2 && err.contains("study.nothing"), "{err}");

    let (code, out, err) = place.study(&["--only", "drawn"]);
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("[1/5] prulong score-heads"), "{err}");
    assert!(
        out.contains("drawn at 0.5: Jaccard") && !out.contains("eviction"),
        "{out}"
    );

    let (code, out, err) = place.study(&["--json"]);
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("[1/1] prulong eval"), "{err}");
    let report: Value = serde_json::from_str(&out).unwrap();
    let stored = std::fs::read_to_string(place.at("out/study.json")).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&stored).unwrap(), report);
    let families: Vec<&str> = report["critical"]["panels"][0]["curves"]
        .as_array()
        .unwrap()
        .iter()
        .map(|curve| curve["family"].as_str().unwrap())
        .collect();
    assert_eq!(families, ["drawn", "snapkv:window=8"]);
    assert_eq!(
        report["arms"][0]["scores"][0]["scores"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    assert_eq!(report["arms"][0]["agreement"][0]["num_pairs"], 1);

    let asked = std::fs::read_to_string(place.at("eval.toml")).unwrap();
    for (text, left) in [
        (asked.clone(), 0),
        (format!("# another comment\n{asked}"), 0),
        (asked.replace("num_depths = 1", "num_depths = 2"), 2),
    ] {
        std::fs::write(place.at("eval.toml"), text).unwrap();
        let (code, out, err) = place.study(&["--dry-run"]);
        assert_eq!((code, err.as_str()), (0, ""));
        assert!(
            out.contains(&format!("# {left} commands are left")),
            "{out}"
        );
    }
}

#[test]
fn a_command_that_fails_stops_the_study_with_its_kind_and_its_words() {
    let place = Place::new();
    let broken = STUDY
        .replace("window_len = 32", "window_len = 32\nnum_rows = 4")
        .replace("random", "loss-slope");
    std::fs::write(place.at("study.toml"), broken.replace("MODEL", MODEL)).unwrap();
    let (code, _, err) = place.study(&[]);
    assert_eq!(code, 2, "{err}");
    assert!(
        err.contains("score.no_data") && err.contains("study.failed"),
        "{err}"
    );
    let (code, _, err) = place.study(&["--only", "nobody"]);
    assert!(code == 2 && err.contains("drawn, eviction"), "{err}");
}

#[test]
fn a_request_to_stop_reaches_the_command_at_work_and_the_study_goes_on_later() {
    let place = Place::new();
    let many = EVAL.replace("items_per_cell = 2", "items_per_cell = 40");
    std::fs::write(place.at("eval.toml"), many.replace("MODEL", MODEL)).unwrap();
    let (config, dir) = (place.at("study.toml"), place.at("out"));
    let mut study = Command::new(env!("CARGO_BIN_EXE_prulong"))
        .args(["study", "--config", text(&config), "--dir", text(&dir)])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map(Running)
        .unwrap();
    let num_answers = || place.answers("drawn").len();
    wait_until(|| num_answers() > 2);
    let pid = rustix::process::Pid::from_child(&study.0);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(study.0.wait().unwrap().code(), Some(75));
    let left = num_answers();
    assert!(left < 160, "{left}");
    let (code, out, err) = place.study(&["--dry-run"]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("# 2 commands are left"), "{out}");
}

const TRAINED: &str = r#"
seeds = [1]
sparsities = [0.5]
model = "MODEL"
evaluation = "eval.toml"

[[prepare]]
name = "text"
creates = "rows"
command = ["pack", "--source", "text=TEXT", "--tokenizer", "{model}/tokenizer.json", "--row-len", "128", "--held-out", "0", "-o", "{text}"]

[[prepare]]
name = "unused"
creates = "unused"
command = ["pack", "--source", "text=nowhere", "--tokenizer", "{model}/tokenizer.json", "-o", "{unused}"]

[[arms]]
kind = "train"
name = "trained"
about = "four steps"
config = "run.toml"
data = ["rows"]
set = ['validation={data="{text}", num_rows=1, every=2}']
"#;

const RUN: &str = r#"
seed = 1
model = { path = "MODEL", dtype = "f32" }
data = { train = ["elsewhere"] }
attention = { sink_len = 4, window_len = 32, block_len = 1 }
gates = { train = true }
sparsity = { start = 0.0, end = 0.5, warmup_ratio = 0.5 }
checkpoint = { every = 2 }

[optimizer]
steps = 4
tokens_per_step = 128
warmup_ratio = 0.1
min_lr_ratio = 0.1
gate_lr = 0.3
lambda_lr = 0.1

[run]
device = "cpu"
threads = 1
"#;

#[test]
fn a_trained_arm_reports_its_course_and_a_finished_study_can_be_asked_more() {
    let place = Place::new();
    let lines = (0..400).map(|i| format!("Line {i} of a text that goes on and on, as texts do.\n"));
    std::fs::write(place.at("text.txt"), lines.collect::<String>()).unwrap();
    let trained = TRAINED.replace("TEXT", text(&place.at("text.txt")));
    for (name, content) in [("study.toml", trained.as_str()), ("run.toml", RUN)] {
        std::fs::write(place.at(name), content.replace("MODEL", MODEL)).unwrap();
    }
    let (code, out, err) = place.study(&["--json"]);
    assert_eq!(code, 0, "{err}");
    assert!(!err.contains("unused"), "{err}");
    let report: Value = serde_json::from_str(&out).unwrap();
    let arm = &report["arms"][0];
    let steps = |list: &Value| -> Vec<u64> {
        let looks = list.as_array().unwrap().iter();
        looks.map(|look| look["step"].as_u64().unwrap()).collect()
    };
    assert_eq!(steps(&arm["held_out"][0]["looks"]), [2, 4]);
    assert_eq!(
        arm["settling"][0]["settling"]["steps"],
        serde_json::json!([2, 4])
    );
    let (code, out, err) = place.study(&["--report"]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("trained, seed 1: "), "{out}");

    // Another size is cut from the run that is there; the evaluation is asked anew, as after a change of its file.
    let more = trained.replace("sparsities = [0.5]", "sparsities = [0.5, 0.75]");
    std::fs::write(place.at("study.toml"), more.replace("MODEL", MODEL)).unwrap();
    let (code, _, err) = place.study(&[]);
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("[1/2] prulong export-mask"), "{err}");
    // Another recipe is another run, and so are its masks and answers; what is gone is made again.
    let other = RUN.replace("gate_lr = 0.3", "gate_lr = 0.4");
    std::fs::write(place.at("run.toml"), other.replace("MODEL", MODEL)).unwrap();
    let (_, out, _) = place.study(&["--dry-run"]);
    assert!(out.contains("# 4 commands are left"), "{out}");
    let (code, _, err) = place.study(&["--report"]);
    assert!(code == 2 && err.contains("study.nothing"), "{err}");
    std::fs::write(place.at("run.toml"), RUN.replace("MODEL", MODEL)).unwrap();
    std::fs::remove_dir_all(place.at("out/trained/seed-1/masks/0.75")).unwrap();
    let (_, out, _) = place.study(&["--dry-run"]);
    assert!(out.contains("# 1 commands are left"), "{out}");
    let longer = EVAL.replace("items_per_cell = 2", "items_per_cell = 3");
    std::fs::write(place.at("eval.toml"), longer.replace("MODEL", MODEL)).unwrap();
    let (code, out, _) = place.study(&["--dry-run"]);
    assert!(code == 0 && out.contains("# 2 commands are left"), "{out}");
}

const FOREIGN: &str = r#"
seeds = [1]
sparsities = [0.875]
model = "MODEL"
evaluation = "eval.toml"

[[prepare]]
name = "duo"
creates = "duo.safetensors"
command = ["mask", "import", "DIR/duo", "{duo}", "--model", "{model}", "--num-retrieval", "4"]

[[prepare]]
name = "prulong"
creates = "prulong.safetensors"
command = [
    "mask", "import", "DIR/masks.tsv", "{prulong}", "--from", "prulong-tsv", "--model", "{model}", "--sink-len", "4",
    "--window-len", "32",
]

[[prepare]]
name = "kvzip"
creates = "kvzip.safetensors"
command = [
    "mask", "import", "DIR/scores.safetensors", "{kvzip}", "--from", "kvzip", "--model", "{model}", "--sink-len", "4",
    "--window-len", "32", "--num-retrieval", "4",
]

[[arms]]
kind = "masks"
name = "foreign"
about = "what other tools wrote: soft gates, a binary mask, scores"
masks = ["duo.safetensors", "prulong.safetensors", "kvzip.safetensors"]
"#;

/// Scores of 4 layers of 8 kv heads whose four highest are a fixed choice, however far they lie above the rest.
fn scores(high: f64, low: f64) -> Vec<f64> {
    let score = |head: usize| if head % 9 == 3 { high } else { low };
    (0..32).map(score).collect()
}

fn table(scores: &[f64]) -> String {
    let row = |row: &[f64]| -> String {
        let cells: Vec<String> = row.iter().map(f64::to_string).collect();
        cells.join("\t") + "\n"
    };
    scores.chunks(8).map(row).collect()
}

fn score_file(scores: &[f64]) -> Vec<u8> {
    let narrow = |score: &f64| score.to_string().parse::<f32>().unwrap().to_le_bytes();
    let bytes: Vec<u8> = scores.iter().flat_map(narrow).collect();
    let view = TensorView::new(Dtype::F32, vec![4, 8], &bytes).unwrap();
    safetensors::serialize([("head_score", view)], None).unwrap()
}

#[test]
fn masks_and_scores_of_other_tools_are_asked_like_our_own() {
    let place = Place::new();
    std::fs::create_dir(place.at("duo")).unwrap();
    let files = [
        ("study.toml", FOREIGN.replace("DIR", text(place.0.path()))),
        ("duo/full_attention_heads.tsv", table(&scores(0.9, 0.2))),
        (
            "duo/config.json",
            r#"{"sink_size":4,"recent_size":32}"#.to_owned(),
        ),
        ("masks.tsv", table(&scores(1.0, 0.0))),
    ];
    for (name, content) in files {
        std::fs::write(place.at(name), content.replace("MODEL", MODEL)).unwrap();
    }
    std::fs::write(
        place.at("scores.safetensors"),
        score_file(&scores(7.5, -3.0)),
    )
    .unwrap();
    let (code, out, err) = place.study(&["--json"]);
    assert_eq!(code, 0, "{err}");
    let report: Value = serde_json::from_str(&out).unwrap();
    let curve = &report["critical"]["panels"][0]["curves"][0];
    assert_eq!(curve["family"], "foreign", "{report:#}");

    // What a method answered, and the keys and values it held for that.
    let mut answers: BTreeMap<String, Vec<[Value; 2]>> = BTreeMap::new();
    for line in place.answers("foreign") {
        let line: Value = serde_json::from_str(&line).unwrap();
        let method = line["method"].as_str().unwrap().to_owned();
        let found = ["output_ids", "kv"].map(|key| line[key].clone());
        answers.entry(method).or_default().push(found);
    }
    assert_eq!(answers["mask-1"].len(), 2);
    assert_eq!(answers["mask-1"], answers["mask-2"]);
    assert_eq!(answers["mask-1"], answers["mask-3"]);
    for other in ["full", "all-streaming"] {
        assert_ne!(answers["mask-1"][0][1], answers[other][0][1], "{other}");
    }
}
