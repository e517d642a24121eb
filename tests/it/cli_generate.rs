//! `prulong generate` as a shell sees it, on the tiny model.

use assert_cmd::cargo::cargo_bin_cmd;
use prulong::attention::choose;
use prulong::data::tokenizer::Tokenizer;
use prulong::eval::item::Item;
use prulong::eval::material::Material;
use prulong::eval::plan::Plan;
use prulong::eval::task::json_kv::JsonKv;
use prulong::infer::decode::Limits;
use prulong::infer::generate::{Engine, Generation};
use prulong::infer::policy::Policy;
use prulong::infer::policy::full::Full;
use prulong::infer::policy::head_mask::HeadMaskPolicy;
use prulong::mask::head_mask::{HeadKind, HeadMask};
use prulong::model::llama::Llama;
use prulong::span::{Span, StreamingRule};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const PROMPT: &str =
    "fn main() {\n    let total = 1 + 2;\n    println!(\"{}\", total);\n}\n\nfn main() {\n";
const STREAMING: [&str; 8] = [
    "--method",
    "all-streaming",
    "--sink",
    "4",
    "--window",
    "8",
    "--rule",
    "duo-chunk",
];

fn tiny() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("checkpoints/tiny")
}

/// Exit code, standard output, standard error.
fn generate(extra: &[&str], stdin: &str) -> (Option<i32>, String, String) {
    let output = cargo_bin_cmd!("prulong")
        .arg("generate")
        .arg("--model")
        .arg(tiny())
        .args(["--device", "cpu", "--dtype", "f32"])
        .args(["--threads", "1", "--chunk", "16"])
        .args(extra)
        .write_stdin(stdin)
        .output()
        .unwrap();
    (
        output.status.code(),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

fn json(extra: &[&str]) -> Value {
    let (code, stdout, stderr) = generate(&[extra, &["--json"]].concat(), "");
    assert_eq!(code, Some(0), "{stderr}");
    serde_json::from_str(&stdout).unwrap()
}

fn ids(answer: &Value) -> Vec<i64> {
    serde_json::from_value(answer["output_ids"].clone()).unwrap()
}

/// The same prompt through the library; `policy` may want kv heads in an order of its own.
fn expected(policy: &dyn Policy, order: Option<&[Vec<usize>]>) -> Generation {
    tch::set_num_threads(1);
    let tokenizer = Tokenizer::from_file(&tiny()).unwrap();
    let mut llama = Llama::load(&tiny(), tch::Kind::Float, tch::Device::Cpu).unwrap();
    if let Some(order) = order {
        llama.permute_kv_heads(order);
    }
    let engine = Engine {
        llama: &llama,
        backend: Arc::from(
            choose::choose("auto", choose::Case::on_cpu(tch::Kind::Float))
                .unwrap()
                .backend,
        ),
        chunk_len: 16,
    };
    let text = tokenizer.encode(PROMPT).unwrap();
    let prompt: Vec<i64> = std::iter::once(tokenizer.bos())
        .chain(text)
        .map(i64::from)
        .collect();
    let limits = Limits {
        max_new_tokens: 12,
        stop_tokens: llama.config().eos_ids.clone(),
    };
    engine.generate(policy, &prompt, &limits).unwrap()
}

#[test]
fn the_answer_is_the_engines_with_a_full_cache_and_with_a_streaming_one() {
    let full = json(&["--prompt", PROMPT, "--max-new-tokens", "12"]);
    let engine = expected(&Full, None);
    assert_eq!(ids(&full), engine.output);
    assert_eq!(full["schema"], "prulong.generation/1");
    assert_eq!(full["report"]["kv_footprint"], 1.0);
    assert_eq!(full["report"]["kv_peak_bytes"], engine.usage.peak_bytes());
    let asked = [
        &["--prompt", PROMPT, "--max-new-tokens", "12"],
        &STREAMING[..],
    ]
    .concat();
    let streaming = json(&asked);
    let llama = Llama::load(&tiny(), tch::Kind::Float, tch::Device::Cpu).unwrap();
    let shape = llama.config().shape;
    let mask = HeadMask::uniform(shape.num_layers, shape.num_kv_heads, HeadKind::Streaming);
    let span = Span::new(4, 8, 1).unwrap();
    let policy = HeadMaskPolicy::new(&mask, span, StreamingRule::DuoChunk);
    let engine = expected(&policy, Some(policy.order()));
    assert_eq!(ids(&streaming), engine.output);
    let counted = streaming["report"]["kv_footprint"].as_f64().unwrap();
    assert!((counted - engine.usage.kv_footprint()).abs() < 1e-12);
    assert!(counted < 0.8, "{counted}");
    assert_eq!(streaming["method"], "all-streaming");
    assert_eq!(ids(&json(&asked)), ids(&streaming));
}

#[test]
fn text_is_the_answers_and_the_last_line_says_what_it_cost() {
    let asked = ["--prompt", PROMPT, "--max-new-tokens", "12"];
    let answer = json(&asked);
    let (code, stdout, stderr) = generate(&asked, "");
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(stdout, format!("{}\n", answer["text"].as_str().unwrap()));
    let prompt_len = answer["report"]["prompt_len"].as_u64().unwrap();
    let lines: Vec<&str> = stderr.lines().collect();
    let [line] = lines.as_slice() else {
        panic!("{stderr}");
    };
    assert!(
        line.starts_with(&format!("{prompt_len} prompt tokens at ")),
        "{line}"
    );
    for words in [
        "/s, ended by length limit; KV footprint 1.0000, peak 1.0000",
        "KiB at most",
    ] {
        assert!(line.contains(words), "{line}");
    }
    let (_, piped, _) = generate(&["--max-new-tokens", "12"], PROMPT);
    assert_eq!(piped, stdout);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), PROMPT).unwrap();
    let path = file.path().to_str().unwrap();
    let (_, from_file, _) = generate(&["--max-new-tokens", "12", "--prompt-file", path], "");
    assert_eq!(from_file, stdout);
}

