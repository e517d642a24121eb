//! Folders with small files in every published format.

use super::{Value, json};
use crate::config::eval_files::FileSettings;
use std::fs;
use std::path::{Path, PathBuf};

/// A folder with everything in it.
pub(super) struct Folder(tempfile::TempDir);

impl Folder {
    pub(super) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(super) fn helmet(&self) -> PathBuf {
        self.0.path().join("helmet")
    }

    pub(super) fn longproc(&self) -> PathBuf {
        self.0.path().join("longproc/data")
    }

    pub(super) fn ruler(&self) -> PathBuf {
        self.0.path().join("ruler")
    }

    pub(super) fn settings(&self) -> FileSettings {
        FileSettings {
            helmet: Some(self.helmet()),
            longproc: Some(self.longproc()),
            ruler: Some(self.ruler()),
            ..FileSettings::default()
        }
    }
}

/// A length at which the files of a task are there and its prompts fit.
pub(super) fn length_of(name: &str) -> usize {
    match name {
        name if name.ends_with("_8k") => 16_384,
        _ => 4096,
    }
}

pub(super) fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

pub(super) fn write_lines(path: &Path, rows: &[Value]) {
    let lines: Vec<String> = rows.iter().map(Value::to_string).collect();
    write(path, &(lines.join("\n") + "\n"));
}

pub(super) fn write_list(path: &Path, rows: &[Value]) {
    write(path, &Value::from(rows.to_vec()).to_string());
}

/// Passages, the one with the answer at `gold`.
fn passages(num: usize, gold: usize, answer: &str) -> Vec<Value> {
    (0..num)
        .map(|index| {
            let text = if index == gold {
                format!("It is known that the answer is {answer}.")
            } else {
                "Nothing of interest is said here.".to_owned()
            };
            json!({"id": index.to_string(), "title": format!("Page {index}"), "text": text})
        })
        .collect()
}

/// KILT's rows: every question at two depths.
pub(super) fn kilt(num_questions: usize, num_passages: usize, extra: &Value) -> Vec<Value> {
    let mut rows = Vec::new();
    for question in 0..num_questions {
        for (gold, depth) in [(0, 0.0), (num_passages - 1, 1.0)] {
            let answer = format!("answer{question}");
            let mut row = json!({
                "question": format!("What is {question}?"),
                "answers": [answer, "other"],
                "ctxs": passages(num_passages, gold, &answer),
                "positive_ctxs": [],
                "depth": depth,
            });
            for (name, value) in extra.as_object().unwrap() {
                row[name] = value.clone();
            }
            if !extra.as_object().unwrap().is_empty() {
                row["id"] = json!(format!("q{question}"));
            }
            rows.push(row);
        }
    }
    rows
}

/// Every file that any data set reads.
pub(super) fn all() -> Folder {
    let folder = Folder::new();
    for length in [4096, 16_384] {
        helmet(&folder.helmet(), length);
        ruler(&folder.ruler(), length);
    }
    hub(&folder.helmet().join("hub"));
    longproc(&folder.longproc());
    folder
}

