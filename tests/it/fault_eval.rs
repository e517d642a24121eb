//! Whole evaluations by the real program, killed, stopped and failing: finished answers stay, and the end is the same.

use crate::cli_eval::Desk;
use crate::fault_runs::Running;
use crate::fault_store::wait_until;
use prulong::random;
use serde_json::Value;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Two chunk lengths, two tasks, four methods, eight items each.
const SUITE: &str = r#"
seeds = [1, 2]
tasks = ["recall", "json_kv"]
lengths = [160, 200]
num_depths = 2
items_per_cell = 1
chunk_lens = [32, 64]
num_random_masks = 1

[[models]]
path = "model"
masks = ["mask"]

[[methods]]
name = "snapkv"
sparsity = [0.5]
options = ["window=8"]

[text]
kind = "documents"
sources = [{ kind = "text", path = "text" }]
held_out = 1.0

[run]
device = "cpu"
threads = 1
"#;

const NUM_ITEMS: usize = 2 * 2 * 4 * 8;

/// A desk with the suite.
fn desk() -> Desk {
    let desk = Desk::new();
    std::fs::write(desk.path("suite.toml"), SUITE).unwrap();
    desk
}

/// Every run is `run` in a folder of its own, so that all have the same command.
fn command(desk: &Desk, place: &str, extra: &[&str]) -> Command {
    std::fs::create_dir_all(desk.path(place)).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_prulong"));
    command
        .current_dir(desk.path(place))
        .args(["eval", "--config", "../suite.toml", "--run-dir", "run"])
        .args(["--brief", "--fail-under", "0"])
        .args(extra)
        .stdout(Stdio::null());
    command
}

fn finish(desk: &Desk, place: &str, extra: &[&str]) -> (Option<i32>, String) {
    let output: Output = command(desk, place, extra)
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), text)
}

fn start(desk: &Desk, place: &str) -> Running {
    let mut command = command(desk, place, &[]);
    Running(command.stderr(Stdio::null()).spawn().unwrap())
}

fn num_lines(desk: &Desk, place: &str) -> usize {
    let path = desk.path(place).join("run/predictions.jsonl");
    let bytes = std::fs::read(path).unwrap_or_default();
    let lines = bytes.split_inclusive(|byte| *byte == b'\n');
    lines.filter(|line| line.ends_with(b"\n")).count()
}

/// The value without what clocks decide.
fn timeless(mut value: Value) -> Value {
    match &mut value {
        Value::Object(fields) => {
            fields.remove("timing");
            for field in fields.values_mut() {
                *field = timeless(field.take());
            }
        }
        Value::Array(items) => {
            for item in items {
                *item = timeless(item.take());
            }
        }
        _ => {}
    }
    value
}

/// Text of the results and of every prediction, timing left out.
fn answers(desk: &Desk, place: &str) -> (String, Vec<String>) {
    let run = format!("{place}/run");
    let results = timeless(desk.json(&format!("{run}/results.json")));
    let predictions = desk.predictions(&run).into_iter();
    let predictions = predictions.map(|line| timeless(line).to_string());
    (results.to_string(), predictions.collect())
}

#[test]
fn a_killed_evaluation_keeps_what_was_finished_and_ends_with_the_same_bytes() {
    let desk = desk();
    let (code, text) = finish(&desk, "clean", &[]);
    assert_eq!(code, Some(0), "{text}");
    let clean = answers(&desk, "clean");
    assert_eq!(clean.1.len(), NUM_ITEMS);
    let mut num_kills = 0;
    let mut rng = random::stream("fault_eval kill", &[]);
    while num_lines(&desk, "killed") < NUM_ITEMS && num_kills < 5 {
        let before = num_lines(&desk, "killed");
        let goal = before + 1 + usize::try_from(random::below(&mut rng, 12)).unwrap();
        let mut running = start(&desk, "killed");
        wait_until(|| {
            num_lines(&desk, "killed") >= goal || running.0.try_wait().unwrap().is_some()
        });
        let delay = Duration::from_micros(random::below(&mut rng, 5_000));
        let start = Instant::now();
        wait_until(|| start.elapsed() >= delay);
        running.0.kill().unwrap();
        running.0.wait().unwrap();
        assert!(num_lines(&desk, "killed") >= goal.min(NUM_ITEMS));
        num_kills += 1;
    }
    assert!(num_kills > 1, "the run ended before it could be killed");
    let path = desk.path("killed/run/predictions.jsonl");
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, [&whole[..], &whole[..100]].concat()).unwrap();
    let kept: Vec<Value> = desk_lines(&whole);
    let (code, text) = finish(&desk, "killed", &[]);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(answers(&desk, "killed"), clean);
    let ended = desk.predictions("killed/run");
    assert_eq!(
        ended[..kept.len()],
        kept[..],
        "finished items are not run again"
    );
}

