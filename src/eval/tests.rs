//! Items and whole evaluations, with the tiny model's tokenizer and random weights.

use super::evaluate::{Evaluation, Observer};
use super::haystack::Haystack;
use super::haystack::documents::HeldOutDocuments;
use super::item::Item;
use super::item_result::{Finish, ItemResult, Key, TokenCounts};
use super::ledger::Ledger;
use super::material::Material;
use super::method::{MethodKind, Streaming};
use super::method_plan::MethodPlan;
use super::metric::registry::Metric;
use super::plan::Plan;
use super::reading::Reading;
use super::results::MethodResult;
use super::stop::newline_ids;
use super::task::recall;
use crate::attention::cpu_flash::CpuFlash;
use crate::attention::testing::normal;
use crate::data::source::Source;
use crate::data::source::text::{Text, TextSettings};
use crate::data::tokenizer::Tokenizer;
use crate::fault::{AnyFault, Coded};
use crate::mask::head_mask::HeadMask;
use crate::model::config::ModelConfig;
use crate::model::llama::Llama;
use crate::span::{Span, StreamingRule};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

mod edges;

fn tokenizer() -> Arc<Tokenizer> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("checkpoints/tiny/tokenizer.json");
    Arc::new(Tokenizer::from_file(&path).unwrap())
}

/// Files of numbered code lines, `share` of them held out.
fn haystack(folder: &Path, share: f64) -> Result<HeldOutDocuments, super::error::EvalError> {
    for file in 0..6 {
        let line = |i| format!("    let x{i} = compute({i}, \"file {file}\");\n");
        let text: String = (0..200 * (file + 1)).map(line).collect();
        std::fs::write(folder.join(format!("{file}.rs")), text).unwrap();
    }
    let text: Box<dyn Source> = Box::new(Text::scan(folder, &TextSettings::default()).unwrap());
    HeldOutDocuments::new(vec![text], share, tokenizer())
}

fn plan() -> Plan {
    Plan {
        seed: 3,
        lengths: vec![160, 320],
        num_depths: 3,
        items_per_cell: 2,
    }
}

fn items(plan: &Plan) -> Vec<Item> {
    let folder = tempfile::tempdir().unwrap();
    let haystack = haystack(folder.path(), 1.0).unwrap();
    let material = Material::new(tokenizer(), Some(&haystack)).unwrap();
    plan.items(&recall::IN_CODE, &material).unwrap()
}

#[test]
fn short_documents_are_joined_and_a_lack_of_text_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let haystack_all = haystack(folder.path(), 1.0).unwrap();
    let mut rng = crate::random::stream("eval test", &[]);
    let long = haystack_all.draw(&mut rng, 60_000).unwrap();
    assert_eq!(long.len(), 60_000);
    assert!(long.contains(&tokenizer().bos()));
    let code = |share| haystack(folder.path(), share).err().unwrap().code();
    assert_eq!(code(0.0), "eval.no_haystack");
}

fn model() -> Llama {
    model_preferring(&[])
}

/// A model with long embeddings, so that high logits, of some ids.
fn model_preferring(ids: &[i64]) -> Llama {
    let vocab = tokenizer().vocab_size();
    let text = format!(
        r#"{{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": {vocab}, "hidden_size": 16,
        "intermediate_size": 20, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
        "head_dim": 4, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "max_position_embeddings": 320,
        "hidden_act": "silu", "tie_word_embeddings": true}}"#
    );
    let config = ModelConfig::parse(&text).unwrap();
    let mut tensors = BTreeMap::new();
    let mut add = |name: String, shape: &[i64]| {
        let weight = normal(tensors.len() as u64, shape) * 0.5;
        tensors.insert(name, weight.to_kind(tch::Kind::Float));
    };
    for layer in 0..2 {
        for (name, shape) in [
            ("input_layernorm", vec![16]),
            ("self_attn.q_proj", vec![16, 16]),
            ("self_attn.k_proj", vec![8, 16]),
            ("self_attn.v_proj", vec![8, 16]),
            ("self_attn.o_proj", vec![16, 16]),
            ("self_attn.g_proj", vec![12, 16]),
            ("post_attention_layernorm", vec![16]),
            ("mlp.gate_proj", vec![20, 16]),
            ("mlp.up_proj", vec![20, 16]),
            ("mlp.down_proj", vec![16, 20]),
        ] {
            add(format!("model.layers.{layer}.{name}.weight"), &shape);
        }
    }
    add("model.norm.weight".into(), &[16]);
    add(
        "model.embed_tokens.weight".into(),
        &[i64::try_from(vocab).unwrap(), 16],
    );
    let embeddings = &tensors["model.embed_tokens.weight"];
    for id in ids {
        let _ = embeddings.get(*id).g_mul_scalar_(4.0);
    }
    Llama::from_tensors(config, tensors).unwrap()
}

