//! lm-evaluation-harness's layout: one file of results and one of samples per task, in a folder per model, method and chunk
//! length.
//!
//! A score at one length has the length as its name, as that harness's RULER tasks have it. A run folder keeps a hash of each
//! prompt in place of its text: `arg_0` is that hash.

use super::subject::{Subject, answered, max_output, subjects};
use crate::eval::item_result::ItemResult;
use crate::eval::metric::registry::Metric;
use crate::eval::results::{MethodResult, Results, TaskInfo};
use crate::eval::summary::{Score, mean};
use crate::mask::arch::hex;
use crate::mask::export::ExportFile;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

/// The name of the only filter: none.
const FILTER: &str = "none";

/// Every file; `written_s` is when the results were written, in seconds since 1970.
pub fn files(results: &Results, written_s: u64) -> Vec<ExportFile> {
    let time = time_text(written_s);
    let mut files = Vec::new();
    for subject in &subjects(results) {
        let folder = safe(&subject.word());
        files.push(ExportFile {
            name: format!("{folder}/results_{time}.json"),
            bytes: format!("{:#}\n", whole(results, subject, written_s)).into_bytes(),
        });
        for (task, method) in &subject.tasks {
            let line = |(id, item)| format!("{}\n", sample(task, id, item));
            let lines: String = answered(method).enumerate().map(line).collect();
            files.push(ExportFile {
                name: format!("{folder}/samples_{}_{time}.jsonl", task.name),
                bytes: lines.into_bytes(),
            });
        }
    }
    files
}

fn whole(results: &Results, subject: &Subject<'_>, written_s: u64) -> Value {
    let of = &results.provenance;
    let part = subject.part;
    let by_task = |value: &dyn Fn(&TaskInfo, &MethodResult) -> Value| -> Map<String, Value> {
        let tasks = subject.tasks.iter();
        tasks
            .map(|(task, method)| (task.name.clone(), value(task, method)))
            .collect()
    };
    let seconds = subject
        .tasks
        .iter()
        .flat_map(|(_, method)| answered(method));
    let seconds = seconds.map(ItemResult::total_ms).sum::<f64>() / 1000.0;
    json!({
        "results": by_task(&|task, method| scores(results, task, method)),
        "groups": {},
        "group_subtasks": by_task(&|_, _| json!([])),
        "configs": by_task(&|task, method| json!({
            "task": task.name,
            "num_fewshot": 0,
            "output_type": "generate_until",
            "generation_kwargs": {"do_sample": false, "temperature": 0.0, "max_gen_toks": max_output(answered(method))},
            "metric_list": task.metrics().map(|metric| json!({"metric": metric.name()})).collect::<Vec<_>>(),
            "metadata": {"version": 1.0},
        })),
        "versions": by_task(&|_, _| json!(1.0)),
        "n-shot": by_task(&|_, _| json!(0)),
        "higher_is_better": by_task(&|task, _| {
            task.metrics().map(|metric| (metric.name().to_owned(), json!(true))).collect::<Map<_, _>>().into()
        }),
        "n-samples": by_task(&|_, method| json!({
            "original": method.summary.num_expected,
            "effective": method.summary.num_items,
        })),
        "config": {
            "model": "prulong",
            "model_args": {
                "pretrained": part.model.name,
                "kv_method": subject.method,
                "chunk_len": part.chunk_len,
                "streaming": part.streaming,
                "dtype": of.machine.dtype,
                "weights_sha256": part.model.weights_sha256,
            },
            "batch_size": 1,
            "device": of.machine.device,
            "limit": of.grid.limit,
            "gen_kwargs": null,
            "random_seed": of.grid.seeds.first(),
        },
        "git_hash": of.commit,
        "date": written_s,
        "task_hashes": by_task(&|task, method| {
            let hashes: String = answered(method).map(|item| sha256(&doc(item).to_string())).collect();
            json!(sha256(&format!("{}{hashes}", task.name)))
        }),
        "chat_template": null,
        "model_name": subject.word(),
        "model_name_sanitized": safe(&subject.word()),
        "total_evaluation_time_seconds": seconds.to_string(),
    })
}

