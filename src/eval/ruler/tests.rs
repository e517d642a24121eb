//! Items of RULER's tasks, each solved from the text of its prompt alone, with the tiny model's tokenizer.

use crate::eval::answered::Answered;
use crate::eval::item::Item;
use crate::eval::plan::Plan;
use crate::eval::scoring::Scoring;
use crate::eval::task::registry::find;
use crate::eval::task::tests::{TOKENIZER, items_in, plan, share, text_of};
use regex::Regex;
use std::collections::{BTreeMap, BTreeSet};

/// The parts of a prompt, as text.
pub(in crate::eval) struct Prompt {
    pub(in crate::eval) instruction: String,
    pub(in crate::eval) context: String,
    pub(in crate::eval) question: String,
    pub(in crate::eval) cue: String,
}

impl Prompt {
    pub(in crate::eval) fn of(item: &Item) -> Self {
        let parts = &item.parts;
        let text = |range: std::ops::Range<usize>| text_of(&item.prompt[range]);
        Self {
            instruction: text(1..parts.context.start),
            context: text(parts.context.clone()),
            question: text(parts.question.clone()),
            cue: text(parts.cue.clone()),
        }
    }

    fn whole(&self) -> String {
        [&self.instruction, &self.context, &self.question, &self.cue]
            .map(String::as_str)
            .concat()
    }
}

/// What a solver reads off a prompt.
struct Solved {
    /// What a model should write.
    output: String,
    /// Bytes of the context up to the end of the last thing read.
    end: usize,
    /// Where the needle stands; nothing if the prompt does not tell.
    depth: Option<f64>,
}

/// How a task is solved.
struct Case {
    name: &'static str,
    solve: fn(&Prompt) -> Solved,
    lengths: &'static [usize],
    /// Tokens that one unit takes at most.
    unit: usize,
    /// Largest difference of the item's depth from the one wanted.
    tolerance: f64,
}

const CASES: [Case; 12] = [
    Case {
        name: "niah_single_1",
        solve: solve_lines,
        lengths: &[400, 1024, 2222],
        unit: 48,
        tolerance: 0.1,
    },
    Case {
        name: "niah_multikey_2",
        solve: solve_lines,
        lengths: &[400, 1024, 2222],
        unit: 40,
        tolerance: 0.1,
    },
    Case {
        name: "niah_multikey_3",
        solve: solve_lines,
        lengths: &[800, 1024, 2222],
        unit: 120,
        tolerance: 0.3,
    },
    Case {
        name: "niah_single_2",
        solve: solve_essay,
        lengths: &[400, 1024, 2222],
        unit: 64,
        tolerance: 0.12,
    },
    Case {
        name: "niah_single_3",
        solve: solve_essay,
        lengths: &[500, 1024, 2222],
        unit: 64,
        tolerance: 0.12,
    },
    Case {
        name: "niah_multikey_1",
        solve: solve_essay,
        lengths: &[500, 1024, 2222],
        unit: 64,
        tolerance: 0.12,
    },
    Case {
        name: "niah_multivalue",
        solve: solve_essay,
        lengths: &[500, 1024, 2222],
        unit: 64,
        tolerance: 0.12,
    },
    Case {
        name: "niah_multiquery",
        solve: solve_essay,
        lengths: &[600, 1024, 2222],
        unit: 64,
        tolerance: 0.12,
    },
    Case {
        name: "vt",
        solve: solve_chain,
        lengths: &[900, 1536, 2222],
        unit: 48,
        tolerance: 0.2,
    },
    Case {
        name: "cwe",
        solve: solve_list,
        lengths: &[1200, 2222, 4096],
        unit: 64,
        tolerance: 0.5,
    },
    Case {
        name: "fwe",
        solve: solve_coded,
        lengths: &[400, 1024, 2222],
        unit: 32,
        tolerance: 0.5,
    },
    Case {
        name: "json_kv_uuid",
        solve: solve_object,
        lengths: &[900, 1536, 2222],
        unit: 120,
        tolerance: 0.2,
    },
];

/// Names of the tasks that are solved here.
pub(in crate::eval) fn solved() -> impl Iterator<Item = &'static str> {
    CASES.iter().map(|case| case.name)
}

/// The needles of a text: start, end, key, value.
fn needles(text: &str) -> Vec<(usize, usize, String, String)> {
    let pattern =
        "(?:The|One of the) secret (?:number|identifier)s? of ([a-z0-9-]+) is ([a-z0-9-]+)\\.\n?";
    let found = Regex::new(pattern).unwrap();
    let found = found.captures_iter(text).map(|needle| {
        let whole = needle.get(0).unwrap();
        (
            whole.start(),
            whole.end(),
            needle[1].to_owned(),
            needle[2].to_owned(),
        )
    });
    found.collect()
}