const RULES: [StreamingRule; 3] = [
    StreamingRule::Sliding,
    StreamingRule::DuoChunk,
    StreamingRule::FrozenPrompt,
];

const ASKED: [&str; 9] = [
    "snapkv:0.5:window=4",
    "streaming-llm",
    "pyramidkv:0.7:patch:window=4",
    "knorm:0.5:head:window=4",
    "random-tokens:0.7:window=0",
    "a-shape:sink=4:window=16",
    "vertical-slash:columns=30:slashes=50",
    "block-sparse:top=2:block=16",
    "moba:top=2:block=16",
];

/// When methods see the question.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Question {
    Known,
    Unknown,
}

fn evaluate(
    llama: &mut Llama,
    rule: StreamingRule,
    question: Question,
    items: &[Item],
) -> Vec<MethodResult> {
    let plan = MethodPlan {
        masks: HeadMask::new(2, 2, vec![false, true, true, false])
            .into_iter()
            .collect(),
        num_random: 2,
        mask_names: vec!["mask/head_mask.safetensors".to_owned()],
        streaming: Some(Streaming {
            span: Span::new(4, 16, 1).unwrap(),
            rule,
        }),
        asked: [&["all-streaming"], &ASKED[..]]
            .concat()
            .iter()
            .map(|word| word.parse().unwrap())
            .collect(),
        seed: 0,
    };
    let methods = plan.methods(&llama.config().shape).unwrap();
    let tokenizer = tokenizer();
    let evaluation = Evaluation {
        model: "model",
        task: "recall",
        items,
        num_expected: items.len(),
        metrics: vec![Metric::ExactTokens, Metric::ExactMatch],
        reading: Reading::FIRST_LINE,
        tokenizer: &tokenizer,
        methods: &methods,
        chunk_len: 32,
        query_agnostic: question == Question::Unknown,
        backend: Arc::new(CpuFlash),
    };
    let mut heard = Heard(0);
    let mut ledger = Ledger::in_memory();
    let results = evaluation.run(llama, &mut ledger, &mut heard).unwrap();
    assert_eq!(heard.0, methods.len() * items.len());
    let keys: Vec<Key> = evaluation.keys().collect();
    assert_eq!((ledger.len(), keys.len()), (heard.0, heard.0));
    assert!(keys.iter().all(|key| ledger.get(key).is_some()));
    results
}

/// One short item for each depth.
fn few_items() -> Vec<Item> {
    items(&Plan {
        lengths: vec![160],
        items_per_cell: 1,
        ..plan()
    })
}

/// Counts what it hears of.
struct Heard(usize);

impl Observer for Heard {
    fn finished(&mut self, result: &ItemResult, kept: bool) -> Result<(), AnyFault> {
        assert!(!kept && result.error.is_none(), "{result:?}");
        self.0 += 1;
        Ok(())
    }
}

#[test]
fn every_method_answers_every_item_and_the_model_is_put_back() {
    tch::set_num_threads(1);
    let items = few_items();
    let mut llama = model();
    for rule in RULES {
        let results = evaluate(&mut llama, rule, Question::Known, &items);
        let kinds: Vec<_> = results[..5].iter().map(|result| result.kind).collect();
        let asked: Vec<&str> = results[5..].iter().map(|of| of.name.as_str()).collect();
        assert_eq!(asked, ASKED);
        let random = MethodKind::Random;
        let all = MethodKind::AllStreaming;
        assert_eq!(
            kinds,
            [MethodKind::Full, MethodKind::Mask, random, random, all]
        );
        for result in &results {
            assert_eq!((result.items.len(), result.summary.cells.len()), (3, 3));
            for item in &result.items {
                assert!(item.tokens.output > 0);
                let is_mask = result.kind == MethodKind::Mask;
                assert_eq!(item.mask.is_some(), is_mask);
                let metrics: Vec<Metric> = item.scores.keys().copied().collect();
                assert_eq!(metrics, [Metric::ExactMatch, Metric::ExactTokens]);
            }
        }
        let footprint = |index: usize| results[index].summary.kv_counted.kv_footprint;
        assert_eq!(footprint(0).to_bits(), 1.0_f64.to_bits());
        assert!(
            footprint(4) < footprint(1) && footprint(1) < 1.0,
            "{rule:?}"
        );
        assert_eq!(results[1].retrieval_mask.as_deref().unwrap(), ["01", "10"]);
        let again = evaluate(&mut llama, rule, Question::Known, &items);
        let outputs = |results: &[MethodResult]| -> Vec<Vec<i64>> {
            let items = results.iter().flat_map(|result| &result.items);
            items.map(|item| item.output_ids.clone()).collect()
        };
        assert_eq!(outputs(&results), outputs(&again));
    }
}

