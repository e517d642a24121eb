//! Every task's items, each solved from its prompt text alone by a solver of its own, with the tiny model's tokenizer: the
//! small tasks here, procedures beside this file, the others beside what they share.

use super::registry::{GENERATED, find};
use super::{Needs, Task};
use crate::data::generate::fact::{KeyClass, class_of, key_class};
use crate::data::source::Source;
use crate::data::source::text::{Text, TextSettings};
use crate::data::tokenizer::Tokenizer;
use crate::eval::error::EvalError;
use crate::eval::haystack::documents::HeldOutDocuments;
use crate::eval::item::Item;
use crate::eval::material::Material;
use crate::eval::parts::Parts;
use crate::eval::plan::Plan;
use crate::fault::Coded;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, LazyLock};

mod procedures;

pub(in crate::eval) static TOKENIZER: LazyLock<Arc<Tokenizer>> = LazyLock::new(|| {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("checkpoints/tiny/tokenizer.json");
    Arc::new(Tokenizer::from_file(&path).unwrap())
});

pub(in crate::eval) fn text_of(ids: &[i64]) -> String {
    let ids: Vec<u32> = ids.iter().map(|id| u32::try_from(*id).unwrap()).collect();
    TOKENIZER.decode(&ids).unwrap()
}

fn code(folder: &Path) {
    let line = |i| format!("    let x{i} = compute({i});\n");
    let text: String = (0..3000).map(line).collect();
    std::fs::write(folder.join("a.rs"), text).unwrap();
}

pub(in crate::eval) fn plan(lengths: &[usize]) -> Plan {
    Plan {
        seed: 3,
        lengths: lengths.to_vec(),
        num_depths: 5,
        items_per_cell: 3,
    }
}

fn haystack(folder: &Path) -> HeldOutDocuments {
    let text: Box<dyn Source> = Box::new(Text::scan(folder, &TextSettings::default()).unwrap());
    HeldOutDocuments::new(vec![text], 1.0, Arc::clone(&TOKENIZER)).unwrap()
}

/// The items of a task that hides needles in the texts of `folder`.
pub(in crate::eval) fn items_in(
    folder: &Path,
    name: &str,
    plan: &Plan,
) -> Result<Vec<Item>, EvalError> {
    let haystack = haystack(folder);
    let task = find(name).unwrap();
    let needed = task.card().needs == Needs::Haystack;
    let haystack = needed.then_some(&haystack as &dyn crate::eval::haystack::Haystack);
    let material = Material::new(Arc::clone(&TOKENIZER), haystack).unwrap();
    plan.items(task, &material)
}

fn try_items(name: &str, plan: &Plan) -> Result<Vec<Item>, EvalError> {
    let folder = tempfile::tempdir().unwrap();
    code(folder.path());
    items_in(folder.path(), name, plan)
}

fn items(name: &str, plan: &Plan) -> Vec<Item> {
    try_items(name, plan).unwrap()
}

/// Prompt without its begin token.
fn prompt(item: &Item) -> String {
    assert_eq!(item.prompt[0], i64::from(TOKENIZER.bos()));
    text_of(&item.prompt[1..])
}

/// What a task's solver reads off a prompt.
struct Solved {
    answer: String,
    /// Key asked for.
    key: String,
    /// Bytes of the prompt up to the end of the last line that the answer is read from.
    needle_end: usize,
    /// Where that, or the first such line, stands among all entries of its kind, of a text among its tokens, in [0, 1].
    depth: f64,
}

pub(in crate::eval) fn share(index: usize, len: usize) -> f64 {
    let of = |count: usize| f64::from(u32::try_from(count).unwrap());
    of(index) / of(len - 1)
}

fn end_of_line(text: &str, wanted: usize) -> usize {
    text.split_inclusive('\n')
        .take(wanted + 1)
        .map(str::len)
        .sum()
}