#[test]
fn stop_texts_end_an_answer_before_them() {
    let asked = ["--prompt", PROMPT, "--max-new-tokens", "12"];
    let whole = json(&asked)["text"].as_str().unwrap().to_owned();
    let start = whole
        .char_indices()
        .nth(whole.chars().count() / 2)
        .unwrap()
        .0;
    let stop: String = whole[start..].chars().take(3).collect();
    let answer = json(&[&asked[..], &["--stop", "never in here", "--stop", &stop]].concat());
    let cut = whole.find(&stop).unwrap();
    assert_eq!(answer["text"], whole[..cut]);
    assert_eq!(answer["report"]["finish"], "stop");
    assert_eq!(answer["report"]["stop_text"], stop);
    let (_, stdout, stderr) = generate(&[&asked[..], &["--stop", &stop]].concat(), "");
    assert_eq!(stdout, format!("{}\n", &whole[..cut]));
    assert!(stderr.contains("ended by stop text "), "{stderr}");
}

/// One item of the evaluation, whose prompt is what its text is tokenized to.
fn item(tokenizer: &Arc<Tokenizer>) -> (Item, String) {
    let material = Material::new(Arc::clone(tokenizer), None).unwrap();
    let plan = Plan {
        seed: 0,
        lengths: vec![256],
        num_depths: 1,
        items_per_cell: 1,
    };
    let item = plan.items(&JsonKv, &material).unwrap().remove(0);
    let text = tokenizer.decode_output(&item.prompt[1..]);
    (item, text)
}

#[test]
fn an_item_of_an_evaluation_has_the_same_answer() {
    let tokenizer = Arc::new(Tokenizer::from_file(&tiny()).unwrap());
    let (item, text) = item(&tokenizer);
    let place = tempfile::tempdir().unwrap();
    let shared = ["--device", "cpu", "--threads", "1", "--chunk", "16"];
    let asked = [
        "--task",
        "json_kv",
        "--lengths",
        "256",
        "--depths",
        "1",
        "--items",
        "1",
    ];
    let output = cargo_bin_cmd!("prulong")
        .current_dir(place.path())
        .args(["eval", "--run-dir", "run", "--model"])
        .arg(tiny())
        .args([&shared[..], &asked, &STREAMING].concat())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let lines = std::fs::read_to_string(place.path().join("run/predictions.jsonl")).unwrap();
    let lines: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let methods: Vec<&Value> = lines.iter().map(|line| &line["method"]).collect();
    assert_eq!(methods, ["full", "all-streaming"]);
    let new = item.max_new_tokens.to_string();
    for (line, method) in lines.iter().zip([&[][..], &STREAMING]) {
        let answer = json(&[&["--prompt", &text, "--max-new-tokens", &new], method].concat());
        assert_eq!(answer["report"]["prompt_len"], item.prompt.len());
        let ended = usize::from(answer["report"]["finish"] == "eos");
        let written = ids(&answer);
        let written = &written[..written.len() - ended];
        assert_eq!(line["output_ids"], serde_json::json!(written), "{line}");
        let counted = &line["kv"]["counted"];
        assert_eq!(answer["report"]["kv_footprint"], counted["kv_footprint"]);
        assert_eq!(answer["report"]["kv_peak"], counted["kv_peak"]);
    }
}