#[test]
fn without_knowing_the_question_caches_hold_what_the_formula_says() {
    tch::set_num_threads(1);
    let items = few_items();
    let mut llama = model();
    for rule in RULES {
        let known = evaluate(&mut llama, rule, Question::Known, &items);
        // The observer fails on a result with an error, such as another footprint than predicted.
        let unknown = evaluate(&mut llama, rule, Question::Unknown, &items);
        for (result, item) in unknown[0].items.iter().zip(&items) {
            assert!(result.query_agnostic && result.finish == Finish::Length);
            let TokenCounts {
                prompt,
                context,
                question,
                ..
            } = result.tokens;
            assert_eq!(
                (prompt, context + question + 1),
                (item.prompt.len(), prompt)
            );
        }
        let outputs = |of: &MethodResult| -> Vec<Vec<i64>> {
            let items = of.items.iter();
            items.map(|item| item.output_ids.clone()).collect()
        };
        assert_eq!(outputs(&known[0]), outputs(&unknown[0]), "full attention");
        let footprint = |of: &MethodResult| of.summary.kv_counted.kv_footprint;
        let snapkv = known.iter().position(|of| of.name.starts_with("snapkv"));
        let snapkv = snapkv.unwrap();
        assert!((footprint(&known[snapkv]) - footprint(&unknown[snapkv])).abs() > 1e-6);
    }
}

/// Keeps what it hears of.
struct Noted(Vec<ItemResult>);

impl Observer for Noted {
    fn finished(&mut self, result: &ItemResult, _kept: bool) -> Result<(), AnyFault> {
        self.0.push(result.clone());
        Ok(())
    }
}

fn note(llama: &mut Llama, query_agnostic: bool, items: &[Item]) -> Vec<ItemResult> {
    let plan = MethodPlan {
        masks: Vec::new(),
        num_random: 0,
        mask_names: Vec::new(),
        streaming: None,
        asked: Vec::new(),
        seed: 0,
    };
    let methods = plan.methods(&llama.config().shape).unwrap();
    let tokenizer = tokenizer();
    let evaluation = Evaluation {
        model: "model",
        task: "recall",
        items,
        num_expected: items.len(),
        metrics: vec![Metric::ExactMatch],
        reading: Reading::FIRST_LINE,
        tokenizer: &tokenizer,
        methods: &methods,
        chunk_len: 32,
        query_agnostic,
        backend: Arc::new(CpuFlash),
    };
    let mut noted = Noted(Vec::new());
    let mut ledger = Ledger::in_memory();
    evaluation.run(llama, &mut ledger, &mut noted).unwrap();
    noted.0
}

#[test]
fn a_question_before_the_context_cannot_be_left_unknown() {
    tch::set_num_threads(1);
    let mut items = items(&plan());
    items.truncate(1);
    let parts = items[0].parts.clone();
    items[0].parts.context = parts.question.end..parts.question.end + 1;
    let mut llama = model();
    let error = note(&mut llama, true, &items)[0].error.clone().unwrap();
    assert_eq!(error.code, "task.asks_first");
    assert!(note(&mut llama, false, &items)[0].error.is_none());
}

#[test]
fn an_output_ends_at_its_limit_or_at_a_line_end_where_asked() {
    tch::set_num_threads(1);
    let mut items = items(&plan());
    items.truncate(1);
    items[0].max_new_tokens = 150;
    let mut llama = model_preferring(&newline_ids(&tokenizer()));
    let whole = note(&mut llama, false, &items).remove(0);
    assert_eq!(
        (whole.finish, whole.output_ids.len()),
        (Finish::Length, 150)
    );
    let (line, rest) = whole.output.split_once('\n').unwrap();
    assert!(!rest.is_empty());
    items[0].stop_at_newline();
    let cut = note(&mut llama, false, &items).remove(0);
    assert_eq!((cut.finish, cut.output.as_str()), (Finish::Newline, line));
    assert_eq!(cut.output_ids, whole.output_ids[..cut.output_ids.len()]);
    assert_eq!(cut.tokens.output, cut.output_ids.len() + 1);
}
