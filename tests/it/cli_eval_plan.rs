//! `prulong eval --dry-run` and `--limit`: what would be run, and a part of it.

use crate::cli_eval::Desk;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;

const ASKED: [&str; 8] = [
    "--task",
    "json_kv,recall",
    "--lengths",
    "160,200",
    "--chunk",
    "32,64",
    "--mask",
    "mask",
];

const METHODS: [&str; 2] = ["--method", "snapkv:0.5:window=8:head"];

/// Every file below the desk with its bytes.
fn files(desk: &Desk) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![desk.path("")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let bytes = std::fs::read(&path).unwrap();
                found.insert(path, bytes);
            }
        }
    }
    found
}

/// A dry run that must change nothing.
fn forecast(desk: &Desk, extra: &[&str]) -> Value {
    let before = files(desk);
    let asked = [&ASKED[..], &METHODS, &["--dry-run", "--json"], extra].concat();
    let (code, stdout, stderr) = desk.eval(&asked);
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(files(desk), before);
    serde_json::from_str(&stdout).unwrap()
}

#[test]
fn a_dry_run_names_the_matrix_and_what_the_run_then_costs() {
    let desk = Desk::new();
    let run = [&ASKED[..], &METHODS, &["--run-dir", "run"]].concat();
    let planned = forecast(&desk, &["--run-dir", "run"]);
    assert_eq!(planned["schema"], "prulong.forecast/1");
    assert_eq!(planned["total"]["num_items"], 2 * 2 * 3 * 4);
    assert_eq!(planned["total"]["num_finished"], 0);
    let (code, _, stderr) = desk.eval(&run);
    assert_eq!(code, Some(0), "{stderr}");
    let predictions = desk.predictions("run");
    let sum = |key: &str| -> u64 {
        let sizes = predictions.iter().map(|of| of["tokens"][key].as_u64());
        sizes.map(Option::unwrap).sum()
    };
    assert_eq!(planned["total"]["num_prompt_tokens"], sum("prompt"));
    assert_eq!(planned["total"]["num_new_tokens"], sum("output"));
    let results = desk.json("run/results.json");
    for (part, found) in [0, 1].map(|at| (&planned["parts"][at], &results["parts"][at])) {
        assert_eq!(part["model"], found["model"]);
        assert_eq!(part["chunk_len"], found["chunk_len"]);
        assert_eq!(part["masks"], found["masks"]);
        for (task, method) in [0, 1]
            .map(|at| [0, 1, 2].map(|of| (at, of)))
            .into_iter()
            .flatten()
        {
            let planned = &part["tasks"][task]["methods"][method];
            let found = &found["tasks"][task]["methods"][method];
            assert_eq!(planned["name"], found["name"]);
            let lengths = planned["lengths"].as_array().unwrap();
            let footprint = |of: &Value| of["kv_footprint"].as_f64().unwrap();
            let mean = |key: &str| -> f64 {
                let sum: f64 = lengths.iter().map(|of| footprint(&of[key])).sum();
                sum / f64::from(u32::try_from(lengths.len()).unwrap())
            };
            let summary = &found["summary"];
            assert!((mean("kv_formula") - footprint(&summary["kv_formula"])).abs() < 1e-12);
            let peak = lengths.iter().map(|of| of["kv_peak_bytes"].as_u64());
            let (most, counted) = (peak.max().unwrap().unwrap(), &summary["kv_peak_bytes"]);
            if lengths[0]["kv_at_most"].is_null() {
                assert_eq!(most, counted.as_u64().unwrap());
            } else {
                assert!(most >= counted.as_u64().unwrap());
                assert!(mean("kv_at_most") >= footprint(&summary["kv_counted"]));
            }
        }
    }
    let finished = forecast(&desk, &["--run-dir", "run"])["total"].clone();
    assert_eq!(finished["num_finished"], finished["num_items"]);
    assert_eq!(finished["num_prompt_tokens"], 0);
}

