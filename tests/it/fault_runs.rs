//! Whole runs of the real program, killed and interrupted: the same command continues and ends with the same bytes.

use crate::fault_store::wait_until;
use prulong::metrics::jsonl;
use prulong::metrics::tag;
use prulong::random;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const NUM_STEPS: u64 = 12;

const CONFIG: &str = r#"
seed = 1
tokenizer = "TOKENIZER"

[model]
num_layers = 2
hidden_size = 32
num_heads = 4
num_kv_heads = 2
head_dim = 8
intermediate_size = 64
rope_theta = 10000.0
max_position_embeddings = 256
dtype = "f32"

[optimizer]
adam_lr = 0.002

[[stage]]
name = "first"
steps = 7
seq_len = 32
batch_len = 4
muon_lr = 0.02
muon_lr_end = 0.01
mix = [{ kind = "random-repeats", weight = 1.0, span_min = 8, span_max = 16 }]

[[stage]]
name = "second"
steps = 5
seq_len = 64
batch_len = 2
muon_lr = 0.01
muon_lr_end = 0.0
mix = [{ kind = "random-repeats", weight = 1.0, span_min = 8, span_max = 32 }]

[run]
device = "cpu"
threads = 1

[checkpoint]
every = 1
keep_last = 2
"#;

/// A folder with a configuration, and runs beside it.
struct Place {
    dir: tempfile::TempDir,
}

/// A process that does not outlive its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let tokenizer =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("checkpoints/tiny/tokenizer.json");
        let config = CONFIG.replace("TOKENIZER", tokenizer.to_str().unwrap());
        std::fs::write(dir.path().join("run.toml"), config).unwrap();
        Self { dir }
    }

    fn run_dir(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_prulong"));
        command
            .arg("pretrain")
            .arg("--config")
            .arg(self.run_dir("run.toml"));
        command
            .arg("--run-dir")
            .arg(self.run_dir(name))
            .stdout(Stdio::null());
        command
    }

    fn start(&self, name: &str) -> Running {
        Running(self.command(name).stderr(Stdio::null()).spawn().unwrap())
    }

    fn finish(&self, name: &str) -> Output {
        self.command(name).stderr(Stdio::piped()).output().unwrap()
    }

    fn newest_step(&self, name: &str) -> u64 {
        let Ok(entries) = std::fs::read_dir(self.run_dir(name).join("ckpt")) else {
            return 0;
        };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        names
            .filter_map(|name| name.strip_prefix("step-")?.parse().ok())
            .max()
            .unwrap_or(0)
    }

    /// Every file of the last checkpoint and of the finished model.
    fn results(&self, name: &str) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut files = BTreeMap::new();
        for folder in [format!("ckpt/step-{NUM_STEPS}"), "model".to_owned()] {
            for entry in std::fs::read_dir(self.run_dir(name).join(&folder)).unwrap() {
                let path = entry.unwrap().path();
                let key = Path::new(&folder).join(path.file_name().unwrap());
                files.insert(key, std::fs::read(path).unwrap());
            }
        }
        files
    }

    /// What was logged, without what depends on the machine's speed; numbers as bits.
    fn metrics(&self, name: &str) -> Vec<(u64, Vec<(String, u64)>)> {
        let records = jsonl::read(&self.run_dir(name).join(jsonl::FILE_NAME)).unwrap();
        let numbers = records.into_iter().map(|record| {
            let kept = record
                .scalars
                .into_iter()
                .filter(|(name, _)| !tag::is_timing(name));
            (
                record.step,
                kept.map(|(name, value)| (name, value.to_bits())).collect(),
            )
        });
        numbers.collect()
    }

    fn assert_same(&self, left: &str, right: &str) {
        assert_eq!(self.metrics(left), self.metrics(right));
        let (left, right) = (self.results(left), self.results(right));
        assert!(
            left.keys().eq(right.keys()),
            "{:?} {:?}",
            left.keys(),
            right.keys()
        );
        for (path, bytes) in left {
            assert!(bytes == right[&path], "`{}` differs", path.display());
        }
    }
}

fn assert_finished(output: &Output) {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn a_run_that_is_killed_again_and_again_ends_with_the_bytes_of_one_that_was_not() {
    let place = Place::new();
    assert_finished(&place.finish("clean"));
    assert_eq!(place.metrics("clean").len() as u64, NUM_STEPS);
    let mut rng = random::stream("fault_runs kill", &[1]);
    for run in 0..3 {
        let name = format!("killed-{run}");
        let mut num_kills = 0;
        while place.newest_step(&name) + 1 < NUM_STEPS && num_kills < 5 {
            let mut running = place.start(&name);
            let goal = place.newest_step(&name) + 1 + random::below(&mut rng, 2);
            wait_until(|| {
                place.newest_step(&name) >= goal || running.0.try_wait().unwrap().is_some()
            });
            let delay = Duration::from_micros(random::below(&mut rng, 30_000));
            let start = Instant::now();
            wait_until(|| start.elapsed() >= delay);
            running.0.kill().unwrap();
            num_kills += 1;
        }
        assert!(num_kills > 1, "the run ended before it could be killed");
        assert_finished(&place.finish(&name));
        place.assert_same("clean", &name);
    }
}

#[test]
fn a_terminated_run_saves_says_so_by_its_exit_code_and_continues_exactly() {
    let place = Place::new();
    assert_finished(&place.finish("clean"));
    let mut running = place.start("stopped");
    wait_until(|| place.newest_step("stopped") >= 3);
    let pid = rustix::process::Pid::from_child(&running.0);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let status = running.0.wait().unwrap();
    assert_eq!(status.code(), Some(75), "{status}");
    assert!((3..NUM_STEPS).contains(&place.newest_step("stopped")));
    assert_finished(&place.finish("stopped"));
    place.assert_same("clean", "stopped");
}

#[test]
fn a_second_process_is_refused_while_the_first_one_runs() {
    let place = Place::new();
    let first = place.start("run");
    wait_until(|| place.newest_step("run") >= 1);
    let second = place.finish("run");
    drop(first);
    let text = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(2), "{text}");
    assert!(text.contains("run.locked"), "{text}");
}

#[test]
fn other_settings_are_refused_with_the_difference_and_change_nothing() {
    let place = Place::new();
    assert_finished(&place.finish("run"));
    let before = place.results("run");
    let output = place
        .command("run")
        .args(["--set", "seed=2"])
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(
        text.contains("run.config_changed") && text.contains("seed: 1 -> 2"),
        "{text}"
    );
    assert_eq!(before, place.results("run"));
}
