//! Every registered method on every odd prompt: what crashed or was counted wrongly elsewhere is a row here.

use super::{RULES, model};
use crate::attention::cpu_flash::CpuFlash;
use crate::eval::agreement;
use crate::eval::method::{Method, Streaming};
use crate::eval::method_plan::MethodPlan;
use crate::eval::method_spec::NAMES;
use crate::footprint::predict::Prediction;
use crate::footprint::workload::{Convention, Workload};
use crate::infer::counter::KvUsage;
use crate::infer::decode::Limits;
use crate::infer::generate::{Engine, Generation};
use crate::infer::policy::head_mask::inverse;
use crate::mask::head_mask::HeadMask;
use crate::model::llama::Llama;
use crate::span::{Span, StreamingRule};
use std::sync::Arc;

/// Every method with an observation window of 8, a sink of 4 and a window of 8, and patterns that skip much.
const WORDS: [&str; 19] = [
    "full",
    "mask",
    "all-streaming",
    "streaming-llm",
    "snapkv:0.5:window=8",
    "snapkv:0.5:patch:window=8",
    "snapkv:0.5:head:window=8:max-pool",
    "snapkv:0.5:patch:head:window=8",
    "pyramidkv:0.5:window=8",
    "pyramidkv:0.5:patch:head:window=8",
    "knorm:0.5:window=8",
    "knorm:0.5:patch:window=8",
    "random-tokens:0.5:window=8",
    "random-tokens:0.5:window=0",
    "a-shape:sink=4:window=8",
    "vertical-slash:columns=30:slashes=50",
    "block-sparse:top=1:block=16",
    "moba:top=1:block=16",
    "nsa:top=3:block=4:window=8",
];

/// What is odd, tokens of the prompt, of a chunk, and of the output.
const CASES: [(&str, usize, usize, usize); 15] = [
    ("a prompt of one token, no prefill", 1, 24, 3),
    ("one token is prefilled", 2, 24, 3),
    ("a prompt shorter than sink and window", 7, 24, 3),
    ("a prompt as long as sink and window", 12, 24, 3),
    ("a chunk longer than the prompt", 30, 200, 3),
    ("one chunk, filled", 25, 24, 3),
    ("whole chunks", 49, 24, 3),
    ("a last chunk of one token", 50, 24, 3),
    (
        "a last chunk shorter than the observation window",
        52,
        24,
        3,
    ),
    (
        "a last chunk one shorter than the observation window",
        56,
        24,
        3,
    ),
    ("a last chunk as long as the observation window", 57, 24, 3),
    (
        "a last chunk one longer than the observation window",
        58,
        24,
        3,
    ),
    ("a last chunk whose capacity is below the window", 59, 24, 3),
    ("chunks no longer than sink and window", 150, 18, 3),
    ("nothing is decoded", 52, 24, 0),
];

/// Every method; one layer of the mask streams whole, the other keeps everything.
fn methods(llama: &Llama, rule: StreamingRule) -> Vec<Method> {
    let plan = MethodPlan {
        masks: HeadMask::new(2, 2, vec![false, false, true, true])
            .into_iter()
            .collect(),
        streaming: Some(Streaming {
            span: Span::new(4, 8, 1).unwrap(),
            rule,
        }),
        asked: WORDS.iter().map(|word| word.parse().unwrap()).collect(),
        ..MethodPlan::default()
    };
    plan.methods(&llama.config().shape).unwrap()
}

fn prompt(len: usize) -> Vec<i64> {
    let id = |at: usize| i64::try_from((at * at * 7 + 11 * at) % 4000).unwrap();
    (0..len).map(id).collect()
}

/// Asks the last `asked_len` tokens after everything before them was compressed.
fn run(
    llama: &mut Llama,
    method: &Method,
    case: (usize, usize, usize),
    asked_len: usize,
) -> Generation {
    let (prompt_len, chunk_len, output_len) = case;
    let (policy, order) = method.policy(llama);
    if let Some(order) = &order {
        llama.permute_kv_heads(order);
    }
    let engine = Engine {
        llama,
        backend: Arc::new(CpuFlash),
        chunk_len,
    };
    let limits = Limits {
        max_new_tokens: output_len,
        stop_tokens: Vec::new(),
    };
    let prefill_len = prompt_len - asked_len;
    let generation = engine.generate_after(&*policy, &prompt(prompt_len), prefill_len, &limits);
    if let Some(order) = &order {
        llama.permute_kv_heads(&inverse(order));
    }
    generation.unwrap()
}

fn counted(usage: &KvUsage) -> Prediction {
    Prediction {
        kv_footprint: usage.kv_footprint(),
        kv_peak: usage.kv_peak(),
    }
}

#[test]
fn every_registered_method_is_among_them() {
    let named = |name: &&str| {
        WORDS
            .iter()
            .any(|word| word.split(':').next() == Some(name))
    };
    assert!(NAMES.iter().all(named), "{NAMES:?}");
}

#[test]
fn every_method_answers_every_odd_prompt_and_holds_what_the_formula_says() {
    tch::set_num_threads(1);
    let mut llama = model();
    let group_size = llama.config().shape.group_size();
    for rule in RULES {
        let methods = methods(&llama, rule);
        let num_rules = if rule == RULES[0] { methods.len() } else { 3 };
        for (what, prompt_len, chunk_len, output_len) in CASES {
            let case = (prompt_len, chunk_len, output_len);
            for asked_len in [1, 5].into_iter().filter(|asked| *asked <= prompt_len) {
                let workload = if asked_len == 1 {
                    Workload::new(prompt_len, output_len, chunk_len, Convention::Counted)
                } else {
                    let context_len = prompt_len - asked_len;
                    Workload::query_agnostic(context_len, asked_len, output_len, chunk_len)
                };
                let workload = workload.unwrap();
                let full = run(&mut llama, &methods[0], case, asked_len);
                for method in &methods[..num_rules] {
                    let what = format!("{what}: {} {rule:?}, {asked_len} asked", method.name);
                    let run = run(&mut llama, method, case, asked_len);
                    assert_eq!(run.output.len(), output_len, "{what}");
                    let usage = &run.usage;
                    assert_eq!(usage.num_tokens, workload.total_len(), "{what}");
                    let holdings = method.keeps.holdings(group_size);
                    let agreed = agreement::check(&what, &holdings, &workload, counted(usage));
                    assert!(agreed.is_ok(), "{what}: {:?}", agreed.unwrap_err());
                    assert!(
                        usage.peak_allocated_entries >= usage.stored_entries,
                        "{what}"
                    );
                    // Nothing was dropped, and nothing passed over.
                    let keeps_all = usage.stored_entries == full.usage.stored_entries
                        && usage.compute_share() >= 1.0;
                    let other_attention = ["streaming-llm", "nsa:top=3:block=4:window=8"];
                    if keeps_all && !other_attention.contains(&method.name.as_str()) {
                        assert_eq!(run.output, full.output, "{what}");
                    }
                }
            }
        }
    }
}