/// Means with standard errors, over everything and by length; nothing of what was not answered.
fn scores(results: &Results, task: &TaskInfo, method: &MethodResult) -> Value {
    let mut scores = Map::new();
    scores.insert("alias".to_owned(), json!(task.name));
    let values = |metric, length: Option<usize>| -> Vec<f64> {
        let items = answered(method)
            .filter(|item| length.is_none_or(|length| item.length_target == length));
        let scores = items.filter_map(|item| item.scores.get(&metric));
        scores.map(|score| *score.of(task.headline)).collect()
    };
    let mut add = |name: &str, values: &[f64]| {
        if !values.is_empty() {
            let mean = mean(values.iter().copied());
            scores.insert(format!("{name},{FILTER}"), json!(mean));
            let error = standard_error(values);
            scores.insert(format!("{name}_stderr,{FILTER}"), json!(error));
        }
    };
    for metric in task.metrics() {
        add(metric.name(), &values(metric, None));
    }
    for length in &results.provenance.grid.lengths {
        add(&length.to_string(), &values(task.metric, Some(*length)));
    }
    if method.summary.num_items > 0 {
        let kv = method.summary.kv_counted;
        scores.insert(format!("kv_footprint,{FILTER}"), json!(kv.kv_footprint));
        scores.insert(format!("kv_peak,{FILTER}"), json!(kv.kv_peak));
    }
    let interval = method.summary.overall(task.metric, task.headline);
    if let Some(Score { low, high, .. }) = interval {
        scores.insert(
            format!("{}_interval,{FILTER}", task.metric.name()),
            json!([low, high]),
        );
    }
    scores.insert("sample_len".to_owned(), json!(method.summary.num_items));
    Value::Object(scores)
}

/// The sample standard deviation over the root of the number; nothing for fewer than two.
#[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 items")]
fn standard_error(values: &[f64]) -> Option<f64> {
    let count = values.len() as f64;
    let mean = mean(values.iter().copied());
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (values.len() > 1).then(|| (squares / (count - 1.0) / count).sqrt())
}

fn doc(item: &ItemResult) -> Value {
    json!({
        "id": item.id,
        "question": item.question,
        "answer_prefix": item.cue,
        "gold": item.gold,
        "length": item.length_target,
        "depth": item.depth,
        "seed": item.seed,
    })
}

fn sample(task: &TaskInfo, id: usize, item: &ItemResult) -> Value {
    let doc = doc(item);
    let target = item.gold.answers().map_or_else(
        || json!(item.gold).to_string(),
        |answers| answers.join("\n"),
    );
    let mut sample = Map::new();
    let mut add = |name: &str, value: Value| sample.insert(name.to_owned(), value);
    add("doc_id", json!(id));
    add("doc_hash", json!(sha256(&doc.to_string())));
    add("doc", doc);
    add("prompt_hash", json!(item.prompt_hash));
    add("target_hash", json!(sha256(&target)));
    add("target", json!(target));
    let settings = json!({"until": [], "max_gen_toks": item.tokens.max_output, "do_sample": false});
    let prompt = format!("blake3:{}", item.prompt_hash);
    add(
        "arguments",
        json!({"gen_args_0": {"arg_0": prompt, "arg_1": settings}}),
    );
    add("resps", json!([[item.output]]));
    add("filtered_resps", json!([item.parsed]));
    add("filter", json!(FILTER));
    let metrics: Vec<&str> = task.metrics().map(Metric::name).collect();
    add("metrics", json!(metrics));
    for (metric, score) in &item.scores {
        add(metric.name(), json!(score.of(task.headline)));
    }
    Value::Object(sample)
}

fn sha256(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

/// A name with every run of characters that some system refuses replaced.
fn safe(name: &str) -> String {
    let mut safe = String::new();
    let mut in_run = false;
    for c in name.chars() {
        let is_bad = "\"<>:/|\\?*[]".contains(c);
        if !is_bad {
            safe.push(c);
        } else if !in_run {
            safe.push_str("__");
        }
        in_run = is_bad;
    }
    safe
}

/// `2026-01-31T09-05-00`: the time in UTC by the proleptic Gregorian calendar, for names of files.
fn time_text(seconds: u64) -> String {
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    // Days since 1 March of year 0, in eras of 400 years: a leap day then ends its year.
    let shifted = days + 719_468;
    let (era, day) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day_of_month:02}T{hour:02}-{minute:02}-{second:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_names_are_those_of_other_programs() {
        // `date -u -d @N +%FT%H-%M-%S` says the same.
        for (seconds, text) in [
            (0, "1970-01-01T00-00-00"),
            (951_782_399, "2000-02-28T23-59-59"),
            (951_782_400, "2000-02-29T00-00-00"),
            (1_735_689_599, "2024-12-31T23-59-59"),
            (4_107_542_400, "2100-03-01T00-00-00"),
        ] {
            assert_eq!(time_text(seconds), text);
        }
        assert_eq!(safe("a/b::c[1]?"), "a__b__c__1__");
        assert_eq!(sha256("abc")[..16], *"ba7816bf8f01cfea");
    }

    #[test]
    fn standard_errors_are_of_the_sample() {
        assert_eq!(standard_error(&[1.0]), None);
        let error = standard_error(&[0.0, 1.0, 1.0, 0.0]).unwrap();
        assert!(
            (error - (1.0_f64 / 3.0 / 4.0).sqrt()).abs() < 1e-12,
            "{error}"
        );
    }
}
