//! `prulong eval` on the user's files of published evaluations.

use crate::cli_eval::Desk;
use serde_json::{Value, json};

const ASKED: [&str; 6] = ["--ruler", "ruler", "--lengths", "200", "--chunk", "32"];

/// A desk with two of RULER's files, the second item of one of which is too long.
fn desk() -> Desk {
    let desk = Desk::new();
    write(
        &desk,
        "niah_single_1",
        &[row("It is 77.", "77"), row("It is 78.", "78")],
    );
    write(
        &desk,
        "vt",
        &[
            row("Let A be 5.", "A"),
            row(&"Let B be 6. ".repeat(60), "B"),
        ],
    );
    desk
}

fn row(context: &str, answer: &str) -> Value {
    json!({"index": 0, "input": format!("{context}\nWhat?"), "outputs": [answer], "answer_prefix": " It is", "length": 9})
}

fn write(desk: &Desk, task: &str, rows: &[Value]) {
    let folder = desk.path("ruler").join(task);
    std::fs::create_dir_all(&folder).unwrap();
    let lines: Vec<String> = rows.iter().map(Value::to_string).collect();
    std::fs::write(folder.join("validation_200.jsonl"), lines.join("\n")).unwrap();
}

fn run(desk: &Desk, extra: &[&str]) -> (Option<i32>, String, String) {
    desk.eval_over(&[&ASKED[..], extra].concat())
}

#[test]
fn a_suite_asks_what_is_there_and_says_what_is_not() {
    let desk = desk();
    let asked = [
        "--suite",
        "ruler",
        "--run-dir",
        "run",
        "--on-overflow",
        "skip",
    ];
    let (code, stdout, stderr) = run(&desk, &asked);
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    assert!(
        stderr.contains("left out: ruler_cwe: there is no `"),
        "{stderr}"
    );
    let predictions = desk.predictions("run");
    let seen: Vec<(&str, &str)> = predictions
        .iter()
        .map(|of| (of["task"].as_str().unwrap(), of["id"].as_str().unwrap()))
        .collect();
    assert_eq!(
        seen,
        [
            ("ruler_niah_single_1", "200-1"),
            ("ruler_niah_single_1", "200-2"),
            ("ruler_vt", "200-1")
        ]
    );
    assert_eq!(predictions[1]["origin"]["source"], "validation_200.jsonl:2");
    assert_eq!(predictions[0]["question"], "What?");
    assert_eq!(predictions[0]["depth"], Value::Null);
    let results = desk.json("run/results.json");
    let warnings = results["warnings"].to_string();
    assert!(
        warnings.contains("files are missing: ") && warnings.contains("ruler_qa_2"),
        "{warnings}"
    );
    assert!(
        warnings.contains("ruler_vt: 1 items that are too long were left out"),
        "{warnings}"
    );
    let tasks = results["parts"][0]["tasks"].as_array().unwrap();
    assert_eq!(tasks[1]["methods"][0]["summary"]["num_expected"], 1);
    assert_eq!(tasks[1]["task"]["collection"], "ruler");
    let categories = results["parts"][0]["categories"].as_array().unwrap();
    let partial = |at: usize| (&categories[at]["collection"], &categories[at]["partial"]);
    assert_eq!(
        partial(0),
        (&json!("ruler"), &json!(true)),
        "{categories:?}"
    );
    assert_eq!(
        partial(1),
        (&json!("ruler"), &json!(false)),
        "{categories:?}"
    );
}

