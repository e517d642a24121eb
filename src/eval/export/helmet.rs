//! HELMET's layout: a JSON file for each task, length and seed, in a folder per model, method and chunk length.
//!
//! Scores are `compat`, as HELMET's are; those of `strict` have a name of their own. `input_text` is not there: a run folder
//! keeps a hash of each prompt (`prompt_hash`).

use super::subject::{Subject, answered, max_output, subjects};
use crate::eval::dataset::{self, Published, PublishedFile};
use crate::eval::item::Origin;
use crate::eval::item_result::ItemResult;
use crate::eval::results::{Results, TaskInfo};
use crate::eval::summary::mean;
use crate::mask::export::ExportFile;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The tag that the published plots look for.
const TAG: &str = "eval";

/// The items of one file.
struct Set<'a> {
    subject: &'a Subject<'a>,
    task: &'a TaskInfo,
    length: usize,
    seed: u64,
    items: Vec<&'a ItemResult>,
}

/// Every file, two for each set of items.
pub fn files(results: &Results) -> Vec<ExportFile> {
    let mut files = Vec::new();
    for subject in &subjects(results) {
        for (task, method) in &subject.tasks {
            let mut sets: BTreeMap<(usize, u64), Vec<&ItemResult>> = BTreeMap::new();
            for item in answered(method) {
                sets.entry((item.length_target, item.seed))
                    .or_default()
                    .push(item);
            }
            for ((length, seed), items) in sets {
                let set = Set {
                    subject,
                    task,
                    length,
                    seed,
                    items,
                };
                files.extend(set.files());
            }
        }
    }
    files
}

impl Set<'_> {
    fn files(&self) -> [ExportFile; 2] {
        let metrics = self.metrics();
        let averages = averages(&metrics);
        let name = format!("{}/{}", self.subject.word(), self.file_name());
        let whole = json!({
            "args": self.args(),
            "data": self.items.iter().map(|item| data(item)).collect::<Vec<_>>(),
            "metrics": metrics,
            "averaged_metrics": averages,
            "memory_usage": self.items.iter().filter_map(|item| item.kv).map(|kv| kv.allocated_bytes).max(),
            "throughput": self.throughput(),
        });
        let file = |name: String, value: &Value| ExportFile {
            name,
            bytes: pretty(value).into_bytes(),
        };
        let score = format!("{name}.score");
        [file(name, &whole), file(score, &Value::Object(averages))]
    }

    /// As HELMET names its files; a generated set has no file of its own.
    fn file_name(&self) -> String {
        let Published { name, file, shots } = self.published();
        let origin = self.origin();
        let source = origin.map_or("", |origin| &origin.source);
        format!(
            "{name}_{TAG}_{}_in{}_size{}_shots{shots}_sampFalsemax{}min0t0.0p1.0_chat{}_{}.json",
            file.word(source),
            self.length,
            self.items.len(),
            self.max_output(),
            if self.is_chat() { "True" } else { "False" },
            self.seed
        )
    }

    fn published(&self) -> Published {
        match dataset::registry::find(&self.task.name) {
            Some(set) => set.0.published(self.length),
            None => Published {
                name: self.task.name.clone(),
                file: PublishedFile::Hub,
                shots: 0,
            },
        }
    }

    fn origin(&self) -> Option<&Origin> {
        self.items.first()?.origin.as_ref()
    }

    fn is_chat(&self) -> bool {
        self.origin().is_some_and(|origin| origin.chat)
    }

    fn max_output(&self) -> usize {
        max_output(self.items.iter().copied()).unwrap_or(0)
    }

    fn args(&self) -> Value {
        let Published { name, shots, .. } = self.published();
        json!({
            "model_name_or_path": self.subject.part.model.name,
            "datasets": name,
            "tag": TAG,
            "input_max_length": self.length,
            "max_test_samples": self.items.len(),
            "generation_max_length": self.max_output(),
            "generation_min_length": 0,
            "do_sample": false,
            "temperature": 0.0,
            "top_p": 1.0,
            "shots": shots,
            "use_chat_template": self.is_chat(),
            "seed": self.seed,
            "kv_method": self.subject.method,
            "chunk_len": self.subject.part.chunk_len,
        })
    }

    /// A list over items for every figure.
    fn metrics(&self) -> Map<String, Value> {
        let mut metrics = Map::new();
        let mut add = |name: String, pick: &dyn Fn(&ItemResult) -> f64| {
            let values: Vec<f64> = self.items.iter().map(|item| pick(item)).collect();
            metrics.insert(name, json!(values));
        };
        for metric in self.task.metrics() {
            let of = move |item: &ItemResult| item.scores.get(&metric).copied().unwrap_or_default();
            add(metric.name().to_owned(), &|item| of(item).compat);
            add(format!("{}_strict", metric.name()), &|item| of(item).strict);
        }
        add("kv_footprint".to_owned(), &ItemResult::kv_footprint);
        add("kv_peak".to_owned(), &ItemResult::kv_peak);
        add("input_len".to_owned(), &|item| count(item.tokens.prompt));
        add("output_len".to_owned(), &|item| count(item.tokens.output));
        metrics
    }

    /// Items per second.
    fn throughput(&self) -> f64 {
        let times = self.items.iter().map(|item| item.total_ms());
        let seconds = times.sum::<f64>() / 1000.0;
        if seconds > 0.0 {
            count(self.items.len()) / seconds
        } else {
            0.0
        }
    }
}

/// Means, in percent but for lengths, peaks and times.
fn averages(metrics: &Map<String, Value>) -> Map<String, Value> {
    let average = |(name, values): (&String, &Value)| {
        let values = values.as_array().map_or(&[][..], Vec::as_slice);
        let mean = mean(
            values
                .iter()
                .map(|value| value.as_f64().unwrap_or_default()),
        );
        let is_plain = ["_len", "peak", "time"]
            .iter()
            .any(|part| name.contains(part));
        (
            name.clone(),
            json!(if is_plain { mean } else { 100.0 * mean }),
        )
    };
    metrics.iter().map(average).collect()
}

fn data(item: &ItemResult) -> Value {
    json!({
        "id": item.id,
        "question": item.question,
        "answer": item.gold,
        "depth": item.depth,
        "prompt_hash": item.prompt_hash,
        "output": item.output,
        "parsed_output": item.parsed,
        "input_len": item.tokens.prompt,
        "output_len": item.tokens.output,
    })
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn count(of: usize) -> f64 {
    of as f64
}
