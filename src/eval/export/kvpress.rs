//! kvpress's layout: a folder for each model, method, chunk length and length, with predictions, scores and settings.
//!
//! `compression_ratio` is 1 less the KV footprint, counted from the caches. `string_match` is RULER's score, whatever a task is
//! judged by; the task's own scores stand beside it. Contexts are not kept in a run folder and have no column.

use super::string_match::string_match;
use super::subject::{Subject, answered, subjects};
use crate::eval::item_result::ItemResult;
use crate::eval::metric::registry::Metric;
use crate::eval::results::{MethodResult, Results, TaskInfo};
use crate::eval::summary::mean;
use crate::eval::text::csv_text::csv_text;
use crate::mask::export::ExportFile;
use serde_json::{Map, Value, json};
use std::fmt::Write;

/// The columns of `predictions.csv`.
const COLUMNS: [&str; 7] = [
    "question",
    "answer_prefix",
    "answer",
    "task",
    "max_new_tokens",
    "predicted_answer",
    "compression_ratio",
];

/// Every file, three for each folder.
pub fn files(results: &Results) -> Vec<ExportFile> {
    let mut files = Vec::new();
    for subject in &subjects(results) {
        for length in &results.provenance.grid.lengths {
            let folder = Folder {
                results,
                subject,
                length: *length,
            };
            files.extend(folder.files());
        }
    }
    files
}

/// What one folder holds.
struct Folder<'a> {
    results: &'a Results,
    subject: &'a Subject<'a>,
    length: usize,
}

impl Folder<'_> {
    fn files(&self) -> Vec<ExportFile> {
        let items: Vec<&ItemResult> = self.tasks().flat_map(|(_, items)| items).collect();
        let Some(first) = items.first() else {
            return Vec::new();
        };
        let ratio = mean(items.iter().map(|item| ratio(item)));
        let aware = if first.query_agnostic {
            ""
        } else {
            "__query_aware"
        };
        let model = self.subject.model_word();
        let method = self.subject.method_word();
        let folder = format!(
            "prulong__{}__{model}__{method}__{ratio:.2}{aware}",
            self.length
        );
        let file = |file_name: &str, text: String| ExportFile {
            name: format!("{folder}/{file_name}"),
            bytes: text.into_bytes(),
        };
        vec![
            file("predictions.csv", predictions(&items)),
            file(
                "metrics.json",
                format!("{:#}\n", Value::Object(self.metrics())),
            ),
            file("config.yaml", self.config(ratio, first)),
        ]
    }

    /// Every task with its answered items of this length.
    fn tasks(&self) -> impl Iterator<Item = (&TaskInfo, Vec<&ItemResult>)> {
        let tasks = self.subject.tasks.iter();
        let found = tasks.map(|(task, method)| (*task, answered_at(method, self.length)));
        found.filter(|(_, items)| !items.is_empty())
    }

    fn metrics(&self) -> Map<String, Value> {
        let of_task = |(task, items): (&TaskInfo, Vec<&ItemResult>)| {
            let matches: Vec<f64> = items.iter().filter_map(|item| string_match(item)).collect();
            let mut scores = Map::new();
            if matches.len() == items.len() {
                scores.insert("string_match".to_owned(), rounded(&matches));
            }
            for metric in task
                .metrics()
                .filter(|metric| *metric != Metric::RulerRecall)
            {
                let values = items.iter().filter_map(|item| item.scores.get(&metric));
                let values: Vec<f64> = values.map(|score| *score.of(task.headline)).collect();
                scores.insert(metric.name().to_owned(), rounded(&values));
            }
            (task.name.clone(), Value::Object(scores))
        };
        self.tasks().map(of_task).collect()
    }

    /// Settings as YAML, every value in the form of JSON, which YAML contains.
    fn config(&self, ratio: f64, first: &ItemResult) -> String {
        let of = &self.results.provenance;
        let part = self.subject.part;
        let values = [
            ("dataset", json!("prulong")),
            ("data_dir", json!(self.length.to_string())),
            ("model", json!(part.model.name)),
            ("device", json!(of.machine.device)),
            ("press_name", json!(self.subject.method)),
            ("compression_ratio", json!(ratio)),
            ("chunk_len", json!(part.chunk_len)),
            ("query_aware", json!(!first.query_agnostic)),
            ("fraction", json!(1.0)),
            ("seed", json!(of.grid.seeds.first())),
            ("model_weights_sha256", json!(part.model.weights_sha256)),
            ("prulong_version", json!(of.version)),
        ];
        let mut yaml = String::new();
        for (name, value) in values {
            let _ = writeln!(yaml, "{name}: {value}");
        }
        yaml
    }
}

fn answered_at(method: &MethodResult, length: usize) -> Vec<&ItemResult> {
    let items = answered(method);
    items.filter(|item| item.length_target == length).collect()
}

fn ratio(item: &ItemResult) -> f64 {
    1.0 - item.kv_footprint()
}

/// A mean in percent with two decimals.
fn rounded(values: &[f64]) -> Value {
    let mean = 100.0 * mean(values.iter().copied());
    json!((100.0 * mean).round() / 100.0)
}

/// Answers are JSON, in which a list of texts is one of Python's literals too: what the readers of a column of lists evaluate.
fn predictions(items: &[&ItemResult]) -> String {
    let row = |item: &&ItemResult| {
        let answers = item.gold.answers();
        let answers = answers.map_or_else(|| json!(item.gold), |answers| json!(answers));
        [
            item.question.clone(),
            item.cue.clone(),
            answers.to_string(),
            item.task.clone(),
            item.tokens.max_output.to_string(),
            item.output.clone(),
            ratio(item).to_string(),
        ]
    };
    let rows = items.iter().map(row);
    csv_text(std::iter::once(COLUMNS.map(str::to_owned)).chain(rows))
}
