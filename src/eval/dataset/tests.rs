//! Every data set on small files in its published format: what is asked, how, and what is right.

use super::registry;
use crate::config::eval_files::FileSettings;
use crate::data::tokenizer::Tokenizer;
use crate::eval::answered::Answered;
use crate::eval::error::EvalError;
use crate::eval::files::library::Library;
use crate::eval::item::Item;
use crate::eval::item_set::ItemSet;
use crate::eval::material::Material;
use crate::eval::plan::Plan;
use crate::eval::scoring::ScorePair;
use crate::eval::task::Task;
use crate::fault::Coded;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::{Arc, LazyLock};

mod folder;
mod helmet;
mod longproc;
mod ruler;

static TOKENIZER: LazyLock<Arc<Tokenizer>> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("checkpoints/tiny");
    Arc::new(Tokenizer::from_file(&folder).unwrap())
});

/// The task of that name.
fn task(name: &str) -> &'static dyn Task {
    let mut all = registry::all();
    all.find(|task| task.card().name == name).unwrap()
}

/// The items of a task at `length`, from the folders of `settings`.
fn ask(name: &str, settings: &FileSettings, length: usize) -> Result<ItemSet, EvalError> {
    let library = Library::open(settings).map_err(EvalError::Files)?;
    ask_in(name, library, length)
}

fn ask_in(name: &str, library: Library, length: usize) -> Result<ItemSet, EvalError> {
    let material = Material::new(Arc::clone(&TOKENIZER), None)
        .unwrap()
        .with_library(library);
    let plan = Plan {
        seed: 3,
        lengths: vec![length],
        num_depths: 5,
        items_per_cell: 2,
    };
    // Seeds do not matter: two plans ask the same items once.
    task(name).items(&material, &[plan.clone(), Plan { seed: 4, ..plan }], None)
}

fn prompt_of(item: &Item) -> String {
    TOKENIZER.decode_output(&item.prompt[1..])
}

fn part(item: &Item, range: &std::ops::Range<usize>) -> String {
    TOKENIZER.decode_output(&item.prompt[range.clone()])
}

/// The score by the metric that the task is judged by, as published.
fn score(name: &str, item: &Item, output: &str) -> f64 {
    scores(name, item, output).compat
}

/// The same without the loopholes of what was published.
fn strict(name: &str, item: &Item, output: &str) -> f64 {
    scores(name, item, output).strict
}

fn scores(name: &str, item: &Item, output: &str) -> ScorePair {
    let card = task(name).card();
    let answered = Answered::new(&item.cue, output, card.reading, &item.gold);
    let metrics: Vec<_> = card.metrics().collect();
    answered.scores(&metrics).unwrap()[&card.metric]
}

fn settings(helmet: &Path) -> FileSettings {
    FileSettings {
        helmet: Some(helmet.to_owned()),
        ..FileSettings::default()
    }
}

#[test]
fn every_data_set_can_be_asked_and_an_empty_answer_is_wrong() {
    let folder = folder::all();
    for task in registry::all() {
        let card = task.card();
        let length = folder::length_of(card.name);
        let set = ask(card.name, &folder.settings(), length).unwrap_or_else(|error| {
            panic!("{}: {error}", card.name);
        });
        assert!(!set.items.is_empty(), "{}", card.name);
        assert_eq!(set.items.len(), set.num_expected, "{}", card.name);
        for item in &set.items {
            assert!(
                item.max_len() <= length,
                "{}: {}",
                card.name,
                item.max_len()
            );
            assert!(item.id.starts_with(&format!("{length}-")), "{}", item.id);
            assert!(strict(card.name, item, "") < 1e-9, "{}", card.name);
        }
        let mut ids: Vec<&str> = set.items.iter().map(|item| item.id.as_str()).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), set.items.len(), "{}", card.name);
        let again = ask(card.name, &folder.settings(), length).unwrap();
        assert_eq!(again, set, "{}", card.name);
    }
}

#[test]
fn files_that_are_not_there_are_named_with_where_they_come_from() {
    let none = tempfile::tempdir().unwrap();
    let unnamed = ask("kilt_nq", &FileSettings::default(), 4096).unwrap_err();
    assert_eq!(unnamed.code(), "task.files");
    assert!(unnamed.hint().unwrap().contains("--helmet"));
    for (name, words) in [
        (
            "kilt_nq",
            &["kilt/nq-dev-multikilt_1000_k20_dep6.jsonl", "README"][..],
        ),
        ("icl_nlu", &["hub/nlu/train.jsonl", "to_json"]),
        (
            "tom_tracking_2k",
            &[
                "longproc_addon/longproc/data/tom_tracking/tom_tracking_2k.json",
                "LongProc",
            ],
        ),
    ] {
        let error = ask(name, &settings(none.path()), 4096).unwrap_err();
        assert_eq!(error.code(), "task.file_missing");
        let text = format!("{error} {}", error.hint().unwrap());
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
        let library = Library::open(&settings(none.path())).unwrap();
        assert!(!task(name).missing(&library, &[4096]).unwrap().is_empty());
    }
    let length = ask("kilt_nq", &settings(none.path()), 5000).unwrap_err();
    assert_eq!(length.code(), "task.length");
}
