//! Commands of a small study, in their order, and what makes them other ones.

use super::*;
use crate::config::load::load_text;

const STUDY: &str = r#"
seeds = [1, 2]
sparsities = [0.5, 0.7]
model = "/m"
evaluation = "/eval.toml"
set = ["run.threads=1"]
prepare = [
    { name = "text", creates = "/rows", command = ["pack", "--tokenizer", "{model}", "-o", "{text}"] },
    { name = "slope", creates = "/slope", command = ["score-heads", "--data", "{text}/train", "-o", "{slope}"] },
    { name = "unused", creates = "/row", command = ["pack", "-o", "{unused}"] },
]

[[arms]]
kind = "train"
name = "a"
about = "trained"
config = "/run.toml"
data = ["/rows/train"]
set = ["optimizer.steps=3", 'gates.init={kind="scores", path="{slope}"}']

[[arms]]
kind = "methods"
name = "others"
about = "eviction"
methods = [{ name = "snapkv", sparsity = [0.5, 1], options = ["window=8"] }]
"#;

fn study() -> StudyFile {
    load_text::<StudyFile>(Path::new("study.toml"), STUDY)
        .unwrap()
        .config
}

fn plan(study: &StudyFile) -> Plan<'_> {
    Plan {
        study,
        dir: Path::new("/s"),
        evaluation: "hash".to_owned(),
    }
}

#[test]
fn an_arm_is_trained_and_cut_for_every_seed_and_then_answers_once() {
    let study = study();
    let plan = plan(&study);
    let titles = |arm: usize| -> Vec<String> {
        plan.arm(&study.arms[arm])
            .into_iter()
            .map(|task| task.title)
            .collect()
    };
    assert_eq!(
        titles(0),
        [
            "a seed-1",
            "a seed-1-0.5",
            "a seed-1-0.7",
            "a seed-2",
            "a seed-2-0.5",
            "a seed-2-0.7",
            "a eval"
        ]
    );
    assert_eq!(titles(1), ["others eval"]);
    assert_eq!(
        plan.arm(&study.arms[0])[0].words.join(" "),
        "train --config /run.toml --run-dir /s/a/seed-1/run --set seed=1 --set model.path=\"/m\" \
         --set data.train=[\"/rows/train\"] --set run.threads=1 --set optimizer.steps=3 --set gates.init={kind=\"scores\", path=\"/slope\"}"
    );
    let eval = plan.arm(&study.arms[1])[0].words.join(" ");
    assert!(
        eval.contains("methods=[{name=\"snapkv\", sparsity=[0.5, 1.0], options=[\"window=8\"]}]"),
        "{eval}"
    );
}

#[test]
fn data_that_arms_read_is_made_before_them_and_no_other() {
    let study = study();
    let plan = plan(&study);
    let arms: Vec<&Arm> = study.arms.iter().collect();
    let first = |arms: &[&Arm]| -> Vec<String> {
        let tasks = plan.tasks(arms).into_iter().take(3);
        tasks.map(|task| task.title).collect()
    };
    assert_eq!(first(&arms), ["data text", "data slope", "a seed-1"]);
    assert_eq!(first(&arms[1..]), ["others eval"]);
    let tasks = plan.tasks(&arms);
    assert_eq!(tasks[0].words, ["pack", "--tokenizer", "/m", "-o", "/rows"]);
    assert_eq!(
        tasks[1].words,
        ["score-heads", "--data", "/rows/train", "-o", "/slope"]
    );
}

#[test]
fn what_is_cut_and_asked_is_of_the_run_that_it_was_cut_from() {
    let mut study = study();
    let marks = |study: &StudyFile| -> Vec<(Vec<String>, Vec<PathBuf>)> {
        let tasks = plan(study).arm(&study.arms[0]).into_iter();
        tasks.map(|task| (task.from, task.inputs)).collect()
    };
    let before = marks(&study);
    assert!(before[1].0.contains(&"optimizer.steps=3".to_owned()));
    assert_eq!(before[1].1, [PathBuf::from("/run.toml")]);
    let Arm::Train { set, .. } = &mut study.arms[0] else {
        panic!("{study:?}")
    };
    set.push("optimizer.clip_norm=2.0".to_owned());
    let after = marks(&study);
    assert!((1..before.len()).all(|at| at == 3 || before[at] != after[at]));
}

#[test]
fn another_question_has_its_answers_elsewhere_and_the_same_one_where_they_were() {
    let mut study = study();
    let answers = |study: &StudyFile, hash: &str| {
        let plan = Plan {
            evaluation: hash.to_owned(),
            ..plan(study)
        };
        plan.answers(&study.arms[0])
    };
    let before = answers(&study, "hash");
    assert_eq!(before, answers(&study, "hash"));
    assert_ne!(before, answers(&study, "another evaluation"));
    study.sparsities.push(0.9);
    assert_ne!(before, answers(&study, "hash"));
}

#[test]
fn names_that_are_no_folders_and_names_used_twice_are_refused() {
    for (from, to, key) in [
        ("name = \"a\"", "name = \"a/b\"", "`arms.0.name`"),
        ("name = \"others\"", "name = \"a\"", "`arms.1`"),
        ("name = \"slope\"", "name = \"text\"", "`prepare.1`"),
        ("name = \"slope\"", "name = \"model\"", "`prepare.1.name`"),
        ("\"{text}/train\"", "\"{txt}/train\"", "`prepare.1.command`"),
        (
            "\"-o\", \"{text}\"",
            "\"-o\", \"{slope}\"",
            "`prepare.0.command`",
        ),
        ("path=\"{slope}\"", "path=\"{slop}\"", "`arms.0.set`"),
    ] {
        let text = STUDY.replacen(from, to, 1);
        let error = load_text::<StudyFile>(Path::new("study.toml"), &text).unwrap_err();
        assert!(error.to_string().contains(key), "{key}: {error}");
    }
}
