//! Whole runs of the real program, killed and interrupted: the same command continues and ends with the same bytes.

use crate::fault_store::wait_until;
use prulong::checkpoint::state::{StateDtype, decode};
use prulong::checkpoint::store::{CheckpointStore, Loaded};
use prulong::data::mds::array::Array;
use prulong::data::mds::column::Encoding;
use prulong::data::mds::dtype::Dtype;
use prulong::data::mds::value::Value;
use prulong::data::mds::writer::{WriteOptions, Writer};
use prulong::metrics::jsonl;
use prulong::metrics::tag;
use prulong::random;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const NUM_STEPS: u64 = 12;

const PRETRAIN: &str = r#"
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

const TRAIN: &str = r#"
seed = 1

[model]
path = "base/model"
dtype = "f32"

[data]
train = ["rows"]

[attention]
sink_len = 4
window_len = 8
block_len = 1

[gates]
train = true

[sparsity]
start = 0.0
end = 0.5
warmup_ratio = 0.5

[optimizer]
steps = 12
tokens_per_step = 128
warmup_ratio = 0.1
min_lr_ratio = 0.1
gate_lr = 0.3
lambda_lr = 0.3

[validation]
data = "rows"
num_rows = 2
every = 5

[run]
device = "cpu"
threads = 1

[checkpoint]
every = 1
keep_last = 2
"#;

/// Records of the held-out rows in a run of gates: after 5, 10 and 12 steps.
const NUM_LOOKS: u64 = 3;

/// A folder with a configuration, and runs beside it.
pub(crate) struct Place {
    dir: tempfile::TempDir,
    command: &'static str,
    overrides: &'static [&'static str],
}

/// A process that does not outlive its test.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Ten rows of 64 tokens in two documents.
fn write_rows(dir: &Path) {
    let columns = ["input_ids", "indices"].map(|name| (name, Encoding::TypedArray(Dtype::Uint32)));
    let mut writer = Writer::create(dir, &columns, WriteOptions::default()).unwrap();
    let spans = Value::Array(Array::from_u32(&[0, 40, 40, 64], vec![2, 2]).unwrap());
    for row in 0..10 {
        let mut rng = random::stream("fault_runs row", &[row]);
        let ids: Vec<u32> = (0..64)
            .map(|_| u32::try_from(random::below(&mut rng, 200)).unwrap())
            .collect();
        let ids = Value::Array(Array::from_u32(&ids, vec![64]).unwrap());
        writer
            .write(&[("input_ids", &ids), ("indices", &spans)])
            .unwrap();
    }
    writer.finish().unwrap();
}

