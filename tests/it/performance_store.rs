//! `examples/performance/store.rs`: runs are appended to the right files, whole or not at all.

use crate::performance::machine::{Processor, Source, slug};
use crate::performance::{TableError, call, results, store};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// A line of `cargo bench --bench engine`.
fn line(case: &str, ms: f64, device: Option<&str>) -> String {
    let line = json!({
        "case": case, "samples_ms": [ms], "cpu_ms": [ms], "tokens_per_s": 0.1, "mb_per_s": null, "peak_rss_bytes": 7,
        "backend": "cpu-fused", "threads": 2, "span": null, "roofline_share": null, "gb_per_s": null, "device": device,
    });
    format!("{line}\n")
}

/// Stores `lines` in `folder` as a run of `command` and returns the names of the files.
fn stored(folder: &Path, lines: &str, command: &str) -> Result<Vec<String>, TableError> {
    let processor = Processor {
        label: "cpu-avx512".to_owned(),
        description: "Some CPU, AVX512".to_owned(),
    };
    let source = Source {
        commit: "0123456789abcdef".to_owned(),
        is_clean: true,
        ..Source::default()
    };
    let run = store::Run {
        source: &source,
        command,
        date: "2026-12-01".to_owned(),
        processor: &processor,
    };
    let paths = run.store((Path::new("bench.jsonl"), lines), folder)?;
    let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
    Ok(paths.iter().map(name).collect())
}

fn read(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap().flatten();
    let mut names: Vec<_> = entries
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn cases_go_to_the_files_of_their_kind_and_device() {
    let folder = tempfile::tempdir().unwrap();
    let lines = [
        line("step/tiny/1024/f32/x", 1.0, None),
        line("attention/32/4096/full/cpu-fused", 2.0, None),
        line("kernel/rope/8192x4096", 3.0, Some("NVIDIA H200")),
        line("pack", 4.0, None),
    ];
    let files = stored(folder.path(), &lines.concat(), "a command").unwrap();
    let expected = [
        "attention-cpu-avx512.json",
        "engine-cpu-avx512.json",
        "kernels-nvidia-h200.json",
    ];
    assert_eq!(files, expected);
    assert_eq!(names(folder.path()), expected);
    let engine = read(&folder.path().join("engine-cpu-avx512.json"));
    let run = &engine[0];
    assert_eq!(run["commit"], "0123456789abcdef");
    assert_eq!(run["is_clean"], true);
    assert_eq!(run["command"], "a command");
    assert_eq!(run["date"], "2026-12-01");
    assert_eq!(run["device"], "Some CPU, AVX512");
    assert!(
        run["versions"]["libtorch"]
            .as_str()
            .unwrap()
            .starts_with("2.")
    );
    assert_eq!(run["results"].as_array().unwrap().len(), 2);
    assert_eq!(
        run["results"][1],
        json!({"case": "pack", "samples_ms": [4.0], "cpu_ms": [4.0], "tokens_per_s": 0.1, "peak_rss_bytes": 7,
            "backend": "cpu-fused", "threads": 2})
    );
    let kernels = read(&folder.path().join("kernels-nvidia-h200.json"));
    assert_eq!(kernels[0]["device"], "NVIDIA H200");
}

#[test]
fn appending_keeps_earlier_runs_and_the_last_one_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let case = "attention/32/4096/full/cpu-fused";
    for ms in [1.0, 2.0] {
        stored(folder.path(), &line(case, ms, None), "a command").unwrap();
    }
    let path = folder.path().join("attention-cpu-avx512.json");
    let runs = read(&path);
    let times = [0, 1].map(|run| runs[run]["results"][0]["cpu_ms"][0].as_f64().unwrap());
    assert_eq!((times, runs.as_array().unwrap().len()), ([1.0, 2.0], 2));
    let shown = results::load(folder.path()).unwrap().attention;
    assert_eq!(shown.len(), 1);
    assert_eq!(shown[0].result.cpu_ms, [2.0]);
    assert_eq!(
        (shown[0].machine.as_str(), shown[0].commit.as_str()),
        ("AVX512", "0123456")
    );
    let error = stored(folder.path(), &line(case, 2.0, None), "a command").unwrap_err();
    let text = format!("`{}` holds these results already", path.display());
    assert_eq!(error.to_string(), text);
}