fn helmet(root: &Path, length: usize) {
    let tier = usize::from(length == 16_384);
    let (pairs, passages, judged) = ([50, 220][tier], [20, 105][tier], [14, 130][tier]);
    for (task, kind) in [
        ("niah_multikey_2", "number"),
        ("niah_multikey_3", "uuid"),
        ("niah_multivalue", "numbers"),
    ] {
        let rows: Vec<Value> = (0..3)
            .map(|index| {
                let answers = [format!("{}", 1_000_000 + index), format!("{}", 2_000_000 + index)];
                let answers = &answers[..if kind == "numbers" { 2 } else { 1 }];
                json!({
                    "index": index, "input": "whole", "length": 100, "outputs": answers, "answer": answers,
                    "context": format!("One is {}.\nAnother is {}.", answers[0], answers.last().unwrap()),
                    "query": format!("key-{index}"), "type_needle_v": kind,
                })
            })
            .collect();
        write_lines(
            &root.join(format!("ruler/{task}/validation_{length}.jsonl")),
            &rows,
        );
    }
    let rows: Vec<Value> = (0..4)
        .map(|index| {
            json!({
                "context": format!("JSON data:\n{{\"k{index}\": \"v{index}\",\n\"k\": \"v\"}}"),
                "demos": [["k", "v"], ["a", "b"], ["c", "d"]],
                "num_kvs": 2, "question": format!("k{index}"), "answer": format!("v{index}"), "depth": f64::from(index) / 3.0,
            })
        })
        .collect();
    write_lines(
        &root.join(format!("json_kv/test_k{pairs}_dep6.jsonl")),
        &rows,
    );
    for (set, depths) in [("nq", 6), ("triviaqa", 6), ("hotpotqa", 3)] {
        let file = |split: &str, num: usize| {
            root.join(format!(
                "kilt/{set}-{split}-multikilt_1000_k{num}_dep{depths}.jsonl"
            ))
        };
        write_lines(&file("dev", passages), &kilt(3, 4, &json!({})));
        write_lines(&file("train", 3), &kilt(4, 3, &json!({})));
    }
    let popular = [
        kilt(3, 4, &json!({"s_pop": 10})),
        kilt(1, 4, &json!({"s_pop": 5000})),
    ]
    .concat();
    write_lines(
        &root.join(format!("kilt/popqa_test_1000_k{passages}_dep6.jsonl")),
        &popular,
    );
    write_lines(
        &root.join("kilt/popqa_test_1000_k3_dep6.jsonl"),
        &kilt(4, 3, &json!({"s_pop": 10})),
    );
    for num in [judged, 10] {
        let rows: Vec<Value> = (0..4).map(|query| marco(query, 5)).collect();
        write_lines(
            &root.join(format!("msmarco/test_reranking_data_k{num}_dep3.jsonl")),
            &rows,
        );
    }
}

/// A query whose passage `query` is best and whose next one is good.
fn marco(query: usize, num: usize) -> Value {
    let passage = |index: usize| {
        let label = match index {
            index if index == query => 3,
            index if index == query + 1 => 1,
            _ => 0,
        };
        json!({"id": (100 + index).to_string(), "text": format!("Text {index}."), "label": label})
    };
    json!({
        "qid": (7 + query).to_string(), "query": format!("query {query}"), "depth": 0.5,
        "ctxs": (0..num).map(passage).collect::<Vec<_>>(),
    })
}

fn hub(root: &Path) {
    let labelled = |label: &str, num_labels: usize, num: usize| -> Vec<Value> {
        (0..num)
            .map(|index| {
                let mut row = json!({"text": format!("text {index}")});
                row[label] = json!(index % num_labels);
                row
            })
            .collect()
    };
    for (folder, label, num_labels, test) in [
        ("banking77", "label", 77, Some("test")),
        ("clinic150", "intent", 151, Some("validation")),
        ("nlu", "label", 68, None),
    ] {
        write_lines(
            &root.join(format!("{folder}/train.jsonl")),
            &labelled(label, num_labels, 30),
        );
        if let Some(test) = test {
            write_lines(
                &root.join(format!("{folder}/{test}.jsonl")),
                &labelled(label, num_labels, 3),
            );
        }
    }
    let trec = |num: usize| -> Vec<Value> {
        (0..num)
            .map(|index| json!({"text": format!("text {index}"), "coarse_label": index % 6, "fine_label": index % 50}))
            .collect()
    };
    write_lines(&root.join("trec/train.jsonl"), &trec(30));
    write_lines(&root.join("trec/test.jsonl"), &trec(3));
    let story = |index: usize| {
        json!({
            "document": {"id": index, "text": format!("Story {index} begins. {}", "And then nothing happened. ".repeat(3200))},
            "question": {"text": format!("Who is {index}?")},
            "answers": [{"text": format!("The person {index}")}, {"text": "nobody"}],
        })
    };
    let stories: Vec<Value> = (0..2).map(story).collect();
    write_lines(&root.join("narrativeqa/test.jsonl"), &stories);
    let shown: Vec<Value> = (5..8)
        .map(|index| json!({"question": {"text": format!("Who is {index}?")}, "answers": [{"text": "someone"}]}))
        .collect();
    write_lines(&root.join("narrativeqa/train.jsonl"), &shown);
    let book = |index: usize| {
        json!({
            "id": index, "context": format!("Book {index}. {}", "It goes on. ".repeat(900)), "input": format!("Question {index}?"),
            "answer": [format!("option {}", index % 4)], "options": ["option 0", "option 1", "option 2", "option 3"],
        })
    };
    for kind in ["qa", "choice", "sum"] {
        let books: Vec<Value> = (0..4).map(book).collect();
        write_lines(
            &root.join(format!("infinitebench/longbook_{kind}_eng.jsonl")),
            &books,
        );
    }
    let case = |index: usize, summary: Value| json!({"id": index, "sources": ["It was filed. ".repeat(800), "It was heard. ".repeat(800)], "summary/short": summary});
    let cases = [
        case(0, json!("The court ruled.")),
        case(1, Value::Null),
        case(2, json!("It was settled.")),
    ];
    write_lines(&root.join("multi_lexsum/validation.jsonl"), &cases);
    let shown: Vec<Value> = (0..3)
        .map(|index| json!({"summary/short": format!("Summary {index}.")}))
        .collect();
    write_lines(&root.join("multi_lexsum/train.jsonl"), &shown);
}