fn desk_lines(bytes: &[u8]) -> Vec<Value> {
    let lines = bytes.split_inclusive(|byte| *byte == b'\n');
    let whole = lines.filter(|line| line.ends_with(b"\n"));
    whole
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

#[test]
fn a_signal_ends_an_evaluation_with_75_after_the_item_at_work() {
    let desk = desk();
    for signal in [rustix::process::Signal::TERM, rustix::process::Signal::INT] {
        let mut running = start(&desk, "stopped");
        let goal = num_lines(&desk, "stopped") + 3;
        wait_until(|| num_lines(&desk, "stopped") >= goal);
        let pid = rustix::process::Pid::from_child(&running.0);
        rustix::process::kill_process(pid, signal).unwrap();
        let status = running.0.wait().unwrap();
        assert_eq!(status.code(), Some(75), "{status}");
        let num_done = num_lines(&desk, "stopped");
        assert!((goal..NUM_ITEMS).contains(&num_done));
        assert_eq!(desk.predictions("stopped/run").len(), num_done);
    }
    assert_eq!(finish(&desk, "stopped", &[]).0, Some(0));
    assert_eq!(num_lines(&desk, "stopped"), NUM_ITEMS);
}

#[test]
fn another_evaluation_is_refused_with_the_difference_and_its_own_config_repeats_a_run() {
    let desk = desk();
    assert_eq!(finish(&desk, "a", &[]).0, Some(0));
    let before = answers(&desk, "a");
    for (setting, words) in [
        ("seeds=[1, 3]", "seeds: [1,2] -> [1,3]"),
        ("streaming.window_len=8", "window_len: 16 -> 8"),
        ("models.0.masks=[\"../small\"]", "masks_blake3.0"),
        ("text.held_out=0.9", "text.held_out_share: 1.0 -> 0.9"),
    ] {
        let (code, text) = finish(&desk, "a", &["--set", setting]);
        assert_eq!(code, Some(2), "{setting}: {text}");
        assert!(text.contains("run.config_changed"), "{setting}: {text}");
        assert!(text.contains(words), "{setting}: {text}");
    }
    assert_eq!(answers(&desk, "a"), before);
    let config = std::fs::read_to_string(desk.path("a/run/config.toml")).unwrap();
    std::fs::write(desk.path("suite.toml"), config).unwrap();
    let (code, text) = finish(&desk, "a", &[]);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(answers(&desk, "a"), before);
    let (code, text) = finish(&desk, "b", &[]);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(answers(&desk, "b"), before);
    let log = std::fs::read_to_string(desk.path("a/run/log.txt")).unwrap();
    assert!(log.contains("128 items are finished already"), "{log}");
}

#[test]
fn numbers_that_are_not_finite_end_an_evaluation_with_5_and_mended_weights_finish_it() {
    let desk = desk();
    let weights = desk.path("model/model.safetensors");
    let sound = std::fs::read(&weights).unwrap();
    std::fs::copy(desk.path("broken/model.safetensors"), &weights).unwrap();
    for _ in 0..2 {
        let (code, text) = finish(&desk, "run", &[]);
        assert_eq!(code, Some(5), "{text}");
        assert!(text.contains("[infer.not_finite]"), "{text}");
        assert!(text.contains("failed: "), "{text}");
        let lines = desk.predictions("run/run");
        let [line] = lines.as_slice() else {
            panic!("{lines:?}");
        };
        assert_eq!(line["error"]["code"], "infer.not_finite");
        assert_eq!(line["finish"], "error");
        assert!(line["kv"].is_null() && line["output"] == "", "{line}");
    }
    assert!(!desk.path("run/run/results.json").exists());
    std::fs::write(&weights, sound).unwrap();
    let (code, text) = finish(&desk, "run", &[]);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(finish(&desk, "clean", &[]).0, Some(0));
    assert_eq!(answers(&desk, "run"), answers(&desk, "clean"));
}
