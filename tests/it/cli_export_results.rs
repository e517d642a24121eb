//! `prulong export-results`: the files of other harnesses, made of a run folder.

use crate::hand_made_run::{Asked, Place, fail, write};
use assert_cmd::cargo::cargo_bin_cmd;
use serde_json::Value;
use std::path::{Path, PathBuf};

const ASKED: Asked<'static> = Asked {
    tasks: &["recall", "copy_table"],
    lengths: &[256, 512],
    num_depths: 2,
    items_per_cell: 2,
    masks: &[2],
    num_random: 0,
    words: &["snapkv:0.5:window=8"],
};

fn answer(place: &Place<'_>) -> (f64, f64) {
    let footprint = if place.method == "full" { 1.0 } else { 0.625 };
    (footprint, if place.index == 0 { 0.25 } else { 1.0 })
}

/// Exit code, paths written, standard error.
fn export(run: &Path, layout: &str, extra: &[&str]) -> (Option<i32>, Vec<PathBuf>, String) {
    let output = cargo_bin_cmd!("prulong")
        .arg("export-results")
        .arg(run)
        .args(["--to", layout, "-o"])
        .arg(run.join("out"))
        .args(extra)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let paths = text.lines().map(PathBuf::from).collect();
    (
        output.status.code(),
        paths,
        String::from_utf8(output.stderr).unwrap(),
    )
}

