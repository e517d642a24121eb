//! `prulong doctor` as a user runs it.

use assert_cmd::cargo::cargo_bin_cmd;
use serde_json::Value;

fn doctor(args: &[&str], folder: &std::path::Path) -> (i32, Value, String) {
    let output = cargo_bin_cmd!("prulong")
        .arg("doctor")
        .args(args)
        .current_dir(folder)
        .env_remove("LD_LIBRARY_PATH")
        .output()
        .unwrap();
    let stdout = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code().unwrap(), stdout, stderr)
}

/// The run path alone finds libtorch, wherever the program is started.
#[test]
fn a_healthy_machine_from_any_folder() {
    let folder = tempfile::tempdir().unwrap();
    let (code, report, stderr) = doctor(&["--json"], folder.path());
    assert_eq!(code, 0, "{report} {stderr}");
    assert_eq!(report["schema"], "prulong.doctor/1");
    assert_eq!(report["checks"][0]["values"]["found"], "2.11.0");
    let checks = report["checks"].as_array().unwrap();
    let cpu = checks.iter().find(|check| check["name"] == "cpu").unwrap();
    let dtype = cpu["values"]["dtype"].as_str().unwrap();
    assert!(["f32", "bf16"].contains(&dtype), "{dtype}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_broken_check_ends_with_3_and_prints_its_fix() {
    let folder = tempfile::tempdir().unwrap();
    let (code, report, stderr) = doctor(&["--json", "--dir", "missing"], folder.path());
    assert_eq!(code, 3);
    assert_eq!(report["healthy"], false);
    let broken = report["checks"]
        .as_array()
        .unwrap()
        .iter()
        .find(|check| check["status"] == "broken");
    assert_eq!(
        broken.unwrap()["fix"],
        "name an existing folder with `--dir`"
    );
    assert!(stderr.contains("env.unhealthy"), "{stderr}");
}
