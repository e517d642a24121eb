//! `prulong critical` on run folders made by hand.

use crate::hand_made_run::{Asked, Place, write};
use assert_cmd::cargo::cargo_bin_cmd;
use prulong::eval::results::Results;
use serde_json::Value;
use std::path::Path;

const RECALL: Asked<'static> = Asked {
    tasks: &["recall"],
    lengths: &[512],
    num_depths: 2,
    items_per_cell: 10,
    masks: &[],
    num_random: 0,
    words: &[],
};

fn critical(folder: &Path, extra: &[&str]) -> (Option<i32>, String, String) {
    let output = cargo_bin_cmd!("prulong")
        .arg("critical")
        .arg(folder)
        .args(extra)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

fn study(results: &Results, extra: &[&str]) -> (Value, String) {
    let place = tempfile::tempdir().unwrap();
    write(place.path(), results);
    let (code, json, stderr) = critical(place.path(), &[extra, &["--json"]].concat());
    assert_eq!(code, Some(0), "{stderr}");
    let (code, text, stderr) = critical(place.path(), extra);
    assert_eq!(code, Some(0), "{stderr}");
    (serde_json::from_str(&json).unwrap(), text)
}

/// Footprint and score in percent of full attention's, by the method's sparsity.
fn golden(place: &Place<'_>) -> (f64, f64) {
    match place.method {
        "snapkv:0.1" => (0.9, 0.95),
        "snapkv:0.3" => (0.7, 0.93),
        "snapkv:0.5" => (0.5, 0.85),
        "snapkv:0.6" => (0.4, 0.91),
        "snapkv:0.7" => (0.3, 0.70),
        "knorm:0.2" => (0.8, 0.5),
        "knorm:0.6" => (0.4, 0.1),
        "streaming-llm" => (0.1, 0.99),
        _ => (1.0, 1.0),
    }
}

#[test]
fn the_published_example_of_a_dip_has_both_figures() {
    let words = [
        "snapkv:0.1",
        "snapkv:0.3",
        "snapkv:0.5",
        "snapkv:0.6",
        "snapkv:0.7",
        "knorm:0.2",
        "knorm:0.6",
        "streaming-llm",
        "moba:top=1:block=32",
    ];
    let asked = Asked {
        words: &words,
        ..RECALL
    };
    let (study, text) = study(&asked.results(&golden), &[]);
    assert_eq!(study["schema"], "prulong.critical/1");
    let panel = &study["panels"][0];
    assert_eq!(panel["num_items"], 20);
    assert_eq!(panel["has_room"], true);
    let curves = panel["curves"].as_array().unwrap();
    let names: Vec<&str> = curves
        .iter()
        .map(|of| of["family"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["streaming-llm", "snapkv", "knorm"]);
    let found = |curve: usize| &curves[curve]["critical"]["found"];
    let value = |curve: usize, figure: &str| found(curve)[figure]["kv_footprint"].as_f64().unwrap();
    assert!(
        (value(1, "last_crossing") - 0.395_238_10).abs() < 1e-8,
        "{study}"
    );
    assert!((value(1, "first_crossing") - 0.625).abs() < 1e-8, "{study}");
    assert_eq!(found(1)["num_dips"], 1);
    assert_eq!(found(2)["last_crossing"]["kind"], "above");
    assert_eq!(found(0)["last_crossing"]["kind"], "below");
    assert_eq!(curves[1]["points"].as_array().unwrap().len(), 5);
    let relative = curves[1]["points"][0]["relative"].as_f64().unwrap();
    assert!((relative - 0.95).abs() < 1e-12, "{relative}");
    assert_eq!(panel["savers"][0]["title"], "moba:top=1:block=32");
    for words in [
        "tiny at 512 tokens, chunk 64",
        "100, n = 20",
        "~39.5",
        ">80.0",
        "<10.0",
        "~ recall, snapkv: the score falls below the line and recovers once; up to its first fall: 62.5",
        "recall: one item more or less moves to other points (margin in points of score): snapkv (1)",
    ] {
        assert!(text.contains(words), "{words} is missing:\n{text}");
    }
}

#[test]
fn masks_of_several_sizes_are_one_curve_that_ends_with_all_streaming() {
    let asked = Asked {
        tasks: &["recall", "json_kv"],
        masks: &[3, 2, 2],
        num_random: 2,
        words: &["all-streaming"],
        ..RECALL
    };
    let answer = |place: &Place<'_>| {
        let score = |share: f64| f64::from(u8::from(f64::from(place.index) < 20.0 * share));
        match place.method {
            "full" => (1.0, score(if place.task == "recall" { 1.0 } else { 0.5 })),
            "mask-1" => (0.8, score(1.0)),
            "mask-2" => (0.6, score(0.9)),
            "mask-3" => (0.6, score(0.8)),
            "all-streaming" => (0.2, 0.0),
            _ => (0.7, score(0.6)),
        }
    };
    let (study, text) = study(&asked.results(&answer), &[]);
    let panel = &study["panels"][0];
    let curves = panel["curves"].as_array().unwrap();
    assert_eq!(curves.len(), 2);
    let titles = |curve: usize| -> Vec<&str> {
        let points = curves[curve]["points"].as_array().unwrap();
        points
            .iter()
            .map(|point| point["title"].as_str().unwrap())
            .collect()
    };
    assert_eq!(titles(0), ["mask 3", "mask 2 x2", "all-streaming"]);
    assert_eq!(titles(1), ["random 3 x2", "random 2 x2", "all-streaming"]);
    assert_eq!(curves[0]["points"][1]["score"]["mean"], 0.85);
    // From (0.8, 1) to (0.6, 0.85): 0.9 is a third of the way up.
    let critical = &curves[0]["critical"];
    let at = critical["found"]["last_crossing"]["kv_footprint"]
        .as_f64()
        .unwrap();
    assert!((at - (0.6 + 0.2 / 3.0)).abs() < 1e-12, "{at}");
    let [low, high] =
        ["low", "high"].map(|end| critical["interval"][end]["kv_footprint"].as_f64().unwrap());
    assert!(low < at && at < high, "{low} {high}");
    let baseline = &critical["baseline"];
    assert_eq!(baseline["family"], "random");
    assert_eq!(
        baseline["by"]["low"],
        Value::Null,
        "random masks never pass: at least so much better"
    );
    assert!(curves[1]["critical"]["baseline"].is_null());
    assert_eq!(study["panels"][1]["has_room"], false);
    for words in [
        "warning: full attention has exact_tokens 0.50 on `json_kv` at 512 tokens, below 0.9",
        "50!, n = 20",
        "recall, mask less the best baseline, random: below -",
    ] {
        assert!(text.contains(words), "{words} is missing:\n{text}");
    }
}

#[test]
fn the_best_baseline_is_the_one_that_is_sure_of_the_least() {
    let asked = Asked {
        masks: &[2],
        words: &["snapkv:0.2", "knorm:0.6", "knorm:0.8"],
        ..RECALL
    };
    let answer = |place: &Place<'_>| match place.method {
        "snapkv:0.2" => (0.8, 1.0),
        "knorm:0.6" => (0.4, 1.0),
        "knorm:0.8" => (0.2, 0.8),
        "mask-1" => (0.25, 1.0),
        _ => (1.0, 1.0),
    };
    let (study, _) = study(&asked.results(&answer), &[]);
    let curves = study["panels"][0]["curves"].as_array().unwrap();
    let found = |family: &str| {
        let curve = curves.iter().find(|curve| curve["family"] == family);
        &curve.unwrap()["critical"]["found"]["last_crossing"]
    };
    assert_eq!(found("snapkv")["kind"], "below");
    assert_eq!(found("knorm")["kind"], "at");
    let baseline = &curves[0]["critical"]["baseline"];
    assert_eq!(baseline["family"], "knorm", "0.3 is surely below 0.8");
}