#[test]
fn a_question_is_seen_after_methods_compressed() {
    let (context, question) = PROMPT.split_at(PROMPT.len() - 12);
    let new = ["--max-new-tokens", "4"];
    let known = json(&[&["--prompt", context, "--question", question], &new[..]].concat());
    let whole = json(&[&["--prompt", PROMPT], &new[..]].concat());
    assert_eq!(
        known["report"]["kv_footprint"],
        whole["report"]["kv_footprint"]
    );
    let streaming = |asked: &[&str]| {
        let frozen = ["--method", "all-streaming", "--sink", "2", "--window", "4"];
        let rule = ["--rule", "frozen-prompt"];
        let answer = json(&[asked, &frozen[..], &rule, &new].concat());
        answer["report"]["kv_footprint"].as_f64().unwrap()
    };
    let (late, early) = (
        streaming(&["--prompt", context, "--question", question]),
        streaming(&["--prompt", PROMPT]),
    );
    assert!(late < early, "{late} {early}");
}

/// Arguments, and the code and words of their refusal.
const REFUSED: [(&[&str], &str, &str); 11] = [
    (&[], "infer.empty_prompt", "the prompt is empty"),
    (
        &["--prompt", "a", "--question", ""],
        "infer.empty_prompt",
        "",
    ),
    (
        &["--prompt", "a", "--max-new-tokens", "4095"],
        "infer.too_long",
        "up to 4094",
    ),
    (
        &["--prompt", "a", "--method", "snap:0.5"],
        "",
        "did you mean `snapkv`?",
    ),
    (
        &["--prompt", "a", "--mask", "nowhere"],
        "mask.read",
        "export-mask",
    ),
    (
        &["--prompt", "a", "--mask", "b", "--method", "knorm:0.5"],
        "eval.method",
        "uses no mask",
    ),
    (
        &["--prompt", "a", "--method", "all-streaming"],
        "eval.missing",
        "--sink",
    ),
    (
        &["--prompt", "a", "--window", "8"],
        "eval.missing",
        "streaming heads",
    ),
    (
        &["--prompt", "a", "--method", "snapkv:0.9"],
        "eviction.capacity",
        "",
    ),
    (&["--prompt", "a", "--stop", ""], "", "--stop"),
    (
        &["--prompt", "a", "--prompt-file", "b"],
        "",
        "cannot be used with",
    ),
];

#[test]
fn what_cannot_be_answered_is_refused_with_a_way_out() {
    for (extra, code, words) in REFUSED {
        let (found, stdout, stderr) = generate(extra, "");
        assert_eq!(found, Some(2), "{extra:?}\n{stdout}{stderr}");
        assert!(
            stdout.is_empty() && stderr.contains(words),
            "{extra:?}\n{stderr}"
        );
        assert!(
            code.is_empty() || stderr.contains(&format!("[{code}]")),
            "{stderr}"
        );
    }
    let (found, _, stderr) = generate(&[], &"let x = 1;\n".repeat(2000));
    assert_eq!(found, Some(2), "{stderr}");
    assert!(
        stderr.contains("use a prompt of fewer than 4096 tokens"),
        "{stderr}"
    );
    let (found, _, stderr) = generate(&["--prompt-file", "nowhere"], "");
    assert_eq!(found, Some(2), "{stderr}");
    assert!(stderr.contains("`nowhere`"), "{stderr}");
}