impl Place {
    fn pretrain() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let tokenizer =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("checkpoints/tiny/tokenizer.json");
        let config = PRETRAIN.replace("TOKENIZER", tokenizer.to_str().unwrap());
        std::fs::write(dir.path().join("pretrain.toml"), config).unwrap();
        Self {
            dir,
            command: "pretrain",
            overrides: &[],
        }
    }

    /// Gates on the model that a short pretraining makes.
    pub(crate) fn train(overrides: &'static [&'static str]) -> Self {
        let place = Self::pretrain();
        assert_finished(&place.finish("base"));
        std::fs::write(place.dir.path().join("train.toml"), TRAIN).unwrap();
        write_rows(&place.dir.path().join("rows"));
        Self {
            command: "train",
            overrides,
            ..place
        }
    }

    /// The baseline's gates on the same model and rows.
    pub(crate) fn duo_attention() -> Self {
        let place = Self::train(&[]);
        let target = "[sparsity]\nstart = 0.0\nend = 0.5\nwarmup_ratio = 0.5\n";
        let text = TRAIN
            .replace(target, "")
            .replace("gate_lr = 0.3\nlambda_lr = 0.3", "gate_lr = 0.2");
        let text = format!("method = \"duo-attention\"\n{text}");
        std::fs::write(place.dir.path().join("train.toml"), text).unwrap();
        place
    }

    pub(crate) fn run_dir(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn command(&self, name: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_prulong"));
        command
            .arg(self.command)
            .arg("--config")
            .arg(self.run_dir(&format!("{}.toml", self.command)));
        for setting in self.overrides {
            command.args(["--set", setting]);
        }
        command
            .arg("--run-dir")
            .arg(self.run_dir(name))
            .stdout(Stdio::null());
        command
    }

    fn start(&self, name: &str) -> Running {
        Running(self.command(name).stderr(Stdio::null()).spawn().unwrap())
    }

    pub(crate) fn finish(&self, name: &str) -> Output {
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

    /// Every file of the last checkpoint and, if the run makes one, of the finished model.
    fn results(&self, name: &str) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut files = BTreeMap::new();
        for folder in [format!("ckpt/step-{NUM_STEPS}"), "model".to_owned()] {
            let Ok(entries) = std::fs::read_dir(self.run_dir(name).join(&folder)) else {
                assert!(
                    folder == "model" && self.command == "train",
                    "no `{folder}`"
                );
                continue;
            };
            for entry in entries {
                let path = entry.unwrap().path();
                let key = Path::new(&folder).join(path.file_name().unwrap());
                files.insert(key, std::fs::read(path).unwrap());
            }
        }
        files
    }

    /// What was logged, events too, without what depends on the machine's speed; numbers as bits.
    fn metrics(&self, name: &str) -> Vec<(u64, Vec<(String, u64)>)> {
        let records = jsonl::read(&self.run_dir(name).join(jsonl::FILE_NAME)).unwrap();
        let numbers = records.into_iter().map(|record| {
            let kept = record
                .scalars
                .into_iter()
                .filter(|(name, _)| !tag::is_timing(name));
            let kept = kept.map(|(name, value)| (name, value.to_bits()));
            let events = record.events.into_iter();
            let events = events.map(|event| (format!("{}: {}", event.code, event.text), 0));
            (record.step, kept.chain(events).collect())
        });
        numbers.collect()
    }

    pub(crate) fn assert_same(&self, left: &str, right: &str) {
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

pub(crate) fn assert_finished(output: &Output) {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Kills a run at random moments until it is nearly done, lets it finish, and compares it with one that was left alone.
fn check_kills(place: &Place, num_runs: u64) {
    assert_finished(&place.finish("clean"));
    let num_looks = if place.command == "train" {
        NUM_LOOKS
    } else {
        0
    };
    assert_eq!(place.metrics("clean").len() as u64, NUM_STEPS + num_looks);
    for run in 0..num_runs {
        let mut rng = random::stream("fault_runs kill", &[run]);
        let name = format!("killed-{run}");
        let mut num_kills = 0;
        while place.newest_step(&name) + 1 < NUM_STEPS && num_kills < 5 {
            let goal = place.newest_step(&name) + 1 + random::below(&mut rng, 2);
            let mut running = place.start(&name);
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

/// Stops a run by SIGTERM after a few steps, continues it, and compares it with one that was left alone.
fn check_stop(place: &Place) {
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

/// Everything trains, and the loss keeps running sums: all that a checkpoint can hold.
const EVERYTHING: &[&str] = &[
    "optimizer.train_weights=true",
    "optimizer.weight_lr=0.001",
    "loss.reduction=\"token-scaled\"",
];

#[test]
fn killed_pretraining_ends_with_the_bytes_of_a_run_that_was_not() {
    check_kills(&Place::pretrain(), 2);
}

#[test]
fn killed_training_of_gates_ends_with_the_bytes_of_a_run_that_was_not() {
    check_kills(&Place::train(&[]), 2);
    check_kills(&Place::train(&["sparsity.plateaus=[0.25]"]), 2);
}

#[test]
fn killed_training_of_the_baseline_ends_with_the_bytes_of_a_run_that_was_not() {
    check_kills(&Place::duo_attention(), 2);
}

#[test]
fn killed_training_of_gates_and_weights_ends_with_the_bytes_of_a_run_that_was_not() {
    check_kills(&Place::train(EVERYTHING), 2);
}

#[test]
fn terminated_pretraining_saves_exits_with_75_and_continues_exactly() {
    check_stop(&Place::pretrain());
}

#[test]
fn terminated_training_saves_exits_with_75_and_continues_exactly() {
    check_stop(&Place::train(&[]));
    check_stop(&Place::train(&["sparsity.plateaus=[0.25]"]));
    check_stop(&Place::train(EVERYTHING));
    check_stop(&Place::duo_attention());
}

/// Whether every number that continues a run is finite; `lambda_1` and `lambda_2` are rounded copies for readers.
fn is_finite(loaded: &Loaded) -> bool {
    let tensors = decode(loaded.file("state.safetensors").unwrap()).unwrap();
    assert!(tensors.len() > 3);
    let mut kept = tensors
        .values()
        .filter(|tensor| !tensor.name.starts_with("lambda_"));
    kept.all(|tensor| match tensor.dtype {
        StateDtype::F32 => tensor
            .to_f32()
            .unwrap()
            .iter()
            .all(|value| value.is_finite()),
        StateDtype::F64 => tensor
            .to_f64()
            .unwrap()
            .iter()
            .all(|value| value.is_finite()),
        other => panic!("{other:?} in a checkpoint"),
    })
}

#[test]
fn a_loss_that_is_not_finite_stops_the_run_before_the_update() {
    let place = Place::train(EVERYTHING);
    for (name, setting) in [
        ("weights", "optimizer.weight_lr=1e30"),
        ("lambda", "optimizer.lambda_lr=1e200"),
    ] {
        let output = place
            .command(name)
            .args(["--set", setting])
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(5), "{name}: {text}");
        let step = place.newest_step(name);
        assert!((1..NUM_STEPS).contains(&step), "{name}: {text}");
        let loaded = CheckpointStore::load_path(&place.run_dir(name)).unwrap();
        assert!(loaded.warnings.is_empty() && is_finite(&loaded), "{name}");
    }
}

#[test]
#[expect(clippy::print_stderr, reason = "a test that cannot run says so")]
fn a_disk_that_fills_up_ends_the_run_with_4_and_keeps_its_last_checkpoint() {
    let place = Place::train(&[
        "optimizer.steps=100000",
        "run.log_every=1000",
        "checkpoint.full_disk_wait_s=1",
    ]);
    std::fs::create_dir(place.run_dir("disk")).unwrap();
    let script = "mount -t tmpfs -o size=8m tmpfs disk || exit 99; \"$@\" & pid=$!; \
        until [ -d disk/run/ckpt/step-3 ]; do kill -0 $pid || exit 98; done; \
        cat /dev/zero > disk/filler; wait $pid; code=$?; rm disk/filler; cp -r disk/run kept; exit $code";
    let command = place.command("disk/run");
    let mut shell = Command::new("unshare");
    shell.args(["--map-root-user", "--mount", "sh", "-c", script, "sh"]);
    shell.arg(command.get_program()).args(command.get_args());
    let output = shell.current_dir(place.dir.path()).output();
    let Some(output) = output
        .ok()
        .filter(|output| output.status.code() != Some(99))
    else {
        eprintln!("not run: this machine does not let tests mount a file system");
        return;
    };
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(4), "{text}");
    assert!(text.contains("io.no_space"), "{text}");
    let loaded = CheckpointStore::load_path(&place.run_dir("kept")).unwrap();
    assert!(loaded.warnings.is_empty() && loaded.step >= 3, "{text}");
    assert!(
        text.contains(&format!("the last good one is step {}", loaded.step)),
        "{text}"
    );
}

#[test]
fn a_run_that_cannot_fit_on_its_disk_does_not_start() {
    let place = Place::train(&[]);
    let huge = ["--set", "checkpoint.keep_last=9000000000000"];
    let output = place
        .command("run")
        .args(huge)
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(4), "{text}");
    assert!(text.contains("run.no_space"), "{text}");
    assert_eq!(place.newest_step("run"), 0);
}

#[test]
fn saving_and_logging_change_no_number() {
    let place = Place::train(&[]);
    assert_finished(&place.finish("clean"));
    let rare = [
        "--set",
        "checkpoint.every=1000",
        "--set",
        "run.log_every=1000",
    ];
    let output = place
        .command("rare")
        .args(rare)
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    assert_finished(&output);
    assert!(place.results("clean") == place.results("rare"));
}

#[test]
fn a_second_process_is_refused_while_the_first_one_runs() {
    let place = Place::pretrain();
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
    let place = Place::pretrain();
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

#[test]
fn a_run_whose_mask_has_settled_ends_early_and_is_then_complete() {
    let place = Place::train(&["sparsity.settled_steps=1"]);
    assert_finished(&place.finish("settled"));
    let end = place.newest_step("settled");
    // The ramp takes six steps of twelve.
    assert!((7..NUM_STEPS).contains(&end), "{end}");
    let events = |metrics: &[(u64, Vec<(String, u64)>)]| {
        // The last step's record, and after it the one of the held-out rows.
        let [.., (step, last), (looked, _)] = metrics else {
            panic!("{metrics:?}")
        };
        assert_eq!(step, looked);
        let settled = last
            .iter()
            .any(|(name, _)| name.starts_with("train.settled:"));
        (*step, settled, metrics.len())
    };
    let before = events(&place.metrics("settled"));
    assert_eq!((before.0, before.1), (end, true));
    assert_finished(&place.finish("settled"));
    assert_eq!(place.newest_step("settled"), end);
    assert_eq!(events(&place.metrics("settled")), before);
}

#[test]
fn a_run_through_two_targets_gives_a_mask_of_each_of_the_gates_of_then() {
    let place = Place::train(&["sparsity.plateaus=[0.25]", "checkpoint.keep_last=20"]);
    assert_finished(&place.finish("run"));
    let export = |words: &[&str]| -> serde_json::Value {
        let output = Command::new(env!("CARGO_BIN_EXE_prulong"))
            .current_dir(place.dir.path())
            .args(["export-mask", "run", "--json"])
            .args(words)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let report = export(&[]);
    let masks = report["masks"].as_array().unwrap();
    let found = |mask: &serde_json::Value| {
        (
            mask["step"].as_u64().unwrap(),
            mask["target_sparsity"].as_f64().unwrap(),
        )
    };
    assert_eq!([found(&masks[0]), found(&masks[1])], [(6, 0.25), (12, 0.5)]);
    // The checkpoints of these steps say the same.
    for (mask, step) in masks.iter().zip(["6", "12"]) {
        let again = export(&["--step", step, "-o", step]);
        let bytes = |mask: &serde_json::Value| {
            let folder = place.dir.path().join(mask["folder"].as_str().unwrap());
            std::fs::read(folder.join("head_mask.safetensors")).unwrap()
        };
        assert!(bytes(mask) == bytes(&again["masks"][0]), "{step}");
    }
}
