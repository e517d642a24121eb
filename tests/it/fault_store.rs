//! Kills, signals and full disks against real processes and real disks.
//!
//! Each test starts this test binary again as a child that runs one of the ignored functions below in a folder of its own.

use prulong::checkpoint::identity::Identity;
use prulong::checkpoint::store::Loaded;
use prulong::fault::{Coded, Kind};
use prulong::metrics::jsonl;
use prulong::metrics::record::Record;
use prulong::metrics::writer::MetricsWriter;
use prulong::random;
use prulong::train::run_dir::{Resume, RunDir};
use prulong::train::signal::Interrupt;
use rustix::process::{Pid, Signal};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Steps after which a child that nobody stopped ends by itself.
const NUM_STEPS: u64 = 100_000;

fn identity() -> Identity {
    Identity::new(&serde_json::json!({"seed": 7}), "model", "data")
}

/// What the checkpoint of `step` holds: 48 KiB that depend on every step before it.
fn state_of(step: u64) -> Vec<u8> {
    let word = blake3::hash(&step.to_le_bytes());
    word.as_bytes().repeat(1536)
}

fn publish(run_dir: &RunDir, step: u64) {
    let store = run_dir.store().unwrap();
    let (state, cursor) = (state_of(step), format!("{{\"position\":{step}}}"));
    store
        .publish(
            step,
            &identity(),
            &[
                ("state.safetensors", &state),
                ("cursor.json", cursor.as_bytes()),
            ],
        )
        .unwrap();
    store.rotate(2, None).unwrap();
}

fn latest(run_dir: &RunDir) -> Option<Loaded> {
    let store = run_dir.store().unwrap();
    run_dir
        .resume(&store, &Resume::Auto, &identity(), &[])
        .unwrap()
}

/// Trains nothing: saves and logs every step until it is stopped.
fn run_until_stopped(run_dir: &RunDir, interrupt: &Interrupt) {
    let first = latest(run_dir).map_or(0, |loaded| loaded.step);
    let mut metrics = MetricsWriter::open(run_dir.path(), first).unwrap();
    for step in first + 1..=NUM_STEPS {
        let mut record = Record::new(step);
        record.scalar("loss/lm", 1.0);
        metrics.record(&mut record).unwrap();
        publish(run_dir, step);
        if interrupt.requested() {
            return;
        }
    }
}

#[test]
#[ignore = "a child of the kill test"]
fn child_saves_until_it_is_killed() {
    run_until_stopped(&RunDir::open("run").unwrap(), &Interrupt::detached());
}

#[test]
#[ignore = "a child of the signal tests"]
fn child_saves_until_it_is_asked_to_stop() {
    let interrupt = Interrupt::install().unwrap();
    run_until_stopped(&RunDir::open("run").unwrap(), &interrupt);
    std::fs::write("stopped", "").unwrap();
    if Path::new("stay").exists() {
        wait_until(|| false);
    }
}

#[test]
#[ignore = "a child of the full-disk test, in a file system of 256 KiB"]
fn child_fills_its_disk() {
    let run_dir = RunDir::open("disk/run").unwrap();
    let mut metrics = MetricsWriter::open(run_dir.path(), 0).unwrap();
    let store = run_dir.store().unwrap();
    let mut step = 0;
    let error = loop {
        step += 1;
        let state = state_of(step);
        if let Err(error) = store.publish(step, &identity(), &[("state.safetensors", &state)]) {
            break error;
        }
    };
    assert!(step > 2, "the disk was full at once");
    assert_eq!(
        (error.code(), error.kind()),
        ("io.no_space", Kind::Storage),
        "{error}"
    );
    assert!(
        error
            .to_string()
            .contains(&format!("the last good one is step {}", step - 1)),
        "{error}"
    );
    assert_eq!(latest(&run_dir).unwrap().step, step - 1);

    // The last pages go to the logs: TensorBoard's failures are counted, those of the record end the run.
    let path = run_dir.path().join(jsonl::FILE_NAME);
    let text = "x".repeat(900);
    let refused = (1..10_000).find_map(|step| {
        let mut record = Record::new(step);
        record
            .scalar("loss/lm", 1.0)
            .event("test.filler", text.clone());
        metrics.tensorboard().histogram(step, "gates/z", &[0.5]);
        metrics.record(&mut record).err()
    });
    let refused = refused.unwrap();
    assert_eq!(
        (refused.code(), refused.kind()),
        ("io.no_space", Kind::Storage)
    );
    jsonl::read(&path).unwrap();
    assert!(
        std::fs::read(&path).unwrap().ends_with(b"\n"),
        "a torn line was left"
    );
    assert_eq!(latest(&run_dir).unwrap().step, step - 1);
    std::fs::write("full", "").unwrap();
}

#[test]
#[ignore = "a child of the file-size test, with a limit of 40 KiB per file"]
fn child_hits_its_file_size_limit() {
    let run_dir = RunDir::open("run").unwrap();
    let store = run_dir.store().unwrap();
    store
        .publish(1, &identity(), &[("state.safetensors", b"small")])
        .unwrap();
    let error = store
        .publish(2, &identity(), &[("state.safetensors", &state_of(2))])
        .unwrap_err();
    assert_eq!(error.kind(), Kind::Storage, "{error}");
    assert_eq!(latest(&run_dir).unwrap().step, 1);
    assert_eq!(
        std::fs::read_dir(store.dir()).unwrap().count(),
        1,
        "something was left behind"
    );
    std::fs::write("limited", "").unwrap();
}

