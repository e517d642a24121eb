//! A recording as a Chrome trace: JSON that `chrome://tracing` and Perfetto open.
//!
//! Every span is a complete event (`"ph": "X"`) with its beginning and length in microseconds, its direction as category,
//! and shapes and layer as arguments. Source: the Trace Event Format of the Chromium project.

use super::span::Span;
use serde_json::{Value, json};

/// The trace of `spans`; `facts` are shown beside it.
pub fn trace(spans: &[Span], facts: &Value) -> Value {
    let names = [("process_name", "prulong"), ("thread_name", "training")];
    let names = names.map(|(key, name)| {
        json!({ "name": key, "ph": "M", "pid": 1, "tid": 1, "args": { "name": name } })
    });
    let events: Vec<Value> = names.into_iter().chain(spans.iter().map(event)).collect();
    json!({ "displayTimeUnit": "ms", "otherData": facts, "traceEvents": events })
}

fn event(span: &Span) -> Value {
    let mut args = serde_json::Map::new();
    if let Some(index) = span.index {
        args.insert("index".to_owned(), index.into());
    }
    if !span.shapes.is_empty() {
        args.insert("shapes".to_owned(), json!(span.shapes));
    }
    json!({
        "name": span.part.name(),
        "cat": span.pass.name(),
        "ph": "X",
        "ts": micros(span.start_ns),
        "dur": micros(span.len_ns()),
        "pid": 1,
        "tid": 1,
        "args": args,
    })
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a recording lasts far less than the 104 days of 2^53 ns"
)]
fn micros(ns: u64) -> f64 {
    ns as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::span::{Part, Pass};

    #[test]
    fn a_span_becomes_a_complete_event_in_microseconds() {
        let span = Span {
            part: Part::Full,
            pass: Pass::Backward,
            index: None,
            parent: Some(0),
            shapes: vec![vec![1, 8, 4, 2]],
            start_ns: 1_500,
            end_ns: 4_750,
        };
        let trace = trace(&[span], &json!({ "device": "cpu" }));
        assert_eq!(trace["otherData"]["device"], "cpu");
        assert_eq!(trace["traceEvents"][0]["args"]["name"], "prulong");
        let expected = json!({
            "name": "attention full", "cat": "backward", "ph": "X", "ts": 1.5, "dur": 3.25, "pid": 1, "tid": 1,
            "args": { "shapes": [[1, 8, 4, 2]] },
        });
        assert_eq!(trace["traceEvents"][2], expected);
    }
}
