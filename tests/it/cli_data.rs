//! `prulong data`: rows as JSON and as text, counts, and datasets that are not sound.

use crate::mds_reader::fixtures;
use assert_cmd::cargo::cargo_bin_cmd;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Output;

fn data(action: &str, dir: &Path, flags: &[&str]) -> Output {
    cargo_bin_cmd!("prulong")
        .args(["data", action])
        .arg(dir)
        .args(flags)
        .output()
        .unwrap()
}

fn stdout(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn rows(dir: &str, flags: &[&str]) -> Vec<Value> {
    let output = data(
        "inspect",
        &fixtures().join(dir),
        &[&["--json"], flags].concat(),
    );
    let rows = stdout(&output);
    rows.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn inspect_prints_one_object_per_row_with_every_column_raw() {
    let all = rows("sft-raw", &[]);
    assert_eq!(all.len(), 5);
    assert_eq!(all[1]["row"], 1);
    assert_eq!(
        all[1]["columns"]["indices"],
        json!([[0, 20], [20, 50], [50, 64]])
    );
    assert_eq!(all[1]["columns"]["length"], 64);
    assert_eq!(all[1]["columns"]["mask"].as_array().unwrap().len(), 64);
    assert_eq!(rows("sft-raw", &["--start", "1", "-n", "2"]), all[1..3]);
    assert_eq!(rows("codec-gz", &[]), all);
    let encodings = rows("all-encodings", &[]);
    assert_eq!(encodings[1]["columns"]["a_bytes"], "00ff0101");
    assert_eq!(encodings[1]["columns"]["e_u64"], json!(u64::MAX - 1));
}

#[test]
fn inspect_without_json_shows_documents() {
    let output = data("inspect", &fixtures().join("packed-raw"), &["-n", "2"]);
    let text = stdout(&output);
    assert!(
        text.contains("domain code, 512 tokens, 3 documents"),
        "{text}"
    );
    assert!(
        text.contains("  [0, 100) 100 tokens: 128000 100530"),
        "{text}"
    );
    let text = stdout(&data("inspect", &fixtures().join("all-encodings"), &[]));
    assert!(text.contains("  b_str: \"plain\""), "{text}");
}

#[test]
fn stats_count_documents_and_what_a_mixture_gives() {
    let dir = fixtures().join("packed-raw");
    let text = stdout(&data("stats", &dir, &["--json"]));
    let stats: Value = serde_json::from_str(&text).unwrap();
    let stream = &stats["streams"][0];
    assert_eq!(
        stream["stats"]["total"],
        json!({"rows": 10, "documents": 270, "tokens": 73_783})
    );
    assert_eq!(stream["stats"]["longest_row"], 70_000);
    assert_eq!(stream["stats"]["domains"]["code"]["documents"], 3);
    assert_eq!(stream["token_share"], 1.0);
    let other = fixtures().join("sft-raw").display().to_string() + "#3";
    let text = stdout(&data("stats", &dir, &[other.as_str()]));
    assert!(text.contains("of the mixture: 15 rows per epoch"), "{text}");
    assert!(
        text.contains("8192 to 16383") || text.contains("16384 to 32767"),
        "{text}"
    );
}

#[test]
fn unsound_datasets_end_with_exit_code_2() {
    let broken = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(fixtures().join("packed-raw"))
        .unwrap()
        .flatten()
    {
        std::fs::copy(entry.path(), broken.path().join(entry.file_name())).unwrap();
    }
    assert!(stdout(&data("verify", broken.path(), &[])).contains("10 rows in 5 shards are sound"));
    let shard = broken.path().join("shard.00004.mds");
    let mut bytes = std::fs::read(&shard).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&shard, bytes).unwrap();
    let check = |action: &str, dir: &Path, code: &str| {
        let output = data(action, dir, &[]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(&format!("error[{code}]")), "{stderr}");
    };
    check("verify", broken.path(), "mds.hash");
    check("stats", broken.path(), "mds.hash");
    check("inspect", &fixtures().join("bad-pickle"), "mds.encoding");
    check("inspect", &fixtures().join("splits"), "mds.index");
    check("stats", &fixtures().join("all-encodings"), "mds.columns");
}