/// A child that does not outlive its test.
struct Victim(Child);

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Victim {
    fn start(function: &str, dir: &Path) -> Self {
        let binary = std::env::current_exe().unwrap();
        let mut command = Command::new(binary);
        command.args([&format!("fault_store::{function}"), "--exact", "--ignored"]);
        Self(
            command
                .current_dir(dir)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap(),
        )
    }

    /// Starts the child behind a shell script that ends in `exec "$@"`; tells what it said if it failed.
    fn run_in(script: &str, function: &str, dir: &Path) -> Result<(), String> {
        let binary = std::env::current_exe().unwrap();
        let output = Command::new("unshare")
            .args(["--map-root-user", "--mount", "sh", "-c", script, "sh"])
            .arg(binary)
            .args([
                &format!("fault_store::{function}"),
                "--exact",
                "--ignored",
                "--nocapture",
            ])
            .current_dir(dir)
            .output()
            .map_err(|error| error.to_string())?;
        if output.status.success() {
            return Ok(());
        }
        Err(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    }

    fn signal(&self, signal: Signal) {
        rustix::process::kill_process(Pid::from_child(&self.0), signal).unwrap();
    }
}

pub(crate) fn wait_until(mut is_true: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_true() {
        assert!(
            start.elapsed() < Duration::from_mins(1),
            "nothing happened for a minute"
        );
        std::thread::yield_now();
    }
}

/// The highest step that has a folder, verified or not.
fn newest_step(dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir.join("run/ckpt")) else {
        return 0;
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names
        .filter_map(|name| name.strip_prefix("step-")?.parse().ok())
        .max()
        .unwrap_or(0)
}

#[test]
fn a_process_killed_at_any_moment_continues_from_a_whole_checkpoint() {
    let place = tempfile::tempdir().unwrap();
    let mut rng = random::stream("fault_store kill", &[1]);
    let mut seen = 0;
    for trial in 0..20 {
        let victim = Victim::start("child_saves_until_it_is_killed", place.path());
        let goal = seen + 1 + random::below(&mut rng, 3);
        wait_until(|| newest_step(place.path()) >= goal);
        let delay = Duration::from_micros(random::below(&mut rng, 20_000));
        let start = Instant::now();
        wait_until(|| start.elapsed() >= delay);
        seen = newest_step(place.path());
        victim.signal(Signal::KILL);
        drop(victim);

        let run_dir = RunDir::open(place.path().join("run")).unwrap();
        let loaded = latest(&run_dir).unwrap();
        assert!(
            loaded.warnings.is_empty(),
            "trial {trial}: {:?}",
            loaded.warnings
        );
        assert!(
            loaded.step >= seen,
            "trial {trial}: step {} after {seen} was seen",
            loaded.step
        );
        assert_eq!(
            loaded.file("state.safetensors").unwrap(),
            state_of(loaded.step),
            "trial {trial}"
        );
        seen = loaded.step;
        MetricsWriter::open(run_dir.path(), loaded.step).unwrap();
        let records = jsonl::read(&run_dir.path().join(jsonl::FILE_NAME)).unwrap();
        assert!(
            records.iter().map(|record| record.step).eq(1..=loaded.step),
            "trial {trial}"
        );
    }
    assert!(seen >= 20);
}

#[test]
fn every_polite_signal_lets_the_save_finish() {
    for signal in [Signal::TERM, Signal::INT, Signal::USR1, Signal::USR2] {
        let place = tempfile::tempdir().unwrap();
        let mut victim = Victim::start("child_saves_until_it_is_asked_to_stop", place.path());
        wait_until(|| newest_step(place.path()) >= 2);
        victim.signal(signal);
        let status = victim.0.wait().unwrap();
        assert_eq!(status.code(), Some(0), "{signal:?}: {status}");
        let loaded = latest(&RunDir::open(place.path().join("run")).unwrap()).unwrap();
        assert!(loaded.warnings.is_empty() && loaded.step >= 2);
    }
}

#[test]
fn the_second_interrupt_ends_the_process_at_once() {
    let place = tempfile::tempdir().unwrap();
    std::fs::write(place.path().join("stay"), "").unwrap();
    let mut victim = Victim::start("child_saves_until_it_is_asked_to_stop", place.path());
    wait_until(|| newest_step(place.path()) >= 1);
    victim.signal(Signal::INT);
    wait_until(|| place.path().join("stopped").exists());
    victim.signal(Signal::INT);
    let status = victim.0.wait().unwrap();
    assert_eq!((status.code(), status.signal()), (Some(130), None));
}

#[test]
fn a_file_size_limit_is_a_storage_error_that_costs_nothing_saved() {
    let place = tempfile::tempdir().unwrap();
    // Ignoring SIGXFSZ turns the limit into an error of the write; the limit counts blocks of 1 KiB in `bash`, 512 B in `sh`.
    let script = "trap '' XFSZ; ulimit -f 80; exec \"$@\"";
    let binary = std::env::current_exe().unwrap();
    let status = Command::new("sh")
        .args(["-c", script, "sh"])
        .arg(binary)
        .args([
            "fault_store::child_hits_its_file_size_limit",
            "--exact",
            "--ignored",
        ])
        .current_dir(place.path())
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success() && place.path().join("limited").exists());
}

#[test]
#[expect(clippy::print_stderr, reason = "a test that cannot run says so")]
fn a_full_disk_costs_the_new_checkpoint_only() {
    let place = tempfile::tempdir().unwrap();
    std::fs::create_dir(place.path().join("disk")).unwrap();
    let mount = "mount -t tmpfs -o size=256k tmpfs disk";
    if let Err(reason) = Victim::run_in(mount, "none", place.path()) {
        eprintln!("not run: this machine does not let tests mount a file system: {reason}");
        return;
    }
    let script = format!("{mount} && exec \"$@\"");
    Victim::run_in(&script, "child_fills_its_disk", place.path()).unwrap();
    assert!(place.path().join("full").exists());
}