fn solve_recall(prompt: &str, cue: &str, define: fn(&str) -> (String, &'static str)) -> Solved {
    let (text, question) = prompt.rsplit_once(cue).unwrap();
    let (start, end) = define(question);
    let at = text.find(&start).unwrap();
    let (answer, _) = text[at + start.len()..].split_once(end).unwrap();
    let needle_end = at + start.len() + answer.len() + end.len();
    assert_eq!(text.matches(&start).count(), 1);
    // A short text has too few lines for their count to tell a depth; its tokens do.
    let num_tokens = |text: &str| TOKENIZER.encode(text).unwrap().len();
    let before = num_tokens(&text[..at]);
    Solved {
        answer: answer.to_owned(),
        key: question.to_owned(),
        needle_end,
        depth: share(before, before + num_tokens(&text[needle_end..])),
    }
}

fn solve_code(prompt: &str) -> Solved {
    solve_recall(prompt, "\nassert_eq!(KEY_", |question| {
        let key = question.strip_suffix(", ").unwrap();
        (format!("const KEY_{key}: u64 = "), ";\n")
    })
}

fn solve_prose(prompt: &str) -> Solved {
    solve_recall(prompt, "\nWhat is the secret number of ", |question| {
        let key = question.strip_suffix("? It is ").unwrap();
        (format!("The secret number of {key} is "), ".\n")
    })
}

fn solve_json(prompt: &str) -> Solved {
    let (object, question) = prompt.rsplit_once("Value of \"").unwrap();
    let key = question.strip_suffix("\": \"").unwrap();
    let values: BTreeMap<String, String> = serde_json::from_str(object).unwrap();
    assert_eq!(
        values.len(),
        object.lines().count() - 2,
        "keys are distinct"
    );
    let quoted = format!("\"{key}\":");
    let line = object.lines().position(|line| line.contains(&quoted));
    let line = line.unwrap();
    Solved {
        answer: values[key].clone(),
        key: key.to_owned(),
        needle_end: end_of_line(object, line),
        depth: share(line - 1, values.len()),
    }
}

fn solve_labels(prompt: &str) -> Solved {
    let (shots, question) = prompt.rsplit_once('\n').unwrap();
    let word = question.strip_suffix(" =>").unwrap();
    let shots: Vec<(&str, &str)> = shots
        .lines()
        .map(|line| line.split_once(" => ").unwrap())
        .collect();
    let mut labels: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut shown: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (word, label) in &shots {
        labels.entry(label).or_default().insert(word);
        shown.entry(word).or_default().push(label);
    }
    assert!(shown.values().all(|of| of.len() == 2 && of[0] == of[1]));
    let counts: BTreeSet<usize> = labels.values().map(BTreeSet::len).collect();
    assert_eq!(labels.len(), 8);
    assert!(counts.last().unwrap() - counts.first().unwrap() <= 1);
    let last = shots.iter().rposition(|(other, _)| *other == word).unwrap();
    Solved {
        answer: format!(" {}", shown[word][0]),
        key: word.to_owned(),
        needle_end: end_of_line(prompt, last),
        depth: share(last, shots.len()),
    }
}

fn solve_table(prompt: &str) -> Solved {
    let (table, question) = prompt.rsplit_once("Rows of ").unwrap();
    let name = question.strip_suffix(":\n").unwrap();
    let start = format!("| {name} |");
    let lines: Vec<&str> = table.split_inclusive('\n').collect();
    let places: Vec<usize> = (2..lines.len())
        .filter(|at| lines[*at].starts_with(&start))
        .collect();
    assert!((1..=3).contains(&places.len()));
    Solved {
        answer: places.iter().map(|at| lines[*at]).collect(),
        key: name.to_owned(),
        needle_end: end_of_line(table, *places.last().unwrap()),
        depth: share(places[0] - 2, lines.len() - 2),
    }
}

/// How a task is solved, how its keys are classed, and how exact it is.
struct Case {
    name: &'static str,
    solve: fn(&str) -> Solved,
    class: fn(&str) -> KeyClass,
    /// Tokens that one unit takes at most.
    unit: usize,
    /// Largest difference of the item's depth from the one wanted.
    tolerance: f64,
}

fn class_of_words(key: &str) -> KeyClass {
    let words: Vec<&str> = key
        .trim_end_matches(", ")
        .trim_end_matches("? It is ")
        .split(['_', ' '])
        .collect();
    key_class([words[0], words[1], words[2]])
}

const CASES: [Case; 5] = [
    Case {
        name: "recall",
        solve: solve_code,
        class: class_of_words,
        unit: 1,
        tolerance: 0.25,
    },
    Case {
        name: "recall_prose",
        solve: solve_prose,
        class: class_of_words,
        unit: 1,
        tolerance: 0.25,
    },
    Case {
        name: "json_kv",
        solve: solve_json,
        class: |key| class_of(&format!("json-key:{key}")),
        unit: 24,
        tolerance: 0.06,
    },
    Case {
        name: "label_map",
        solve: solve_labels,
        class: |key| class_of(&format!("pseudo-word:{key}")),
        unit: 32,
        tolerance: 0.06,
    },
    Case {
        name: "copy_table",
        solve: solve_table,
        class: |key| class_of(&format!("table-name:{key}")),
        unit: 24,
        // Few names have their first row near the end of a short table.
        tolerance: 0.35,
    },
];

fn check(case: &Case, plan: &Plan, item: &Item) {
    let prompt = prompt(item);
    let solved = (case.solve)(&prompt);
    assert_eq!(text_of(&item.answer), solved.answer, "{prompt}");
    assert_eq!((case.class)(&solved.key), KeyClass::Evaluation);
    check_parts(item, &solved);
    assert_eq!(item.max_new_tokens, item.answer.len());
    let used = item.prompt.len() + item.max_new_tokens;
    assert!(
        used <= item.meta.length && item.meta.length - used < case.unit,
        "{used} of {}",
        item.meta.length
    );
    let wanted = plan.depths()[item.meta.depth_index];
    assert!(
        (item.meta.depth.unwrap() - wanted).abs() <= case.tolerance,
        "{} for {wanted}",
        item.meta.depth.unwrap()
    );
    assert!(
        (item.meta.depth.unwrap() - solved.depth).abs() < 0.05,
        "{} not {}",
        item.meta.depth.unwrap(),
        solved.depth
    );
    let before = item.prompt.len() - item.meta.needle_distance.unwrap();
    assert_eq!(
        text_of(&item.prompt[1..before]),
        prompt[..solved.needle_end],
        "{}",
        case.name
    );
}

/// Checks that the question alone names the key, and that nothing but the begin token stands outside all parts.
fn check_parts(item: &Item, solved: &Solved) {
    let Parts {
        context,
        question,
        cue,
    } = item.parts.clone();
    assert_eq!(
        (context.start, context.end, question.end, cue),
        (
            1,
            question.start,
            item.prompt.len(),
            question.end..question.end
        )
    );
    assert_eq!(item.parts.before_question(), Some(question.start));
    assert!(text_of(&item.prompt[question.clone()]).contains(&solved.key));
    let needle_end = item.prompt.len() - item.meta.needle_distance.unwrap();
    assert!(
        needle_end <= context.end,
        "the needle stands in the question"
    );
}

#[test]
fn every_item_fills_its_length_and_is_solved_from_its_prompt() {
    let plan = plan(&[256, 700, 1111]);
    for case in &CASES {
        let items = items(case.name, &plan);
        assert_eq!(items.len(), 3 * 5 * 3);
        for item in &items {
            check(case, &plan, item);
        }
    }
    let solved = CASES.iter().map(|case| case.name);
    let solved = solved.chain(crate::eval::ruler::tests::solved());
    let solved: BTreeSet<&str> = solved.chain(procedures::solved()).collect();
    let registered: BTreeSet<&str> = GENERATED.iter().map(|task| task.card().name).collect();
    assert_eq!(solved, registered, "a task has no solver here");
}

/// The items of every task that a plan names.
fn items_of_all(plans: &[Plan]) -> Vec<(&'static str, Vec<Vec<Item>>)> {
    let folder = tempfile::tempdir().unwrap();
    code(folder.path());
    let haystack = haystack(folder.path());
    let material = Material::new(Arc::clone(&TOKENIZER), Some(&haystack)).unwrap();
    let of = |task: &'static dyn Task| {
        let made = plans.iter().map(|plan| plan.items(task, &material));
        (task.card().name, made.collect::<Result<_, _>>().unwrap())
    };
    GENERATED.map(of).into()
}