#[test]
fn items_that_a_method_failed_are_left_out_of_all() {
    let asked = Asked {
        words: &["knorm:0.2", "knorm:0.6"],
        ..RECALL
    };
    let mut results = asked.results(&golden);
    let methods = &mut results.parts[0].tasks[0].methods;
    for (method, item) in [(0, 3), (1, 3), (1, 4)] {
        methods[method].items[item].error = Some(prulong::eval::item_result::ItemError {
            code: "gpu.oom".to_owned(),
            message: "no room".to_owned(),
        });
    }
    let (study, text) = study(&results, &["--keep", "0.4"]);
    assert_eq!(study["panels"][0]["num_items"], 18);
    assert_eq!(study["panels"][0]["num_left_out"], 2);
    assert!(text.contains("2 items are left out"), "{text}");
    assert!(
        text.contains("70.0"),
        "from (0.8, 0.5) to (0.4, 0.1), 0.4 is a quarter down:\n{text}"
    );
}

#[test]
fn folders_that_cannot_be_read_back_end_with_2_and_the_place() {
    let place = tempfile::tempdir().unwrap();
    let results = RECALL.results(&golden);
    let refused = |words: &str| {
        let (code, stdout, stderr) = critical(place.path(), &[]);
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{stderr}");
        assert!(stderr.contains(words), "{words} is missing:\n{stderr}");
    };
    refused("it has no `results.json`");
    write(place.path(), &results);
    let path = place.path().join("predictions.jsonl");
    let whole = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = whole.lines().collect();
    std::fs::write(&path, lines[1..].join("\n") + "\n").unwrap();
    refused("counts 20 items of `full` on `recall`, `predictions.jsonl` holds 19");
    std::fs::write(&path, whole.replacen("\"kv\":{", "\"kw\":{", 1)).unwrap();
    refused("predictions.jsonl:1: not a prediction: ");
    std::fs::write(
        &path,
        whole.replacen("\"exact_tokens\":{", "\"accuracy\":{", 1),
    )
    .unwrap();
    refused(
        "predictions.jsonl:1: not a prediction: it has an answer and no score by `exact_tokens`",
    );
    std::fs::remove_file(&path).unwrap();
    refused("it has no `predictions.jsonl`");
    write(place.path(), &results);
    let path = place.path().join("results.json");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(
        &path,
        text.replacen("\"chunk_len\": 64", "\"chunk_len\": \"64\"", 1),
    )
    .unwrap();
    refused("results.json:");
}
