//! `prulong train --profile`: the trace of a real run.

use crate::fault_runs::{Place, assert_finished};
use serde_json::Value;
use std::collections::BTreeSet;

/// A complete event.
#[derive(Debug)]
struct Event {
    name: String,
    category: String,
    index: Option<u64>,
    start: f64,
    end: f64,
    has_shapes: bool,
}

fn events(trace: &Value) -> Vec<Event> {
    let events = trace["traceEvents"].as_array().unwrap();
    let complete = events.iter().filter(|event| event["ph"] == "X");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    complete
        .map(|event| {
            let start = event["ts"].as_f64().unwrap();
            Event {
                name: text(&event["name"]),
                category: text(&event["cat"]),
                index: event["args"]["index"].as_u64(),
                start,
                end: start + event["dur"].as_f64().unwrap(),
                has_shapes: event["args"]["shapes"].is_array(),
            }
        })
        .collect()
}

/// Half a nanosecond: what sums of microseconds in f64 may be off.
const ROUNDING: f64 = 0.0005;

/// Every event lies inside the one around it, and the events directly inside one never take longer than it.
fn check_nesting(events: &[Event]) {
    // Innermost last: its end, and the time of what lies directly inside it.
    let mut open: Vec<(f64, f64, f64)> = Vec::new();
    for event in events {
        while open
            .last()
            .is_some_and(|(_, end, _)| event.start >= end - ROUNDING)
        {
            let (start, end, inside) = open.pop().unwrap();
            assert!(inside <= end - start + ROUNDING);
        }
        if let Some((_, end, inside)) = open.last_mut() {
            assert!(event.end <= *end + ROUNDING, "{event:?} outlives {end}");
            *inside += event.end - event.start;
        }
        open.push((event.start, event.end, 0.0));
    }
    assert!(events.iter().all(|event| event.end >= event.start));
}

#[test]
fn a_profiled_run_leaves_a_nested_trace_of_every_layer_and_the_same_numbers() {
    let place = Place::train(&["attention.backend=\"cpu-flash\""]);
    assert_finished(&place.finish("plain"));
    let path = place.run_dir("trace.json");
    assert!(!path.exists(), "nobody asked for a trace");
    let mut command = place.command("profiled");
    let output = command.arg("--profile").arg(&path).output().unwrap();
    assert_finished(&output);
    place.assert_same("plain", "profiled");
    let notes = String::from_utf8(output.stderr).unwrap();
    assert!(notes.contains("steps 2 to 4 are profiled\n"), "{notes}");
    assert!(notes.contains("\nwhere the time goes "), "{notes}");

    let trace: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    assert_eq!(trace["otherData"]["steps"], serde_json::json!([2, 4]));
    let events = events(&trace);
    check_nesting(&events);
    let frames = |name: &str, category: &str| {
        let found = events
            .iter()
            .filter(|event| event.name == name && event.category == category);
        found
            .map(|event| event.index.unwrap())
            .collect::<Vec<u64>>()
    };
    assert_eq!(frames("step", "step"), [1, 2, 3]);
    // Two rows a step, two layers.
    assert_eq!(frames("micro-batch", "step"), [0, 1].repeat(3));
    assert_eq!(frames("layer", "forward"), [0, 1].repeat(6));
    assert_eq!(frames("layer", "backward"), [1, 0].repeat(6));
    let found: BTreeSet<(&str, &str)> = events
        .iter()
        .map(|event| (event.name.as_str(), event.category.as_str()))
        .collect();
    for (name, categories) in [
        ("data wait", &["step"][..]),
        ("embed", &["forward"]),
        ("norm", &["forward", "recompute", "backward"]),
        ("qkv", &["forward", "recompute", "backward"]),
        ("rope", &["forward", "recompute", "backward"]),
        ("attention full", &["forward", "backward"]),
        ("attention mix", &["forward", "recompute", "backward"]),
        ("o", &["forward", "recompute", "backward"]),
        ("mlp", &["forward", "backward"]),
        ("loss", &["forward+backward"]),
        ("optimizer", &["step"]),
    ] {
        for category in categories {
            assert!(
                found.contains(&(name, *category)),
                "{name}, {category}: {found:?}"
            );
        }
    }
    // Attention's outputs are kept by default, and this kernel runs one branch after the other.
    assert!(!found.contains(&("attention full", "recompute")));
    assert!(!found.iter().any(|(name, _)| *name == "attention fused"));
    assert!(
        events
            .iter()
            .any(|event| event.name == "qkv" && event.has_shapes)
    );
}

#[test]
fn a_taken_file_is_refused_before_the_first_step() {
    let place = Place::train(&[]);
    let path = place.run_dir("taken");
    std::fs::write(&path, "mine").unwrap();
    let output = place
        .command("run")
        .arg("--profile")
        .arg(&path)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let notes = String::from_utf8(output.stderr).unwrap();
    assert!(notes.contains("error[profile.exists]: "), "{notes}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
}