#[test]
fn other_programs_runs_are_left_byte_for_byte() {
    let folder = tempfile::tempdir().unwrap();
    let name = "attention-cpu-avx512.json";
    let ours = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("benches/results")
        .join(name);
    let before = std::fs::read_to_string(ours).unwrap();
    std::fs::write(folder.path().join(name), &before).unwrap();
    stored(
        folder.path(),
        &line("attention/8/9/full/cpu-fused", 1.0, None),
        "a command",
    )
    .unwrap();
    let after = std::fs::read_to_string(folder.path().join(name)).unwrap();
    assert!(after.starts_with(before.trim_end_matches("\n]\n")));
}

#[test]
fn a_torn_file_is_refused_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let lines = line("attention/32/4096/full/cpu-fused", 1.0, None) + &line("pack", 1.0, None);
    let torn = folder.path().join("engine-cpu-avx512.json");
    std::fs::write(&torn, "[\n {\n  \"commit\": \"01").unwrap();
    let error = stored(folder.path(), &lines, "a command").unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("`{}` holds no results", torn.display())
    );
    assert_eq!(names(folder.path()), ["engine-cpu-avx512.json"]);

    let other = tempfile::tempdir().unwrap();
    for (lines, text) in [
        ("\n", "`bench.jsonl` holds no case"),
        (&lines[..lines.len() - 9], "`bench.jsonl` holds no results"),
        ("{\"case\": \"pack\"}", "`bench.jsonl` holds no results"),
    ] {
        let error = stored(other.path(), lines, "a command").unwrap_err();
        assert_eq!(error.to_string(), text);
        assert!(names(other.path()).is_empty());
    }
}

#[test]
fn lines_that_are_older_than_the_commit_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bench.jsonl");
    std::fs::write(&file, line("pack", 1.0, None)).unwrap();
    let source = Source::of(Path::new(env!("CARGO_MANIFEST_DIR")));
    if source.commit.is_empty() {
        return;
    }
    let written = file.metadata().unwrap().modified().unwrap();
    source.check(&file, written).unwrap();
    let error = source.check(&file, UNIX_EPOCH).unwrap_err().to_string();
    let commit = &source.commit[..7];
    assert!(
        error.contains(&format!("was written before the commit `{commit}`")),
        "{error}"
    );
}

#[test]
fn the_command_line_stores_and_says_where() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bench.jsonl");
    let results = folder.path().join("results");
    std::fs::create_dir(&results).unwrap();
    std::fs::write(&file, line("pack", 1.0, None)).unwrap();
    let words = [
        "performance",
        "store",
        file.to_str().unwrap(),
        "--results",
        results.to_str().unwrap(),
    ];
    assert_eq!(call(words.map(OsString::from)), 0);
    let name = format!("engine-{}.json", Processor::here().label);
    assert_eq!(names(&results), [name.as_str()]);
    // No work tree: nothing is known of the source, so nothing is claimed.
    let run = &read(&results.join(name))[0];
    assert_eq!(
        (&run["commit"], &run["is_clean"]),
        (&json!(""), &json!(false))
    );
    assert_eq!(run["command"], "cargo bench --bench engine");
    let day = run["date"].as_str().unwrap();
    let parts: Vec<u32> = day.split('-').map(|part| part.parse().unwrap()).collect();
    assert!(
        day.len() == 10 && parts.len() == 3 && parts[0] >= 2026,
        "{day}"
    );
    assert_eq!(call(words.map(OsString::from)), 2, "it is there already");
}

#[test]
fn names_are_written_as_files_of_results_have_them() {
    assert_eq!(slug("NVIDIA A100-SXM4-80GB"), "nvidia-a100-sxm4-80gb");
    assert_eq!(slug("GPU (X)"), "gpu-x");
    let here = Processor::here();
    assert!(here.label.starts_with("cpu-"));
    let set = here.description.rsplit(", ").next().unwrap();
    assert_eq!(here.label, format!("cpu-{}", set.to_lowercase()));
}
