//! The program as a shell sees it: exit codes, streams, and the exact text of failures.

use assert_cmd::cargo::cargo_bin_cmd;
use std::path::PathBuf;

/// What one call printed and how it ended.
struct Outcome {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn call(args: &[&str]) -> Outcome {
    let output = cargo_bin_cmd!("prulong").args(args).output().unwrap();
    Outcome {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

fn quickstart() -> String {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    root.join("configs/quickstart.toml")
        .to_str()
        .unwrap()
        .to_owned()
}

fn show(set: &str) -> Outcome {
    call(&["config", "show", "--config", &quickstart(), "--set", set])
}

#[test]
fn a_wrong_setting_ends_with_2_and_says_what_to_do() {
    let outcome = show("optimizer.stpes=3");
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(2), ""));
    insta::assert_snapshot!(outcome.stderr, @r"
    error[config.unknown_key]: --set 'optimizer.stpes=3': `optimizer.stpes` is no setting

    hint: did you mean `steps`?
    ");
}

#[test]
fn what_does_not_fit_comes_with_what_would() {
    let outcome = show("attention={sink_len=100, window_len=1024, block_len=128}");
    assert_eq!(outcome.code, Some(2));
    insta::assert_snapshot!(outcome.stderr, @r"
    error[config.block]: --set 'attention={sink_len=100, window_len=1024, block_len=128}': `attention.sink_len` does not fit: sink_len = 100 is not a multiple of block_len = 128

    hint: use sink_len = 128, or block_len = 1 for the token-exact pattern
    ");
}

#[test]
fn usage_errors_end_with_2_and_help_with_0() {
    assert_eq!(call(&["no-such-command"]).code, Some(2));
    assert_eq!(call(&["config", "show", "--no-such-flag"]).code, Some(2));
    assert_eq!(call(&[]).code, Some(2));
    let help = call(&["--help"]);
    assert_eq!((help.code, help.stderr.as_str()), (Some(0), ""));
    assert!(help.stdout.contains("Exit codes"));
}

#[test]
fn a_full_disk_ends_with_4() {
    let full = std::fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let output = std::process::Command::new(assert_cmd::cargo::cargo_bin!("prulong"))
        .args(["config", "schema", "train"])
        .stdout(full)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(4));
    insta::assert_snapshot!(String::from_utf8(output.stderr).unwrap(), @r"
    error[io.stdout]: cannot write to standard output
      caused by: No space left on device (os error 28)
    ");
}

#[test]
fn a_reader_that_went_away_is_success() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = std::process::Command::new(assert_cmd::cargo::cargo_bin!("prulong"))
        .args(["config", "schema", "train"])
        .stdout(writer)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}

#[test]
fn the_resolved_configuration_is_itself_one() {
    let first = show("optimizer.steps=7");
    assert_eq!(first.code, Some(0), "{}", first.stderr);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("resolved.toml");
    std::fs::write(&path, &first.stdout).unwrap();
    let second = call(&["config", "show", "--config", path.to_str().unwrap()]);
    assert_eq!(first.stdout, second.stdout);
    assert!(first.stdout.contains("steps = 7\n"));
}

#[test]
fn schemas_describe_every_section() {
    let schema: serde_json::Value =
        serde_json::from_str(&call(&["config", "schema", "pretrain"]).stdout).unwrap();
    for section in [
        "seed",
        "tokenizer",
        "model",
        "corpus",
        "optimizer",
        "stage",
        "checkpoint",
    ] {
        assert!(schema["properties"][section].is_object(), "{section}");
    }
}

#[test]
#[expect(clippy::print_stderr, reason = "a test that did not run says so")]
fn a_device_that_is_not_there_ends_with_3_and_creates_nothing() {
    if call(&["doctor", "--json"])
        .stdout
        .contains("\"cuda\",\"status\":\"ok\"")
    {
        eprintln!("not run: this machine has a CUDA device");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let config = quickstart();
    let outcome = call(&[
        "train",
        "--config",
        &config,
        "--run-dir",
        run.to_str().unwrap(),
        "--set",
        "run.device=cuda",
    ]);
    assert_eq!(outcome.code, Some(3), "{}", outcome.stderr);
    assert!(
        outcome.stderr.starts_with("error[env."),
        "{}",
        outcome.stderr
    );
    assert!(
        outcome
            .stderr
            .ends_with("run `prulong doctor` to see what this machine lacks\n")
    );
    assert!(!run.exists());
}

#[test]
fn with_json_an_error_is_one_object_on_standard_error() {
    let outcome = call(&[
        "score",
        "--model",
        "no-such-model",
        "no-such-file",
        "--json",
    ]);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(2), ""));
    let value: serde_json::Value = serde_json::from_str(&outcome.stderr).unwrap();
    assert_eq!(
        (&value["schema"], &value["exit"]),
        (&"prulong.error/1".into(), &2.into())
    );
    assert!(value["message"].as_str().unwrap().contains("no-such"));
}
