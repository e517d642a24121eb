//! Items of tasks whose answers are procedures, each solved from the text of its prompt alone.

use super::{TOKENIZER, plan, text_of, try_items};
use crate::eval::answered::Answered;
use crate::eval::item::Item;
use crate::eval::metric::registry::Metric;
use crate::eval::plan::Plan;
use crate::eval::ruler::tests::{Prompt, assert_seamless};
use crate::eval::scoring::{Pair, ScorePair};
use crate::eval::task::registry::find;
use regex::Regex;
use std::collections::BTreeMap;

/// How a task is solved.
struct Case {
    name: &'static str,
    /// What a model should write after the cue, from context and question.
    solve: fn(&str) -> String,
    lengths: &'static [usize],
    /// Tokens that one unit takes at most.
    unit: usize,
    /// Bytes of a context up to the end of what the answer to a question is read from.
    end: fn(&Prompt, &str) -> usize,
}

const CASES: [Case; 3] = [
    Case {
        name: "path_traversal",
        solve: solve_route,
        lengths: &[700, 1024, 2222],
        unit: 100,
        end: end_of_route,
    },
    Case {
        name: "tom_tracking",
        solve: solve_story,
        lengths: &[1024, 1300, 2222],
        unit: 100,
        end: |prompt, _| prompt.context.trim_end().len(),
    },
    Case {
        name: "countdown",
        solve: solve_numbers,
        lengths: &[1024, 1300, 2222],
        unit: 300,
        end: |prompt, _| prompt.context.trim_end().len(),
    },
];

/// Names of the tasks that are solved here.
pub(super) fn solved() -> impl Iterator<Item = &'static str> {
    CASES.iter().map(|case| case.name)
}

fn all<'a, const N: usize>(pattern: &str, text: &'a str) -> Vec<[&'a str; N]> {
    let pattern = Regex::new(pattern).unwrap();
    let found = pattern.captures_iter(text);
    found.map(|found| found.extract().1).collect()
}

const ROUTE: &str = "(?m)^What is the route from ([A-Z][a-z]+) to ([A-Z][a-z]+)\\?$";
const ROAD: &str = "(?m)^From ([A-Z][a-z]+) a (bus|train|plane|ferry) goes to ([A-Z][a-z]+)\\.$";

fn solve_route(text: &str) -> String {
    let [[start, end]] = all(ROUTE, text)[..] else {
        panic!("{text}");
    };
    let roads = all::<3>(ROAD, text);
    assert_eq!(roads.len() + 1, text.lines().count(), "{text}");
    let out: BTreeMap<&str, [&str; 3]> = roads.iter().map(|road| (road[0], *road)).collect();
    assert_eq!(out.len(), roads.len(), "one leads out of each");
    let (mut at, mut answer) = (start, Vec::new());
    while at != end {
        let [from, kind, to] = out[at];
        answer.push(format!("{from} -> {to} ({kind})"));
        at = to;
    }
    format!("{}\n</Route>", answer.join("\n"))
}

fn end_of_route(prompt: &Prompt, answer: &str) -> usize {
    let lines = answer.lines().filter_map(|step| step.split_once(" -> "));
    let ends = lines.map(|(from, _)| {
        let at = prompt.context.find(&format!("From {from} ")).unwrap();
        at + prompt.context[at..].find('\n').unwrap()
    });
    ends.max().unwrap()
}

/// Follows names through a story; a container is named after its room.
fn solve_story(text: &str) -> String {
    let [[person, thing]] = all("(?m)^Follow ([A-Z][a-z]+) and the ([a-z]+) through", text)[..]
    else {
        panic!("{text}");
    };
    let mut places: BTreeMap<&str, String> = BTreeMap::new();
    let mut belief = "none".to_owned();
    let mut answer = Vec::new();
    let lines = text.lines().filter(|line| line.starts_with("Step "));
    for (step, line) in lines.enumerate() {
        let (number, told) = line.split_once(": ").unwrap();
        assert_eq!(number, format!("Step {step}"));
        for sentence in told.split_terminator('.') {
            tell(&mut places, sentence.trim());
        }
        if places[thing].starts_with(&format!("{} ", places[person])) {
            belief.clone_from(&places[thing]);
        }
        let (room, spot) = (&places[person], &places[thing]);
        answer.push(format!(
            "- Step {step}: {person}: {room}; {thing}: {spot}; belief: {belief}"
        ));
    }
    format!("{}\nAnswer: {belief}", answer.join("\n"))
}