fn longproc(root: &Path) {
    let prompts = |task: &str, text: &str| {
        let lines = text.replace('\n', "\n  ");
        write(
            &root.join(format!("{task}/prompts.yaml")),
            &format!("USER_PROMPT: |-\n  {lines}\n"),
        );
    };
    prompts(
        "path_traversal",
        "Routes.\n{city_context}\nFrom {src_city} to {dst_city}, as {{city}}.",
    );
    prompts("tom_tracking", "{story}\n{question}");
    prompts("countdown", "{demonstration}\nNow {nums} to {target}.");
    prompts("travel_planning", "{demonstration}\nPlan: {problem}");
    prompts(
        "html_to_tsv",
        "{html_str}\n{task_topic} {task_description} {tsv_header} {filtering_instruction}",
    );
    for level in ["0.5k", "2k", "8k"] {
        write_list(
            &root.join(format!("path_traversal/path_traversal_{level}.json")),
            &[json!({
                "context_nl": "A leads to B by bus.", "context_repr": [], "question_repr": ["A", "B"],
                "answer_repr": [], "answer_nl": "From A, take a bus to B.",
            })],
        );
        write_list(
            &root.join(format!("tom_tracking/tom_tracking_{level}.json")),
            &[json!({
                "story_components": {}, "story": "Ann enters.", "question": "Where is the ball?",
                "solution": "- Ann is in the hall.\n- Ann believes the ball is nowhere.", "answer": "None",
            })],
        );
        write_list(
            &root.join(format!("countdown/countdown_{level}.json")),
            &[
                json!({"nums": [1, 2, 3, 4], "target": 24, "demonstration": "# Search one"}),
                json!({"nums": [3, 8, 21, 30], "target": 14, "solution": [], "num_search_tokens": 5}),
            ],
        );
        write_list(
            &root.join(format!("html_to_tsv/html_to_tsv_{level}.json")),
            &[json!({
                "task_id": "1", "website_id": "2", "html_path": "data/html_to_tsv/pages/a.html", "task_topic": "Films",
                "task_description": "List them.", "gt": "name\tyear\nHeat\t1995", "tsv_header": "name\tyear", "filtering_instruction": "All.",
            })],
        );
    }
    write(&root.join("html_to_tsv/pages/a.html"), "<p>Heat, 1995</p>");
    let tour = |tokens: usize| {
        json!({
            "id": tokens, "constraints": [], "disambig_question_text": "Visit 2 European cities for 6 days.", "ground_truth_plan": "",
            "ground_truth_cities": "Oslo**Porto", "ground_truth_durations": "4**3", "estimated_output_tokens": tokens,
        })
    };
    write_list(
        &root.join("travel_planning/travel_planning_all.json"),
        &[tour(2047), tour(2048), tour(4096), tour(8192)],
    );
}

fn ruler(root: &Path, length: usize) {
    for task in super::registry::all().map(|task| crate::eval::task::Task::card(task).name) {
        let Some(task) = task.strip_prefix("ruler_") else {
            continue;
        };
        let input = if task.starts_with("qa") {
            "Answer the question based on the given documents.\n\nDocument 1:\nIt is 77.\n\nAnswer the question based on the given documents.\n\nQuestion: What is it?"
        } else {
            "Remember.\nIt is 77.\nWhat is it?"
        };
        let row = json!({
            "index": 0, "input": input, "outputs": ["77"], "length": 50, "answer_prefix": " It is", "token_position_answer": 3,
        });
        write_lines(
            &root.join(format!("{task}/validation_{length}.jsonl")),
            &[row],
        );
    }
}