/// One needle in lines of whatever else.
fn solve_lines(prompt: &Prompt) -> Solved {
    let asked = Regex::new("^What is the secret (number|identifier) of ([a-z0-9-]+) in").unwrap();
    let asked = asked.captures(&prompt.question).unwrap();
    let expected = format!(
        "In the text above, the secret {} of {} is",
        &asked[1], &asked[2]
    );
    assert_eq!(prompt.cue, expected);
    let needles = needles(&prompt.context);
    let keys: BTreeSet<&str> = needles.iter().map(|(_, _, key, _)| &key[..]).collect();
    let values: BTreeSet<&str> = needles.iter().map(|(.., value)| &value[..]).collect();
    assert_eq!((keys.len(), values.len()), (needles.len(), needles.len()));
    let mut found = needles.iter().filter(|(_, _, key, _)| *key == asked[2]);
    let (start, end, _, value) = found.next().unwrap();
    assert!(found.next().is_none());
    let lines = prompt.context.lines().count();
    Solved {
        output: format!(" {value}."),
        end: *end,
        depth: Some(share(prompt.context[..*start].lines().count(), lines)),
    }
}

/// Some needles between sentences.
fn solve_essay(prompt: &Prompt) -> Solved {
    let asked = Regex::new(
        "^What (is|are all) the secret (number|identifier)(s?) of (.+) in the text above\\?\n$",
    );
    let asked = asked.unwrap().captures(&prompt.question).unwrap();
    assert_eq!(&asked[1] == "is", asked[3].is_empty());
    let keys: Vec<&str> = asked[4]
        .split(", ")
        .map(|key| key.trim_start_matches("and "))
        .collect();
    let verb = if &asked[1] == "is" { "is" } else { "are" };
    let expected = format!(
        "In the text above, the secret {}{} of {} {verb}",
        &asked[2], &asked[3], &asked[4]
    );
    assert_eq!(prompt.cue, expected);
    let all = needles(&prompt.context);
    let values: Vec<&str> = keys
        .iter()
        .flat_map(|key| all.iter().filter(move |(_, _, of, _)| of == key))
        .map(|(.., value)| &value[..])
        .collect();
    let distinct: BTreeSet<&str> = all.iter().map(|(.., value)| &value[..]).collect();
    assert_eq!(distinct.len(), all.len());
    let last = all
        .iter()
        .rfind(|(_, _, key, _)| keys.contains(&&key[..]))
        .unwrap();
    let end = last.1 - usize::from(prompt.context[..last.1].ends_with('\n'));
    Solved {
        output: format!(" {}.", values.join(" ")),
        end,
        // Of several, the place of the first one asked for is not to be seen.
        depth: (values.len() == 1).then(|| sentences_before(&prompt.context, last.0)),
    }
}

/// Share of the sentences of the test's text that stand before byte `at`.
fn sentences_before(context: &str, at: usize) -> f64 {
    let count = |text: &str| text.matches("Sentence ").count();
    share(count(&context[..at]), count(context) + 1)
}

/// A chain of names, each set to the one before.
fn solve_chain(prompt: &Prompt) -> Solved {
    let asked = Regex::new("^Which 5 names stand for ([0-9]{5}) in the lines above\\?\n$").unwrap();
    let asked = asked.captures(&prompt.question).unwrap()[1].to_owned();
    assert!(prompt.cue.ends_with(&format!("stand for {asked} are")));
    assert!(!prompt.instruction.contains(&asked));
    let mut stand_for: BTreeMap<&str, &str> = BTreeMap::new();
    let (mut end, mut places) = (0, Vec::new());
    let mut at = 0;
    for (index, line) in prompt.context.split_inclusive('\n').enumerate() {
        at += line.len();
        if let Some(statement) = line.strip_prefix("Let ") {
            let (name, value) = statement
                .trim_end()
                .trim_end_matches('.')
                .split_once(" be ")
                .unwrap();
            let number = stand_for.get(value).copied().unwrap_or(value);
            assert!(stand_for.insert(name, number).is_none());
            (end, places) = (at, [places, vec![index]].concat());
        }
    }
    let names: Vec<&str> = stand_for
        .iter()
        .filter(|(_, of)| **of == asked)
        .map(|(name, _)| *name)
        .collect();
    assert_eq!(names.len(), 5);
    Solved {
        output: format!(" {}.", names.join(" ")),
        end,
        depth: Some(share(places[2], prompt.context.lines().count())),
    }
}