/// Changes what is where as a sentence says, if it may.
fn tell<'a>(places: &mut BTreeMap<&'a str, String>, sentence: &'a str) {
    let words: Vec<&str> = sentence.split(' ').filter(|word| *word != "the").collect();
    let rooms: BTreeMap<&str, &str> = places
        .iter()
        .map(|(name, place)| (*name, place.split(' ').next().unwrap()))
        .collect();
    match words[..] {
        ["The", thing, "is", "in", room, container] => {
            places.insert(thing, format!("{room} {container}"));
        }
        [person, "is", "in", room] => {
            places.insert(person, room.to_owned());
        }
        [person, "leaves"] => {
            assert_ne!(
                places.insert(person, "nowhere".to_owned()).unwrap(),
                "nowhere"
            );
        }
        [person, "enters", room] => {
            assert_eq!(places.insert(person, room.to_owned()).unwrap(), "nowhere");
        }
        [person, "goes", "to", room] => {
            assert!(![room, "nowhere"].contains(&rooms[person]), "{sentence}");
            places.insert(person, room.to_owned());
        }
        [person, "moves", thing, "to", room, container] => {
            assert!(
                rooms[person] == rooms[thing] && rooms[thing] == room,
                "{sentence}"
            );
            let before = places.insert(thing, format!("{room} {container}"));
            assert_ne!(before, places.get(thing).cloned(), "{sentence}");
        }
        [person, "carries", thing, "to", room, container] => {
            assert!(
                rooms[person] == rooms[thing] && rooms[thing] != room,
                "{sentence}"
            );
            places.insert(thing, format!("{room} {container}"));
            places.insert(person, room.to_owned());
        }
        _ => panic!("{sentence}"),
    }
}

fn solve_numbers(text: &str) -> String {
    let [[numbers, target]] = all("(?m)^Numbers: ([0-9, ]+); target: ([0-9]+)$", text)[..] else {
        panic!("{text}");
    };
    let numbers: Vec<i64> = numbers.split(", ").map(|of| of.parse().unwrap()).collect();
    assert!(numbers.iter().all(|number| (1..50).contains(number)));
    let target = target.parse().unwrap();
    assert!((10..=50).contains(&target));
    let mut lines = Vec::new();
    let solution = find_target(&numbers, target, 1, &mut lines).unwrap();
    lines.push("Now we have found the target.".to_owned());
    format!("{}\n<Solution>\n{solution}</Solution>", lines.join("\n"))
}

/// The calculations from `numbers` to `target`, each with a line end.
fn find_target(
    numbers: &[i64],
    target: i64,
    dashes: usize,
    lines: &mut Vec<String>,
) -> Option<String> {
    let marks = "-".repeat(dashes);
    let text = |numbers: &[i64]| {
        numbers
            .iter()
            .map(i64::to_string)
            .collect::<Vec<_>>()
            .join(", ")
    };
    let pairs = (0..numbers.len()).flat_map(|i| (i + 1..numbers.len()).map(move |j| (i, j)));
    for (i, j) in pairs {
        let rest = numbers
            .iter()
            .enumerate()
            .filter(|(at, _)| *at != i && *at != j);
        let rest: Vec<i64> = rest.map(|(_, number)| *number).collect();
        let (a, b) = (numbers[i], numbers[j]);
        if numbers.len() > 2 {
            lines.push(format!(
                "{marks} Pick two numbers: {a} and {b}; left: {}",
                text(&rest)
            ));
        }
        let (a, b) = (a.max(b), a.min(b));
        for (sign, result) in [
            ("+", Some(a + b)),
            ("-", Some(a - b)),
            ("*", Some(a * b)),
            ("/", a.checked_div(b)),
        ] {
            let start = format!("{marks} Try {a} {sign} {b} =");
            let whole = result.filter(|result| sign != "/" || result * b == a);
            let left = whole.map(|result| [&[result], &rest[..]].concat());
            let line = match whole {
                None => "no whole number, drop this branch".to_owned(),
                Some(result) if result >= 2000 => format!("{result}: too large, drop this branch"),
                Some(result) if !rest.is_empty() => {
                    format!("{result}: now {}", text(left.as_ref().unwrap()))
                }
                Some(result) if result == target => format!("{result}: the target"),
                Some(result) => format!("{result}: not the target, drop this branch"),
            };
            let is_dropped = line.ends_with("drop this branch");
            lines.push(format!("{start} {line}"));
            if is_dropped {
                continue;
            }
            let after = match rest[..] {
                [] => Some(String::new()),
                _ => find_target(left.as_ref().unwrap(), target, dashes + 1, lines),
            };
            if let Some(after) = after {
                return Some(format!("{a} {sign} {b} = {}\n{after}", whole.unwrap()));
            }
        }
    }
    None
}