#[test]
fn items_depend_on_seed_and_place_alone() {
    // Every task can fill these.
    let [short, long] = [1280, 1536];
    let both = Plan {
        num_depths: 2,
        items_per_cell: 2,
        ..plan(&[short, long])
    };
    let turned = Plan {
        lengths: vec![long, short],
        ..both.clone()
    };
    let fewer = Plan {
        lengths: vec![short],
        items_per_cell: 1,
        ..both.clone()
    };
    let reseeded = Plan {
        seed: 4,
        ..fewer.clone()
    };
    for (name, made) in items_of_all(&[both, turned, fewer, reseeded]) {
        let [both, turned, fewer, reseeded] = &made[..] else {
            panic!("four plans");
        };
        let (at_short, at_long) = both.split_at(4);
        assert_eq!([at_long, at_short].concat(), *turned, "{name}");
        let firsts: Vec<Item> = at_short.iter().step_by(2).cloned().collect();
        assert_eq!(firsts, *fewer, "{name}");
        assert_eq!(reseeded.len(), 2);
        let mut pairs = firsts.iter().zip(reseeded);
        assert!(pairs.all(|(a, b)| a.prompt != b.prompt), "{name}");
        let prompts: BTreeSet<&[i64]> = both.iter().map(|item| &item.prompt[..]).collect();
        assert_eq!(prompts.len(), 8, "{name}: two items are the same");
    }
}