/// The most frequent of `words`, which stand at these bytes, and what a solver reads off them.
fn most_frequent(words: &[(usize, &str)], num: usize) -> Solved {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, word) in words.iter().filter(|(_, word)| *word != "...") {
        *counts.entry(word).or_default() += 1;
    }
    let mut ranked: Vec<(&str, usize)> = counts.into_iter().collect();
    ranked.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    assert!(ranked[num - 1].1 > ranked[num].1, "two right answers");
    let found: Vec<&str> = ranked[..num].iter().map(|(word, _)| *word).collect();
    let last = words
        .iter()
        .rfind(|(_, word)| found.contains(word))
        .unwrap();
    let places = words
        .iter()
        .enumerate()
        .filter(|(_, (_, word))| found.contains(word));
    let places: Vec<usize> = places.map(|(place, _)| place).collect();
    let sum: usize = places.iter().sum();
    Solved {
        output: format!(" {}.", found.join(", ")),
        end: last.0 + last.1.len(),
        depth: Some(share(sum, places.len() * (words.len() - 1) + 1)),
    }
}

/// A numbered list of words.
fn solve_list(prompt: &Prompt) -> Solved {
    let entry = Regex::new("([0-9]+)\\. ([a-z]{6})\n").unwrap();
    let words: Vec<(usize, &str)> = entry
        .captures_iter(&prompt.context)
        .map(|entry| entry.get(2).unwrap())
        .map(|word| (word.start(), word.as_str()))
        .collect();
    let last = format!("{}. ", words.len());
    assert_eq!(words.len(), prompt.context.lines().count());
    assert!(prompt.context.lines().last().unwrap().starts_with(&last));
    most_frequent(&words, 10)
}

/// A text of coded words.
fn solve_coded(prompt: &Prompt) -> Solved {
    let word = Regex::new("[a-z]{6}|[.]{3}").unwrap();
    let words = word.find_iter(&prompt.context);
    let words: Vec<(usize, &str)> = words.map(|word| (word.start(), word.as_str())).collect();
    let dots = words.iter().filter(|(_, word)| *word == "...").count();
    assert!(2 * dots > words.len() && dots < words.len());
    most_frequent(&words, 3)
}

/// One JSON object of UUIDs, after two examples from it.
fn solve_object(prompt: &Prompt) -> Solved {
    let (header, object) = prompt.context.split_once('\n').unwrap();
    let values: BTreeMap<String, String> = serde_json::from_str(object).unwrap();
    assert_eq!(values.len(), object.lines().count() - 2);
    let shown = Regex::new("Key: (.+)\nCorresponding value: (.+)\n").unwrap();
    let shown = shown.captures_iter(&prompt.question);
    let shown: BTreeMap<&str, &str> = shown
        .map(|demo| (demo.get(1).unwrap().as_str(), demo.get(2).unwrap().as_str()))
        .collect();
    assert_eq!(shown.len(), 2);
    assert!(shown.iter().all(|(key, value)| values[*key] == *value));
    let (_, key) = prompt.question.rsplit_once("Key: ").unwrap();
    let key = key.trim_end();
    assert!(!shown.contains_key(key));
    let line = object
        .lines()
        .position(|line| line.contains(&format!("\"{key}\":")));
    let line = line.unwrap();
    let lines: usize = object
        .split_inclusive('\n')
        .take(line + 1)
        .map(str::len)
        .sum();
    Solved {
        output: format!(" {}", values[key]),
        end: header.len() + 1 + lines,
        depth: Some(share(line - 1, values.len())),
    }
}

/// Checks that the tokens of the parts are those of the whole, and that the question comes after the context.
pub(in crate::eval) fn assert_seamless(item: &Item, prompt: &Prompt) {
    let whole = prompt.whole();
    let ids: Vec<i64> = TOKENIZER
        .encode(&whole)
        .unwrap()
        .iter()
        .map(|id| i64::from(*id))
        .collect();
    assert_eq!(ids, item.prompt[1..], "parts are not seamless: {whole}");
    assert_eq!(
        item.parts.before_question(),
        Some(item.parts.question.start)
    );
    assert_eq!(item.cue, prompt.cue);
}