#[test]
fn the_same_files_go_on_and_others_are_another_evaluation() {
    let desk = desk();
    let asked = ["--task", "ruler_niah_single_1", "--run-dir", "run"];
    let (code, _, stderr) = run(&desk, &asked);
    assert_eq!(code, Some(0), "{stderr}");
    let predictions = desk.predictions("run");
    // The same command again runs nothing, other files are another evaluation.
    let (code, _, stderr) = run(&desk, &asked);
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(desk.predictions("run"), predictions);
    write(&desk, "niah_single_1", &[row("It is 79.", "79")]);
    let (code, _, stderr) = run(&desk, &asked);
    assert_eq!(code, Some(2), "{stderr}");
    assert!(
        stderr.contains("[run.config_changed]") && stderr.contains("files_of_ruler_niah_single_1"),
        "{stderr}"
    );
    // Its page and its exports can be made.
    for layout in ["helmet", "lm-eval", "kvpress"] {
        let output = assert_cmd::cargo::cargo_bin_cmd!("prulong")
            .args(["export-results", "--to", layout, "-o"])
            .arg(desk.path(layout))
            .arg(desk.path("run"))
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    assert!(
        std::fs::read_to_string(desk.path("run/report.html"))
            .unwrap()
            .contains("ruler_niah_single_1")
    );
}

#[test]
fn an_item_that_is_too_long_fails_alone() {
    let desk = desk();
    let (code, stdout, stderr) = run(&desk, &["--task", "ruler_vt", "--run-dir", "run"]);
    assert_eq!(code, Some(1), "{stdout}{stderr}");
    let predictions = desk.predictions("run");
    assert_eq!(predictions.len(), 2);
    assert_eq!(predictions[1]["error"]["code"], "task.length");
    let message = predictions[1]["error"]["message"].as_str().unwrap();
    assert!(message.contains("validation_200.jsonl:2"), "{message}");
    let (code, _, stderr) = run(
        &desk,
        &[
            "--task",
            "ruler_vt",
            "--on-overflow",
            "cut",
            "--run-dir",
            "cut",
        ],
    );
    assert_eq!(code, Some(0), "{stderr}");
    let cut = &desk.predictions("cut")[1];
    assert!(
        cut["origin"]["truncated"]["tokens"].as_u64().unwrap() > 0,
        "{cut}"
    );
    assert_eq!(cut["origin"]["truncated"]["gold_lost"], false);
}

#[test]
fn what_cannot_be_asked_is_refused_before_anything_runs() {
    let desk = desk();
    for (extra, code, words) in [
        (
            &["--task", "ruler_cwe"][..],
            "task.file_missing",
            "cwe/validation_200.jsonl",
        ),
        (&["--task", "kilt_nq"], "task.length", "4096"),
        (
            &[
                "--task",
                "helmet_json_kv",
                "--lengths",
                "512",
                "--helmet",
                "ruler",
            ],
            "task.length",
            "4096",
        ),
        (&["--task", "path_traversal_2k"], "task.files", "--longproc"),
        (&["--suite", "helmet"], "config.value", "4096"),
        (
            &["--task", "ruler_vt", "--prompts", "text"],
            "task.wording",
            "a.toml",
        ),
    ] {
        if extra.contains(&"--prompts") {
            std::fs::write(desk.path("text/a.toml"), "").unwrap();
        }
        let (found, _, stderr) = run(&desk, &[extra, &["--run-dir", "run"]].concat());
        assert_eq!(found, Some(2), "{extra:?}\n{stderr}");
        assert!(
            stderr.contains(&format!("[{code}]")) && stderr.contains(words),
            "{extra:?}\n{stderr}"
        );
        assert!(!desk.path("run").exists());
    }
    let (found, _, stderr) = desk.eval_over(&["--suite", "helmet", "--lengths", "4096"]);
    assert_eq!(found, Some(2), "{stderr}");
    assert!(stderr.contains("with --helmet"), "{stderr}");
}

#[test]
fn the_list_says_what_is_at_hand_and_a_dry_run_what_is_left_out() {
    let desk = desk();
    let (_, table, _) = run(&desk, &["--list"]);
    let line = |name: &str| {
        table
            .lines()
            .find(|line| line.starts_with(name))
            .unwrap()
            .to_owned()
    };
    assert!(
        line("ruler_vt ").contains(" yes ") && line("ruler_cwe ").contains(" no "),
        "{table}"
    );
    let folder = desk.path("ruler").display().to_string();
    std::fs::write(
        desk.path("suite.toml"),
        format!("seeds = [1]\nlengths = [200]\nnum_depths = 1\nitems_per_cell = 1\nchunk_lens = [32]\nsuite = \"ruler\"\nmodels = [{{ path = \"model\" }}]\n[files]\nruler = '{folder}'\n"),
    )
    .unwrap();
    let listed = assert_cmd::cargo::cargo_bin_cmd!("prulong")
        .args(["eval", "--list", "--config"])
        .arg(desk.path("suite.toml"))
        .output()
        .unwrap();
    let text = String::from_utf8(listed.stdout).unwrap();
    let line = text.lines().find(|line| line.starts_with("ruler_vt "));
    assert!(line.is_some_and(|line| line.contains(" yes ")), "{text}");
    let (code, forecast, _) = run(&desk, &["--suite", "ruler", "--dry-run", "--json"]);
    assert_eq!(code, Some(0));
    let forecast: Value = serde_json::from_str(&forecast).unwrap();
    assert_eq!(forecast["total"]["num_items"], 4);
    assert!(forecast["warnings"].to_string().contains("ruler_fwe"));
}