#[test]
fn a_length_that_is_too_short_names_the_one_needed() {
    for task in GENERATED {
        let name = task.card().name;
        let error = try_items(name, &plan(&[16])).unwrap_err();
        assert_eq!(error.code(), "task.length", "{name}");
        let EvalError::TooShort { task, needed, .. } = error else {
            panic!("{error}");
        };
        assert_eq!(task, name);
        let first = |length| {
            let one = Plan {
                num_depths: 1,
                items_per_cell: 1,
                ..plan(&[length])
            };
            try_items(name, &one)
        };
        // Not `needed` itself: another length draws other words.
        assert!(
            first(needed / 2).is_err() && first(2 * needed).is_ok(),
            "{name}: {needed}"
        );
    }
}

#[test]
fn a_length_beyond_what_can_be_drawn_is_an_error() {
    let one = Plan {
        num_depths: 1,
        items_per_cell: 1,
        ..plan(&[400_000])
    };
    let error = try_items("copy_table", &one).unwrap_err();
    assert!(
        matches!(error, EvalError::TooMany { max: 10_000, .. }),
        "{error}"
    );
    assert_eq!(error.code(), "task.length");
}

#[test]
fn long_objects_have_keys_enough() {
    let one = Plan {
        num_depths: 1,
        items_per_cell: 1,
        ..plan(&[16_384, 20_000])
    };
    let key_lens: Vec<usize> = items("json_kv", &one)
        .iter()
        .map(|item| solve_json(&prompt(item)).key.len())
        .collect();
    assert_eq!(key_lens, [4, 8]);
}

#[test]
fn a_task_that_hides_needles_says_that_it_has_no_text() {
    let material = Material::new(Arc::clone(&TOKENIZER), None).unwrap();
    let one = Plan {
        num_depths: 1,
        items_per_cell: 1,
        ..plan(&[1280])
    };
    for task in GENERATED {
        let made = one.items(task, &material);
        match task.card().needs {
            Needs::Haystack => assert_eq!(made.unwrap_err().code(), "eval.no_haystack"),
            _ => assert_eq!(made.unwrap().len(), 1),
        }
    }
}

#[test]
fn the_name_asked_for_has_its_first_row_nearest_to_the_depth() {
    let plan = plan(&[256, 1111]);
    for item in items("copy_table", &plan) {
        let prompt = prompt(&item);
        let (table, _) = prompt.rsplit_once("Rows of ").unwrap();
        let mut seen = BTreeSet::new();
        let names = table
            .lines()
            .skip(2)
            .map(|line| line.split('|').nth(1).unwrap());
        let first_rows: Vec<usize> = names
            .enumerate()
            .filter(|(_, name)| seen.insert(*name))
            .map(|(index, _)| index)
            .collect();
        let num_rows = table.lines().count() - 2;
        let wanted = plan.depths()[item.meta.depth_index];
        let off = |depth: f64| (depth - wanted).abs();
        let nearest = first_rows
            .iter()
            .map(|index| off(share(*index, num_rows)))
            .fold(1.0, f64::min);
        // Up to three rows may have been added, each of which moves others by one, after the name was chosen.
        assert!(
            off(item.meta.depth.unwrap()) <= nearest + 2.0 * share(3, num_rows),
            "{prompt}"
        );
    }
}

#[test]
fn cards_are_complete_and_names_unique() {
    let names: BTreeSet<&str> = GENERATED.iter().map(|task| task.card().name).collect();
    assert_eq!(names.len(), GENERATED.len());
    for card in GENERATED.map(Task::card) {
        assert!((0.0..=0.125).contains(&card.chance));
        assert!(card.metrics().count() >= 2 && !card.also.contains(&card.metric));
    }
    assert!(find("recall_code").is_none());
}
