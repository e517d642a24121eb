//! `prulong eval` as a shell sees it: a model with random weights, text of its own, a mask file.

use assert_cmd::cargo::cargo_bin_cmd;
use prulong::data::mds::array::Array;
use prulong::data::mds::column::Encoding;
use prulong::data::mds::value::Value;
use prulong::data::mds::writer::{WriteOptions, Writer};
use prulong::data::tokenizer::Tokenizer;
use prulong::mask::gate_method::GateMethod;
use prulong::mask::provenance::Provenance;
use prulong::mask::sidecar::cut::{Target, TrainedGates, trained};
use prulong::mask::sidecar::write::to_bytes;
use prulong::model::config::{ModelConfig, WeightDtype};
use prulong::model::fingerprint::arch_facts;
use prulong::model::llama::Llama;
use prulong::model::save::SavedModel;
use prulong::random;
use prulong::span::Span;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tch::Tensor;

const VOCAB: usize = 4096;

/// A weight that depends on its name alone.
fn weight(name: &str, shape: &[i64]) -> Tensor {
    let mut rng = random::stream(name, &[]);
    let count = shape.iter().product::<i64>();
    let values: Vec<f64> = (0..count)
        .map(|_| random::uniform(&mut rng) - 0.5)
        .collect();
    Tensor::from_slice(&values)
        .view(shape)
        .to_kind(tch::Kind::Float)
}

fn model(num_layers: usize) -> Llama {
    let text = format!(
        r#"{{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": {VOCAB}, "hidden_size": 16,
        "intermediate_size": 20, "num_hidden_layers": {num_layers}, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 4, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
        "max_position_embeddings": 512, "hidden_act": "silu", "tie_word_embeddings": true}}"#
    );
    let config = ModelConfig::parse(&text).unwrap();
    let mut shapes = vec![("model.norm".to_owned(), vec![16])];
    shapes.push((
        "model.embed_tokens".to_owned(),
        vec![i64::try_from(VOCAB).unwrap(), 16],
    ));
    for layer in 0..num_layers {
        for (name, shape) in [
            ("input_layernorm", vec![16]),
            ("self_attn.q_proj", vec![16, 16]),
            ("self_attn.k_proj", vec![8, 16]),
            ("self_attn.v_proj", vec![8, 16]),
            ("self_attn.o_proj", vec![16, 16]),
            ("post_attention_layernorm", vec![16]),
            ("mlp.gate_proj", vec![20, 16]),
            ("mlp.up_proj", vec![20, 16]),
            ("mlp.down_proj", vec![16, 20]),
        ] {
            shapes.push((format!("model.layers.{layer}.{name}"), shape));
        }
    }
    let tensors: BTreeMap<String, Tensor> = shapes
        .into_iter()
        .map(|(name, shape)| (format!("{name}.weight"), weight(&name, &shape)))
        .collect();
    Llama::from_tensors(config, tensors).unwrap()
}

/// A model, a mask for it, a mask for another one, and text.
pub(crate) struct Desk {
    folder: tempfile::TempDir,
}