fn check(case: &Case, plan: &Plan, item: &Item) {
    let prompt = Prompt::of(item);
    assert_seamless(item, &prompt);
    let used = item.prompt.len() + item.max_new_tokens;
    assert!(
        used <= item.meta.length && item.meta.length - used < case.unit,
        "{}: {used} of {}",
        case.name,
        item.meta.length
    );
    let solved = (case.solve)(&prompt);
    check_scores(case, item, &solved.output);
    check_answers(item, &prompt);
    let wanted = plan.depths()[item.meta.depth_index];
    let depth = item.meta.depth.unwrap();
    let read = solved.depth.unwrap_or(depth);
    assert!(
        (depth - wanted).abs() <= case.tolerance && (depth - read).abs() < 1e-9,
        "{}: {depth} for {wanted}, read {read}",
        case.name,
    );
    let before = item.prompt.len() - item.meta.needle_distance.unwrap();
    // The last token may hold the space behind it as well.
    let read = text_of(&item.prompt[item.parts.context.start..before]);
    assert_eq!(read.trim_end(), prompt.context[..solved.end].trim_end());
}

/// Checks that what the solver writes is right by every metric, and nothing at all is wrong.
fn check_scores(case: &Case, item: &Item, output: &str) {
    let needed = TOKENIZER
        .encode(output.trim_end_matches('.'))
        .unwrap()
        .len();
    assert!(needed <= item.max_new_tokens, "{output}");
    let card = find(case.name).unwrap().card();
    for metric in card.metrics() {
        let score = |output| {
            let answered = Answered::new(&item.cue, output, card.reading, &item.gold);
            metric.score(&answered).unwrap()
        };
        let (right, empty) = (score(output), score(""));
        for scoring in [Scoring::Compat, Scoring::Strict] {
            let [right, empty] = [right, empty].map(|of| of.of(scoring).to_bits());
            assert_eq!(right, 1.0_f64.to_bits(), "{output} for {:?}", item.gold);
            assert_eq!(empty, 0.0_f64.to_bits(), "{:?}", item.gold);
        }
    }
}

/// Checks that right answers stand in the context alone, never inside of something else, and that none holds another.
fn check_answers(item: &Item, prompt: &Prompt) {
    let answers = item.gold.answers().unwrap();
    let others = [&prompt.instruction, &prompt.question, &prompt.cue];
    let others = others.map(|part| part.to_lowercase());
    let context = prompt.context.to_lowercase();
    for answer in answers.iter().map(|answer| answer.to_lowercase()) {
        assert!(
            others.iter().all(|part| !part.contains(&answer)),
            "{answer}"
        );
        assert!(context.contains(&answer));
        for (at, _) in context.match_indices(&answer) {
            let rest = &context[at + answer.len()..];
            let beside = [context[..at].chars().next_back(), rest.chars().next()];
            let alone = |c: char| !c.is_alphanumeric() && c != '-';
            assert!(beside.into_iter().flatten().all(alone), "{answer}");
        }
        let holding = answers
            .iter()
            .filter(|of| of.to_lowercase().contains(&answer));
        assert_eq!(holding.count(), 1, "{answer}");
    }
}

/// Items hidden in paragraphs of numbered sentences.
fn items_in_prose(name: &str, plan: &Plan) -> Vec<Item> {
    let words = [
        "some words of a tale",
        "nothing",
        "roads, rivers, and bridges over them",
    ];
    let sentence = |i: usize| {
        let space = if i.is_multiple_of(7) { "\n\n" } else { " " };
        format!("Sentence {i} tells of {}.{space}", words[i % 3])
    };
    let folder = tempfile::tempdir().unwrap();
    let text: String = (0..4_000).map(sentence).collect();
    std::fs::write(folder.path().join("a.txt"), text).unwrap();
    items_in(folder.path(), name, plan).unwrap()
}

/// Checks every item of a task.
fn check_all(name: &str) {
    let case = CASES.iter().find(|case| case.name == name).unwrap();
    let plan = plan(case.lengths);
    let items = items_in_prose(name, &plan);
    assert_eq!(items.len(), case.lengths.len() * 5 * 3);
    for item in &items {
        check(case, &plan, item);
    }
}

/// One test for each task: its items fill their lengths and are solved from their prompts.
macro_rules! solve_all {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                check_all(stringify!($name));
            }
        )*

        #[test]
        fn every_case_has_its_test() {
            let tested = [$(stringify!($name)),*];
            assert!(solved().eq(tested));
        }
    };
}

solve_all! {
    niah_single_1 niah_multikey_2 niah_multikey_3 niah_single_2 niah_single_3 niah_multikey_1 niah_multivalue
    niah_multiquery vt cwe fwe json_kv_uuid
}