fn check(case: &Case, item: &Item) {
    let prompt = Prompt::of(item);
    assert_seamless(item, &prompt);
    let used = item.prompt.len() + item.max_new_tokens;
    assert!(
        used <= item.meta.length && item.meta.length - used < case.unit,
        "{}: {used} of {}",
        case.name,
        item.meta.length
    );
    let answer = (case.solve)(&format!("{}{}", prompt.context, prompt.question));
    assert_eq!(
        item.max_new_tokens,
        TOKENIZER.encode(&answer).unwrap().len()
    );
    check_scores(case.name, item, &answer);
    check_example(case, &prompt);
    let end = (case.end)(&prompt, &answer);
    let before = item.prompt.len() - item.meta.needle_distance.unwrap();
    let read = text_of(&item.prompt[item.parts.context.start..before]);
    // The last token may hold the line end as well.
    assert_eq!(read.trim_end(), &prompt.context[..end]);
    let depth = item.meta.depth.unwrap();
    assert!((depth - 0.5).abs() < 0.3, "{depth}");
}

/// Checks that the answer is right by every metric, that nothing at all is wrong, and that the first half is right in part.
fn check_scores(name: &str, item: &Item, answer: &str) {
    let card = find(name).unwrap().card();
    let score = |metric: Metric, output: &str| {
        let answered = Answered::new(&item.cue, output, card.reading, &item.gold);
        metric.score(&answered).unwrap()
    };
    for metric in card.metrics() {
        assert_eq!(score(metric, answer), Pair::both(1.0), "{answer}");
        assert_eq!(score(metric, "").strict.to_bits(), 0.0_f64.to_bits());
    }
    assert_eq!(score(Metric::Accuracy, ""), ScorePair::default());
    let half: Vec<&str> = answer.lines().take(answer.lines().count() / 2).collect();
    let half = format!("{}\n</Route>", half.join("\n"));
    let partial = score(Metric::PartialAccuracy, &half).strict;
    assert!((0.3..0.9).contains(&partial), "{partial} of {half}");
    assert_eq!(score(Metric::Accuracy, &half), ScorePair::default());
}

/// Checks that the worked example is right.
fn check_example(case: &Case, prompt: &Prompt) {
    let (_, example) = prompt.instruction.split_once("An example:\n").unwrap();
    let (problem, answer) = example.split_once(&prompt.cue).unwrap();
    let expected = format!("{}\nNow the ", (case.solve)(problem));
    assert!(answer.starts_with(&expected), "{answer} is not {expected}");
}

fn check_all(name: &str) {
    let case = CASES.iter().find(|case| case.name == name).unwrap();
    let plan = Plan {
        num_depths: 2,
        ..plan(case.lengths)
    };
    let items = try_items(name, &plan).unwrap();
    assert_eq!(items.len(), case.lengths.len() * 2 * 3);
    for item in &items {
        check(case, item);
    }
}

#[test]
fn routes() {
    check_all("path_traversal");
}

#[test]
fn stories() {
    check_all("tom_tracking");
}

#[test]
fn numbers() {
    check_all("countdown");
}