impl Desk {
    pub(crate) fn new() -> Self {
        let desk = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        let tokenizer =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("checkpoints/tiny/tokenizer.json");
        let llama = model(2);
        let sound: BTreeMap<String, &Tensor> = llama.named_tensors().into_iter().collect();
        let norm = sound["model.norm.weight"].full_like(f64::NAN);
        let mut broken = sound.clone();
        broken.insert("model.norm.weight".to_owned(), &norm);
        for (name, tensors) in [("model", sound), ("broken", broken)] {
            SavedModel {
                config: llama.config(),
                tensors,
                dtype: WeightDtype::F32,
                companions: vec![tokenizer.clone()],
            }
            .write(&desk.path(name))
            .unwrap();
        }
        desk.write_mask("mask", &llama, (2, 16));
        desk.write_mask("small", &llama, (1, 16));
        desk.write_mask("wide", &llama, (2, 32));
        desk.write_mask("foreign", &model(3), (2, 16));
        let line = |i| format!("    let x{i} = compute({i});\n");
        let text: String = (0..2000).map(line).collect();
        std::fs::create_dir(desk.path("text")).unwrap();
        std::fs::write(desk.path("text/a.rs"), text).unwrap();
        desk
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write_mask(&self, name: &str, llama: &Llama, (num_retrieval, window_len): (usize, usize)) {
        let config = llama.config();
        let provenance = Provenance {
            arch: arch_facts(config),
            base_model: "model".to_owned(),
            base_model_revision: None,
            base_weights_sha256: None,
            weights_modified: false,
            deploy_span: Span::new(4, window_len, 1).unwrap(),
            train_span: Span::new(4, 16, 1).unwrap(),
            seq_len: 128,
            num_steps: 10,
            seed: 1,
            method: GateMethod::PruLong,
            target_sparsity: Some(0.5),
            plateaus: Vec::new(),
            data_id: "none".to_owned(),
            config_sha256: "none".to_owned(),
        };
        let log_alpha: Vec<f32> = (0..config.shape.num_gates())
            .map(|head| if head % 3 == 0 { 2.0 } else { -2.0 })
            .collect();
        let gates = TrainedGates {
            log_alpha: &log_alpha,
            num_steps: 10,
        };
        let sidecar = trained(gates, &provenance, Target::NumRetrieval(num_retrieval)).unwrap();
        std::fs::create_dir(self.path(name)).unwrap();
        std::fs::write(
            self.path(name).join("head_mask.safetensors"),
            to_bytes(&sidecar),
        )
        .unwrap();
    }

    /// Two rows of one document each.
    fn write_rows(&self, name: &str) {
        let tokenizer = Tokenizer::from_file(&self.path("model")).unwrap();
        let text = std::fs::read_to_string(self.path("text/a.rs")).unwrap();
        let ids = tokenizer.encode(&text).unwrap();
        let encoding = |name: &str| Encoding::parse(name).unwrap();
        let columns = [
            ("input_ids", encoding("ndarray:uint32")),
            ("indices", encoding("ndarray:uint32")),
        ];
        let options = WriteOptions {
            size_limit: None,
            hashes: Vec::new(),
            zstd_level: None,
        };
        let mut writer = Writer::create(&self.path(name), &columns, options).unwrap();
        for row in ids.chunks_exact(512).take(2) {
            let array =
                |values: &[u32], shape| Value::Array(Array::from_u32(values, shape).unwrap());
            let (ids, spans) = (array(row, vec![512]), array(&[0, 512], vec![1, 2]));
            writer
                .write(&[("input_ids", &ids), ("indices", &spans)])
                .unwrap();
        }
        writer.finish().unwrap();
    }

    pub(crate) fn json(&self, name: &str) -> serde_json::Value {
        let bytes = std::fs::read(self.path(name)).unwrap();
        serde_json::from_slice(&bytes).unwrap()
    }

    /// Every line of a run's predictions.
    pub(crate) fn predictions(&self, run: &str) -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(self.path(run).join("predictions.jsonl")).unwrap();
        let lines = text.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// Exit code, standard output, standard error.
    pub(crate) fn eval(&self, extra: &[&str]) -> (Option<i32>, String, String) {
        let source = format!("text={}", self.path("text").display());
        let text = ["--source", &source, "--held-out", "1"];
        self.eval_over(&[&text[..], extra].concat())
    }

    pub(crate) fn eval_over(&self, extra: &[&str]) -> (Option<i32>, String, String) {
        let asked = ["eval", "--model", "model", "--depths", "2", "--items", "1"];
        let machine = ["--device", "cpu", "--threads", "1"];
        self.run(&[&asked[..], &machine, extra].concat())
    }

    /// Any command of the program in the desk's folder.
    pub(crate) fn run(&self, words: &[&str]) -> (Option<i32>, String, String) {
        let output = cargo_bin_cmd!("prulong")
            .current_dir(self.folder.path())
            .args(words)
            .output()
            .unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    }
}

#[test]
fn a_mask_is_compared_with_full_attention_random_masks_and_none() {
    let desk = Desk::new();
    let lengths = ["--lengths", "160,160", "--chunk", "32"];
    let compared = ["--mask", "mask", "--random-masks", "2", "--all-streaming"];
    let written = ["--json", "--run-dir", "run"];
    let (code, stdout, stderr) = desk.eval(&[&lengths[..], &compared, &written].concat());
    assert_eq!(code, Some(0), "{stderr}");
    let printed: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(printed, desk.json("run/results.json"));
    let told = stderr.lines().last().unwrap();
    let page = told.rsplit(' ').next().unwrap();
    let page = std::fs::read_to_string(desk.path(page)).unwrap();
    assert!(page.contains("</html>"), "{told}");
    assert_eq!(printed["schema"], "prulong.results/1");
    let provenance = &printed["provenance"];
    let part = &printed["parts"][0];
    assert_eq!(part["masks"][0]["num_retrieval"], 2);
    assert_eq!(part["masks"][0]["name"], "mask/head_mask.safetensors");
    assert_eq!(
        provenance["grid"]["lengths"],
        serde_json::json!([160]),
        "named twice, used once"
    );
    assert_eq!(part["streaming"]["rule"], "sliding");
    assert_eq!(part["streaming"]["window_len"], 16);
    assert_eq!(provenance["haystack"]["num_units"], 1);
    assert_eq!(provenance["command"][1], "eval");
    let tasks = part["tasks"].as_array().unwrap();
    assert_eq!(tasks.len(), 1);
    assert_eq!(tasks[0]["task"]["name"], "recall");
    let methods = tasks[0]["methods"].as_array().unwrap();
    let names: Vec<&str> = methods
        .iter()
        .map(|method| method["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        ["full", "mask", "random-1", "random-2", "all-streaming"]
    );
    assert_eq!(methods[0]["summary"]["kv_counted"]["kv_footprint"], 1.0);
    assert_eq!(methods[0]["summary"]["kv_counted"]["kv_peak"], 1.0);
    for method in methods {
        let summary = &method["summary"];
        assert_eq!(summary["num_items"], 2);
        assert_eq!(summary["num_expected"], 2);
        assert_eq!(summary["mean_prompt_len"], 153.0);
    }
    let predictions = desk.predictions("run");
    assert_eq!(predictions.len(), 5 * 2);
    for prediction in &predictions {
        assert_eq!(prediction["schema"], "prulong.prediction/1");
        assert_eq!(prediction["tokens"]["prompt"], 160 - 7);
        let scores = &prediction["scores"]["exact_tokens"];
        assert!(scores["compat"].is_number() && scores["strict"].is_number());
        let is_mask = prediction["method"] == "mask";
        assert_eq!(prediction["mask"].is_string(), is_mask, "{prediction}");
    }
    assert_eq!(
        methods[1]["retrieval_mask"],
        serde_json::json!(["10", "01"])
    );
    assert_eq!(
        methods[4]["retrieval_mask"],
        serde_json::json!(["00", "00"])
    );
}

#[test]
fn the_table_names_every_method() {
    let desk = Desk::new();
    let (code, stdout, stderr) = desk.eval(&[
        "--lengths",
        "160",
        "--mask",
        "mask",
        "--rule",
        "duo-chunk",
        "--window",
        "8",
    ]);
    assert_eq!(code, Some(0), "{stderr}");
    for part in [
        "recall on model, mask 2 of 4 retrieval heads",
        "duo-chunk with sink 4 and window 8",
        "KV, counted",
        "full ",
        "warning: window_len 8 is used, the mask was made for 16",
    ] {
        assert!(stdout.contains(part), "{part} is missing:\n{stdout}");
    }
}

#[test]
fn several_masks_are_grouped_by_size_and_the_brief_table_has_a_row_for_each() {
    let desk = Desk::new();
    let masks = [
        "--mask",
        "mask",
        "small",
        "--mask",
        "mask",
        "--random-masks",
        "2",
    ];
    let asked = ["--lengths", "160,200", "--brief", "--run-dir", "run"];
    let (code, stdout, stderr) = desk.eval(&[&masks[..], &asked].concat());
    assert_eq!(code, Some(0), "{stderr}");
    let lines: Vec<&str> = stdout.lines().collect();
    assert!(lines[0].starts_with("recall on model: exact answers in %, strict; 2 items a length"));
    let words: Vec<&str> = lines[1].split_whitespace().collect();
    assert_eq!(words[..2], ["160", "200"]);
    let rows = &lines[2..7];
    let names: Vec<&str> = rows.iter().map(|line| line[..18].trim()).collect();
    assert_eq!(
        names,
        ["full", "mask 2 x2", "mask 1", "random 2 x2", "random 1 x2"]
    );
    assert!(rows.iter().all(|line| line.len() <= 100), "{stdout}");
    assert!(lines[7].ends_with("of several masks, the lowest and the highest"));
    let part = desk.json("run/results.json")["parts"][0].take();
    let kept = |mask: usize| part["masks"][mask]["num_retrieval"].clone();
    assert_eq!([kept(0), kept(1), kept(2)], [2, 1, 2]);
    assert_eq!(part["tasks"][0]["methods"][3]["name"], "mask-3");
}

#[test]
fn wrong_requests_end_with_their_code_and_a_way_out() {
    let desk = Desk::new();
    std::fs::create_dir(desk.path("taken")).unwrap();
    std::fs::write(desk.path("taken/thesis.tex"), "precious").unwrap();
    for (extra, exit, code) in [
        (
            &["--lengths", "160", "--fail-under", "0.5"][..],
            1,
            "eval.fail_under",
        ),
        (&["--lengths", "30"], 2, "task.length"),
        (&["--task", "json_kv", "--lengths", "30"], 2, "task.length"),
        (&["--lengths", "513"], 2, "eval.lengths"),
        (&["--all-streaming"], 2, "eval.missing"),
        (&["--mask", "nowhere"], 2, "mask.read"),
        (&["--mask", "foreign"], 2, "mask.base_arch"),
        (&["--mask", "mask", "wide"], 2, "eval.streaming"),
        (&["--mask", "model/model.safetensors"], 2, "mask.kind"),
        (
            &["--lengths", "160", "--run-dir", "taken"],
            2,
            "run.foreign_files",
        ),
        (
            &["--lengths", "160", "--run-dir", "taken/thesis.tex"],
            2,
            "run.foreign_files",
        ),
        (&["--sink", "4", "--window", "8"], 2, "eval.missing"),
        (
            &["--task", "json_kv", "--lengths", "9000000"],
            2,
            "eval.lengths",
        ),
        (&["--mask", "mask", "--window", "0"], 2, "config.span"),
    ] {
        let (found, stdout, stderr) = desk.eval(extra);
        assert_eq!(found, Some(exit), "{extra:?}\n{stdout}{stderr}");
        assert!(stderr.contains(&format!("[{code}]")), "{extra:?}\n{stderr}");
    }
    let taken = std::fs::read(desk.path("taken/thesis.tex")).unwrap();
    assert_eq!(taken, b"precious");
    assert_eq!(std::fs::read_dir(desk.path("taken")).unwrap().count(), 1);
    for (flag, value, words) in [
        ("--fail-under", "nan", "a share is"),
        ("--held-out", "7", "a share is"),
        ("--chunk", "0", "non-zero"),
        ("--config", "suite.toml", "cannot be used with"),
    ] {
        let (found, _, stderr) = desk.eval_over(&[flag, value]);
        assert_eq!(found, Some(2), "{flag} {value}");
        assert!(stderr.contains(words), "{stderr}");
    }
}

#[test]
fn packed_rows_hide_facts_too_and_training_rows_never_do() {
    let desk = Desk::new();
    let run = |data: &str| desk.eval_over(&["--lengths", "160,700", "--data", data]);
    for name in ["packed/val", "loose", "split/train"] {
        std::fs::create_dir_all(desk.path(name).parent().unwrap()).unwrap();
        desk.write_rows(name);
    }
    let doubt = "the text may have been trained on";
    let short = |data: &str| desk.eval_over(&["--lengths", "160", "--data", data]);
    for (data, doubtful) in [("packed", false), ("packed/val", false), ("loose", true)] {
        let (code, stdout, stderr) = short(data);
        assert_eq!(code, Some(0), "{data}: {stderr}");
        assert_eq!(stdout.contains(doubt), doubtful, "{data}: {stdout}");
    }
    let (code, _, stderr) = short("split");
    assert_eq!(code, Some(2));
    assert!(
        stderr.contains("[eval.no_haystack]") && stderr.contains("--held-out"),
        "{stderr}"
    );
    let (code, _, stderr) = run("packed");
    assert_eq!(code, Some(2), "700 tokens are beyond the model: {stderr}");
    assert_eq!(short("nowhere").0, Some(2));
}

#[test]
fn tasks_without_needles_run_side_by_side_and_need_no_text() {
    let desk = Desk::new();
    let run = |extra: &[&str]| {
        let tasks = ["--task", "json_kv,label_map,json_kv,copy_table"];
        let all = [&tasks[..], &["--lengths", "256", "--mask", "mask"], extra].concat();
        // Rows that do not exist would be an error if they were opened.
        desk.eval_over(&[&all[..], &["--data", "nowhere"]].concat())
    };
    let (code, stdout, stderr) = run(&["--json"]);
    assert_eq!(code, Some(0), "{stderr}");
    let printed: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert!(printed["provenance"]["haystack"].is_null());
    let part = &printed["parts"][0];
    let tasks = part["tasks"].as_array().unwrap();
    let found: Vec<(&str, &str)> = tasks
        .iter()
        .map(|of| {
            let task = &of["task"];
            (
                task["name"].as_str().unwrap(),
                task["metric"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        found,
        [
            ("json_kv", "exact_tokens"),
            ("label_map", "exact_tokens"),
            ("copy_table", "row_f1")
        ]
    );
    for task in tasks {
        let metric = task["task"]["metric"].as_str().unwrap();
        for method in task["methods"].as_array().unwrap() {
            for scoring in ["compat", "strict"] {
                let of = |value: &serde_json::Value| value["scores"][metric][scoring].clone();
                let mean = of(&method["summary"])["mean"].as_f64().unwrap();
                assert!((0.0..=1.0).contains(&mean));
                assert!(of(&method["summary"]["cells"][0]).is_number());
            }
        }
    }
    let categories = part["categories"].as_array().unwrap();
    let partial = |category: &str| {
        let mut found = categories.iter().filter(|of| of["category"] == category);
        found.next().unwrap()["partial"].clone()
    };
    assert_eq!(categories.len(), 3 * 2, "three categories, two methods");
    assert_eq!(partial("recall"), true, "only one of its tasks was run");
    assert_eq!(partial("in-context"), false);
    let warnings = printed["warnings"].to_string();
    assert!(warnings.contains("full attention has row_f1 0.00 on `copy_table` at 256 tokens"));
    let (code, stdout, stderr) = run(&["--fail-under", "0.5"]);
    assert_eq!(code, Some(1), "{stderr}");
    assert!(
        stderr.contains("`mask` has strict exact_tokens 0.0000 on `json_kv`"),
        "{stderr}"
    );
    for part in [
        "json_kv, label_map, copy_table on model",
        "label_map: exact answers / right tokens, %, strict; chance level 12.5",
        "copy_table: row F1 / exact answers / right tokens, %, strict; chance level 0",
    ] {
        assert!(stdout.contains(part), "{part} is missing:\n{stdout}");
    }
}

#[test]
fn the_list_shows_every_task_without_a_model() {
    let run = |args: &[&str]| {
        let output = cargo_bin_cmd!("prulong").args(args).output().unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
        )
    };
    let (code, table) = run(&["eval", "--list"]);
    assert_eq!(code, Some(0));
    let (code, json) = run(&["eval", "--list", "--json"]);
    assert_eq!(code, Some(0));
    let cards: serde_json::Value = serde_json::from_str(&json).unwrap();
    let names: Vec<&str> = cards["tasks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|card| card["name"].as_str().unwrap())
        .collect();
    let expected = [
        "recall",
        "recall_prose",
        "json_kv",
        "label_map",
        "copy_table",
        "niah_single_1",
        "niah_single_2",
        "niah_single_3",
        "niah_multikey_1",
        "niah_multikey_2",
        "niah_multikey_3",
        "niah_multivalue",
        "niah_multiquery",
        "vt",
        "cwe",
        "fwe",
        "json_kv_uuid",
        "path_traversal",
        "tom_tracking",
        "countdown",
    ];
    let generated = &names[..expected.len()];
    assert_eq!(generated, expected);
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 1 + names.len() + 4);
    for (index, (name, line)) in names.iter().zip(&lines[1..]).enumerate() {
        let at_hand = if index < expected.len() {
            " yes "
        } else {
            " no "
        };
        assert!(line.starts_with(name) && line.contains(at_hand), "{line}");
    }
    let words: Vec<&str> = lines[3].split_whitespace().take(5).collect();
    assert_eq!(
        words,
        ["json_kv", "recall", "exact_tokens", "(strict)", "1.5e-5"]
    );
    let essay = lines.iter().find(|line| line.starts_with("niah_single_2"));
    assert!(essay.unwrap().ends_with("a stand-in for essays"));
    assert!(lines[names.len() + 2].starts_with("suite offline: "));
    assert_eq!(cards["suites"][0]["tasks"].as_array().unwrap().len(), 4);
    assert_eq!(run(&["eval"]).0, Some(2));
    assert_eq!(run(&["eval", "--model", "m", "--task", "recal"]).0, Some(2));
}

#[test]
fn eviction_methods_store_their_settings_and_have_columns_of_their_own() {
    let desk = Desk::new();
    let methods = "full,snapkv:0.5:window=8,snapkv:0.7:patch:head:window=8,random-tokens:0.5:window=0:seed=4,streaming-llm";
    let arguments = [
        "--lengths",
        "160",
        "--chunk",
        "64",
        "--sink",
        "4",
        "--window",
        "16",
        "--method",
        methods,
    ];
    let (code, table, stderr) = desk.eval(&arguments);
    assert_eq!(code, Some(0), "{stderr}");
    for name in methods.split(',') {
        assert!(table.contains(name), "{name}: {table}");
    }
    let (_, json, _) = desk.eval(&[&arguments[..], &["--json"]].concat());
    let results: serde_json::Value = serde_json::from_str(&json).unwrap();
    let found = results["parts"][0]["tasks"][0]["methods"]
        .as_array()
        .unwrap();
    assert_eq!(found.len(), 5);
    assert!(found[0]["eviction"].is_null());
    let expected = serde_json::json!({
        "method": "snapkv", "token_sparsity": 0.7, "observation_len": 8, "patch": true, "selection": "head",
        "smoothing": {"pooling": "average", "reach": 2}, "seed": null,
    });
    assert_eq!(found[2]["eviction"], expected);
    assert_eq!(found[3]["eviction"]["seed"], 4);
    let footprint = |index: usize| {
        let of = &found[index]["summary"]["kv_counted"]["kv_footprint"];
        of.as_f64().unwrap()
    };
    assert!(footprint(1) < 1.0 && footprint(3) < 1.0 && footprint(4) < footprint(1));
}

#[test]
fn eviction_that_cannot_work_is_refused_before_anything_runs() {
    let desk = Desk::new();
    for (method, chunk, words) in [
        (
            "snapkv:0.9",
            "256",
            &["C = 25", "w = 64", "c = 256", "k = 0.9"][..],
        ),
        ("snapkv:0.5:patch", "32", &["w = 64", "c = 32"]),
        ("snapkv", "256", &["needs a token sparsity"]),
        ("mask", "256", &["--method mask", "--mask"]),
    ] {
        let (code, _, text) =
            desk.eval(&["--lengths", "160", "--chunk", chunk, "--method", method]);
        assert_eq!(code, Some(2), "{method}: {text}");
        assert!(
            words.iter().all(|word| text.contains(word)),
            "{method}: {text}"
        );
    }
}