#[test]
fn a_dry_run_is_a_table_too() {
    let desk = Desk::new();
    let (code, stdout, stderr) = desk.eval(&[&ASKED[..], &METHODS, &["--dry-run"]].concat());
    assert_eq!(code, Some(0), "{stderr}");
    for words in [
        "recall on model, chunk 64, sliding with sink 4 and window 16; KV by formula",
        "footprint 160",
        "mask 2 (mask/head_mask.safetensors)",
        "snapkv:0.5:head:window=8",
        "in all: 48 items, 0 of them finished; ",
    ] {
        assert!(stdout.contains(words), "{words}:\n{stdout}");
    }
    assert_eq!(stdout.lines().count(), 4 * 6 + 1, "{stdout}");
}

#[test]
fn a_dry_run_refuses_what_the_run_would_refuse() {
    let desk = Desk::new();
    std::fs::create_dir(desk.path("taken")).unwrap();
    std::fs::write(desk.path("taken/thesis.tex"), "precious").unwrap();
    let short = ["--lengths", "160", "--run-dir", "run"];
    assert_eq!(desk.eval(&short).0, Some(0));
    let before = files(&desk);
    for (extra, code) in [
        (&["--lengths", "513"][..], "eval.lengths"),
        (
            &["--lengths", "160", "--run-dir", "taken"],
            "run.foreign_files",
        ),
        (
            &["--lengths", "200", "--run-dir", "run"],
            "run.config_changed",
        ),
        (&["--mask", "foreign"], "mask.base_arch"),
        (
            &["--chunk", "32", "--method", "snapkv:0.5:patch"],
            "eviction.patch",
        ),
    ] {
        let (found, _, stderr) = desk.eval(&[extra, &["--dry-run"]].concat());
        assert_eq!(found, Some(2), "{extra:?}: {stderr}");
        assert!(stderr.contains(&format!("[{code}]")), "{extra:?}: {stderr}");
    }
    assert_eq!(files(&desk), before);
}

#[test]
fn a_limit_runs_the_first_items_and_the_rest_follows_later() {
    let desk = Desk::new();
    let run = |dir: &str, extra: &[&str]| {
        let (code, stdout, stderr) = desk.eval(&[&ASKED[..], &["--run-dir", dir], extra].concat());
        assert_eq!(code, Some(0), "{stderr}");
        stdout
    };
    let table = run("part", &["--limit", "1"]);
    assert!(
        table.contains("warning: at most 1 items of each task"),
        "{table}"
    );
    let first = desk.predictions("part");
    assert_eq!(first.len(), 2 * 2 * 2 * 2);
    assert!(first.iter().all(|of| of["depth_index"] == 0));
    let summary = &desk.json("part/results.json")["parts"][0]["tasks"][0]["methods"][0]["summary"];
    assert_eq!(
        (&summary["num_items"], &summary["num_expected"]),
        (&2.into(), &4.into())
    );
    run("part", &[]);
    run("a whole", &["--limit", "9"]);
    let log = std::fs::read_to_string(desk.path("a whole/log.txt")).unwrap();
    assert!(log.contains("--run-dir 'a whole' --limit 9"), "{log}");
    let timeless = |dir: &str| {
        let mut lines = desk.predictions(dir);
        for line in &mut lines {
            line["timing"] = Value::Null;
        }
        lines
    };
    let (part, whole) = (timeless("part"), timeless("a whole"));
    assert_eq!(part, whole);
    let kept = |line: &Value| first.iter().any(|of| of["timing"] == line["timing"]);
    assert_eq!(
        desk.predictions("part")
            .iter()
            .filter(|line| kept(line))
            .count(),
        first.len()
    );
    // The last command asked for less than the folder holds: its results are made of its own answers.
    run("part", &["--limit", "1"]);
    assert_eq!(desk.predictions("part").len(), whole.len());
    let read = |words: &[&str]| {
        let (code, stdout, stderr) = desk.run(words);
        assert_eq!(code, Some(0), "{words:?}: {stderr}");
        stdout
    };
    let study: Value = serde_json::from_str(&read(&["critical", "part", "--json"])).unwrap();
    let panels = study["panels"].as_array().unwrap();
    assert!(panels.iter().all(|panel| panel["num_items"] == 1));
    assert_eq!(panels.len(), 2 * 2 * 2);
    read(&["report", "part"]);
    read(&["export-results", "part", "--to", "helmet", "-o", "out"]);
    let left = forecast(&desk, &["--limit", "1"])["total"].clone();
    assert_eq!(left["num_items"], 2 * 2 * 3 * 2);
}