/// A run folder, and the paths of its export below the output folder, sorted.
fn exported(layout: &str) -> (tempfile::TempDir, Vec<String>) {
    let place = tempfile::tempdir().unwrap();
    write(place.path(), &ASKED.results(&answer));
    let (code, paths, stderr) = export(place.path(), layout, &[]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(paths.iter().all(|path| path.is_file()));
    let below = |path: &PathBuf| {
        path.strip_prefix(place.path().join("out"))
            .unwrap()
            .display()
            .to_string()
    };
    let mut names: Vec<String> = paths.iter().map(below).collect();
    names.sort();
    (place, names)
}

fn read(place: &tempfile::TempDir, name: &str) -> String {
    std::fs::read_to_string(place.path().join("out").join(name)).unwrap()
}

fn json(place: &tempfile::TempDir, name: &str) -> Value {
    serde_json::from_str(&read(place, name)).unwrap()
}

#[test]
fn helmet_gets_a_file_and_its_score_for_every_task_length_and_seed() {
    let (place, names) = exported("helmet");
    assert_eq!(names.len(), 3 * 2 * 2 * 2, "methods, tasks, lengths, files");
    let name = "tiny__snapkv-0.5-window-8-chunk64/\
                recall_eval__in512_size4_shots0_sampFalsemax16min0t0.0p1.0_chatFalse_7.json";
    let whole = json(&place, name);
    assert_eq!(whole["args"]["input_max_length"], 512);
    let data = whole["data"].as_array().unwrap();
    assert_eq!(data.len(), 4);
    assert_eq!(data[0]["output"], "12, \"x\"\n");
    assert_eq!(data[0]["input_len"], 504);
    let metrics = &whole["metrics"];
    assert_eq!(
        metrics["exact_tokens"],
        serde_json::json!([0.25, 1.0, 1.0, 1.0])
    );
    assert_eq!(metrics["input_len"].as_array().unwrap().len(), 4);
    let averages = &whole["averaged_metrics"];
    assert_eq!(averages["exact_tokens"], 81.25, "in percent");
    assert_eq!(averages["output_len"], 8.0, "not in percent");
    assert_eq!(averages["kv_footprint"], 62.5);
    assert_eq!(
        averages["kv_peak"], 0.625,
        "HELMET leaves peaks as they are"
    );
    assert_eq!(json(&place, &format!("{name}.score")), *averages);
    // 4 items of 9.5 ms.
    assert!((whole["throughput"].as_f64().unwrap() - 4.0 / 0.038).abs() < 1e-6);
}

#[test]
fn lm_eval_gets_results_with_lengths_as_names_and_samples_for_every_task() {
    let (place, names) = exported("lm-eval");
    assert_eq!(names.len(), 3 * (1 + 2));
    let time = names[0]
        .split("results_")
        .nth(1)
        .unwrap()
        .trim_end_matches(".json");
    assert_eq!(time.len(), "2026-01-31T09-05-00".len());
    let whole = json(&place, &format!("tiny__full-chunk64/results_{time}.json"));
    for key in [
        "results",
        "groups",
        "group_subtasks",
        "configs",
        "versions",
        "n-shot",
        "higher_is_better",
        "n-samples",
        "config",
        "git_hash",
        "date",
        "task_hashes",
        "chat_template",
        "model_name",
        "total_evaluation_time_seconds",
    ] {
        assert!(whole.get(key).is_some(), "{key}");
    }
    let recall = &whole["results"]["recall"];
    assert_eq!(recall["alias"], "recall");
    assert_eq!(recall["exact_tokens,none"], 0.8125);
    assert_eq!(recall["512,none"], 0.8125);
    let error = recall["512_stderr,none"].as_f64().unwrap();
    assert!(
        (error - 0.1875).abs() < 1e-12,
        "0.75 / 2 / root of 4: {error}"
    );
    assert_eq!(whole["n-samples"]["recall"]["effective"], 8);
    let samples = read(
        &place,
        &format!("tiny__full-chunk64/samples_copy_table_{time}.jsonl"),
    );
    let samples: Vec<Value> = samples
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(samples.len(), 8);
    for (id, sample) in samples.iter().enumerate() {
        assert_eq!(sample["doc_id"], id);
        assert_eq!(sample["resps"][0][0], "12, \"x\"\n");
        assert_eq!(sample["filter"], "none");
        assert_eq!(sample["doc_hash"].as_str().unwrap().len(), 64);
        assert!(
            sample["arguments"]["gen_args_0"]["arg_0"]
                .as_str()
                .unwrap()
                .starts_with("blake3:")
        );
        assert!(sample["row_f1"].is_number());
    }
}

#[test]
fn lm_eval_gets_no_score_of_what_was_not_answered() {
    let place = tempfile::tempdir().unwrap();
    let mut results = ASKED.results(&answer);
    let methods = &mut results.parts[0].tasks[0].methods;
    fail(&mut methods[0], |item| item.length_target == 512, "no room");
    fail(&mut methods[1], |_| true, "no room");
    write(place.path(), &results);
    let (code, paths, stderr) = export(place.path(), "lm-eval", &[]);
    assert_eq!(code, Some(0), "{stderr}");
    let recall = |method: &str| {
        let mut paths = paths.iter().map(|path| path.display().to_string());
        let is_whole = |path: &String| path.contains(method) && path.contains("/results_");
        let text = std::fs::read_to_string(paths.find(is_whole).unwrap()).unwrap();
        serde_json::from_str::<Value>(&text).unwrap()["results"]["recall"].clone()
    };
    let full = recall("__full-");
    assert!(full["exact_tokens,none"].is_number() && full["256,none"].is_number());
    assert!(full.get("512,none").is_none() && full.get("512_stderr,none").is_none());
    let nothing = serde_json::json!({"alias": "recall", "sample_len": 0});
    assert_eq!(recall("__mask-"), nothing);
}

#[test]
fn kvpress_gets_a_folder_for_every_length_named_by_method_and_ratio() {
    let (place, names) = exported("kvpress");
    assert_eq!(names.len(), 3 * 2 * 3);
    let folder = "prulong__512__tiny__mask-chunk64__0.38__query_aware";
    let metrics = json(&place, &format!("{folder}/metrics.json"));
    assert_eq!(metrics["recall"]["exact_tokens"], 81.25);
    assert_eq!(
        metrics["recall"]["string_match"], 100.0,
        "the output holds the answer"
    );
    let csv = read(&place, &format!("{folder}/predictions.csv"));
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let columns: Vec<String> = reader
        .headers()
        .unwrap()
        .iter()
        .map(str::to_owned)
        .collect();
    let expected =
        "question,answer_prefix,answer,task,max_new_tokens,predicted_answer,compression_ratio";
    assert_eq!(columns.join(","), expected);
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 2 * 4);
    let row: Vec<&str> = rows[0].iter().collect();
    assert_eq!(
        row,
        [
            "what is \"x\"?",
            "value: ",
            "[\"12\"]",
            "recall",
            "16",
            "12, \"x\"\n",
            "0.375"
        ]
    );
    let config = read(&place, &format!("{folder}/config.yaml"));
    for line in [
        "press_name: \"mask\"",
        "compression_ratio: 0.375",
        "query_aware: true",
        "data_dir: \"512\"",
    ] {
        assert!(
            config.lines().any(|found| found == line),
            "{line}: {config}"
        );
    }
}

#[test]
fn an_export_is_repeated_for_nothing_and_overwrites_nothing() {
    let (place, names) = exported("helmet");
    let (code, again, stderr) = export(place.path(), "helmet", &[]);
    assert_eq!((code, again.len()), (Some(0), names.len()), "{stderr}");
    let path = place.path().join("out").join(&names[0]);
    std::fs::write(&path, "mine").unwrap();
    let (code, _, stderr) = export(place.path(), "helmet", &[]);
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("[results.exists_differs]"), "{stderr}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
    let (code, ..) = export(place.path(), "helmet", &["--force"]);
    assert_eq!(code, Some(0));
    assert_ne!(std::fs::read_to_string(&path).unwrap(), "mine");
}
