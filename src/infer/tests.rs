//! Caches under the real model, against the training pass, which knows no caches.

use super::cache::RowSpec;
use super::decode::{Finish, Limits};
use super::generate::Engine;
use super::model_cache::ModelCache;
use super::policy::Policy;
use super::policy::full::Full;
use super::policy::head_mask::{HeadMaskPolicy, inverse};
use crate::attention::cpu_flash::CpuFlash;
use crate::attention::gated::GatedAttention;
use crate::attention::testing::normal;
use crate::cuda::testing::{emulated, using};
use crate::mask::head_mask::{HeadKind, HeadMask};
use crate::model::block::Saving;
use crate::model::config::ModelConfig;
use crate::model::llama::Llama;
use crate::model::train_pass::{PassSettings, Row, TrainPass};
use crate::span::{Span, StreamingRule};
use crate::torch::offload::Offload;
use std::collections::BTreeMap;
use std::sync::Arc;
use tch::{Kind, Tensor};

mod branches;
mod eviction;
mod skipping;

const LAYERS: usize = 3;
const KV_HEADS: usize = 4;

fn model() -> Llama {
    model_of(Kind::Double)
}

fn model_of(kind: Kind) -> Llama {
    tch::set_num_threads(1);
    let text = format!(
        r#"{{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 23, "hidden_size": 16,
        "intermediate_size": 20, "num_hidden_layers": {LAYERS}, "num_attention_heads": 8,
        "num_key_value_heads": {KV_HEADS}, "head_dim": 4, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
        "max_position_embeddings": 256, "hidden_act": "silu", "tie_word_embeddings": false}}"#
    );
    let config = ModelConfig::parse(&text).unwrap();
    let mut tensors = BTreeMap::new();
    let mut add = |name: String, shape: &[i64]| {
        let weight = normal(tensors.len() as u64, shape) * 0.5;
        tensors.insert(name, weight.to_kind(kind));
    };
    for layer in 0..LAYERS {
        for (name, shape) in [
            ("input_layernorm", vec![16]),
            ("self_attn.q_proj", vec![32, 16]),
            ("self_attn.k_proj", vec![16, 16]),
            ("self_attn.v_proj", vec![16, 16]),
            ("self_attn.o_proj", vec![16, 32]),
            ("post_attention_layernorm", vec![16]),
            ("mlp.gate_proj", vec![20, 16]),
            ("mlp.up_proj", vec![20, 16]),
            ("mlp.down_proj", vec![16, 20]),
        ] {
            add(format!("model.layers.{layer}.{name}.weight"), &shape);
        }
    }
    add("model.norm.weight".into(), &[16]);
    add("lm_head.weight".into(), &[23, 16]);
    add("model.embed_tokens.weight".into(), &[23, 16]);
    Llama::from_tensors(config, tensors).unwrap()
}

fn tokens(len: usize) -> Vec<i64> {
    let square = |i: usize| i64::try_from((i * i + 5 * i) % 23).unwrap();
    (0..len).map(square).collect()
}

fn engine(llama: &Llama, chunk_len: usize) -> Engine<'_> {
    Engine {
        llama,
        backend: Arc::new(CpuFlash),
        chunk_len,
    }
}

/// Sum of the negative log-likelihoods of all tokens but the first, through caches.
fn cached_nll(llama: &Llama, policy: &dyn Policy, ids: &[i64], chunk_len: usize) -> f64 {
    let spec = RowSpec::of(llama, Arc::new(CpuFlash), 1);
    let mut cache = ModelCache::open(policy, LAYERS, spec).unwrap();
    let mut position = 0;
    let mut hidden = Vec::new();
    for chunk in ids.chunks(chunk_len) {
        hidden.push(llama.forward_cached(chunk, position, &mut cache).unwrap());
        position += chunk.len();
    }
    let logits = llama.logits(&Tensor::cat(&hidden, 0));
    let last = i64::try_from(ids.len() - 1).unwrap();
    let predicted = logits.narrow(0, 0, last).log_softmax(-1, Kind::Double);
    let labels = Tensor::from_slice(&ids[1..]).unsqueeze(1);
    -predicted
        .gather(1, &labels, false)
        .sum(Kind::Double)
        .double_value(&[])
}

/// The same sum from the training pass with gates of 0 and 1.
fn trained_nll(llama: &Llama, mask: &HeadMask, span: Span, ids: &[i64]) -> f64 {
    let mut labels = ids.to_vec();
    labels[0] = -100;
    let row = Row::new(llama, ids, &labels, &[ids.len()]);
    let pass = TrainPass {
        model: llama,
        attention: GatedAttention {
            backend: &CpuFlash,
            span: Some(&span),
        },
        settings: PassSettings {
            saving: Saving::Inputs,
            offload: Offload::None,
            mlp_chunk_len: 64,
            loss_chunk_len: 64,
        },
    };
    let gates = |layer| {
        let flags = mask.layer(layer).iter();
        flags.map(|flag| f64::from(u8::from(*flag))).collect()
    };
    let z: Vec<Vec<f64>> = (0..LAYERS).map(gates).collect();
    pass.evaluate(&row, &z)
}

#[track_caller]
fn assert_near(found: f64, expected: f64, what: &str) {
    let error = (found - expected).abs() / expected.abs();
    assert!(error <= 1e-10, "{what}: {found} against {expected}");
}

#[test]
fn full_caches_equal_the_plain_forward_for_any_chunking() {
    let (llama, ids) = (model(), tokens(61));
    let mask = HeadMask::uniform(LAYERS, KV_HEADS, HeadKind::Retrieval);
    let plain = trained_nll(&llama, &mask, Span::new(1, 4, 1).unwrap(), &ids);
    for chunk_len in [1, 7, 16, 60, 61, 100] {
        let cached = cached_nll(&llama, &Full, &ids, chunk_len);
        assert_near(cached, plain, &format!("chunk {chunk_len}"));
    }
}

#[test]
fn sliding_masks_on_permuted_weights_equal_gates_of_zero_and_one() {
    let (mut llama, ids) = (model(), tokens(75));
    let span = Span::new(3, 8, 1).unwrap();
    let full_nll = cached_nll(&llama, &Full, &ids, 75);
    for number in 0..4_usize {
        let flags = (0..LAYERS * KV_HEADS).map(|head| (head * 7 + number) % 3 == 0);
        let mask = HeadMask::new(LAYERS, KV_HEADS, flags.collect()).unwrap();
        let expected = trained_nll(&llama, &mask, span, &ids);
        assert!(
            (expected - full_nll).abs() > 1e-3,
            "the mask changes nothing"
        );
        let policy = HeadMaskPolicy::new(&mask, span, StreamingRule::Sliding);
        llama.permute_kv_heads(policy.order());
        for chunk_len in [1, 10, 75] {
            let cached = cached_nll(&llama, &policy, &ids, chunk_len);
            assert_near(
                cached,
                expected,
                &format!("mask {number}, chunk {chunk_len}"),
            );
        }
        llama.permute_kv_heads(&inverse(policy.order()));
    }
    assert_near(cached_nll(&llama, &Full, &ids, 75), full_nll, "put back");
}

/// The kernels' sources stand in for a GPU; a chunk of one token is a decoded one.
#[test]
fn caches_read_by_kernels_equal_caches_read_by_libtorchs_operators() {
    let (mut llama, ids) = (model_of(Kind::Float), tokens(25));
    let span = Span::new(3, 8, 1).unwrap();
    let flags = (0..LAYERS * KV_HEADS).map(|head| head % 3 == 0);
    let mask = HeadMask::new(LAYERS, KV_HEADS, flags.collect()).unwrap();
    for rule in [StreamingRule::Sliding, StreamingRule::DuoChunk] {
        let policy = HeadMaskPolicy::new(&mask, span, rule);
        llama.permute_kv_heads(policy.order());
        for chunk_len in [1, 9] {
            let plain = cached_nll(&llama, &policy, &ids, chunk_len);
            let found = using(emulated(), || cached_nll(&llama, &policy, &ids, chunk_len));
            let error = (found - plain).abs() / plain;
            assert!(error <= 1e-5, "{rule:?} {chunk_len}: {error:e}");
        }
        llama.permute_kv_heads(&inverse(policy.order()));
    }
}

#[test]
fn greedy_decoding_continues_as_starting_afresh_would() {
    let (llama, prompt) = (model(), tokens(40));
    let limits = |max_new_tokens, stop_tokens: &[i64]| Limits {
        max_new_tokens,
        stop_tokens: stop_tokens.to_vec(),
    };
    let mut sequence = prompt.clone();
    for _ in 0..6 {
        let fresh = engine(&llama, 1000)
            .generate(&Full, &sequence, &limits(1, &[]))
            .unwrap();
        sequence.extend(fresh.output);
    }
    let expected = &sequence[40..];
    for chunk_len in [1, 9, 39] {
        let run = engine(&llama, chunk_len)
            .generate(&Full, &prompt, &limits(6, &[]))
            .unwrap();
        assert_eq!(
            (run.output.as_slice(), run.finish),
            (expected, Finish::Length)
        );
        assert_eq!(run.usage.num_tokens, 39 + 6);
        assert_eq!(run.usage.kv_footprint().to_bits(), 1.0_f64.to_bits());
    }
    let stopped = engine(&llama, 9)
        .generate(&Full, &prompt, &limits(6, &[expected[0]]))
        .unwrap();
    assert_eq!((stopped.output.len(), stopped.finish), (1, Finish::Stop));
}

#[test]
fn a_question_read_after_the_prefill_changes_nothing_where_everything_is_kept() {
    let (llama, prompt) = (model(), tokens(40));
    let limits = Limits {
        max_new_tokens: 6,
        stop_tokens: Vec::new(),
    };
    let known = engine(&llama, 16)
        .generate(&Full, &prompt, &limits)
        .unwrap();
    for prefill_len in [0, 1, 31, 38, 39] {
        let late = engine(&llama, 16)
            .generate_after(&Full, &prompt, prefill_len, &limits)
            .unwrap();
        assert_eq!(late.output, known.output, "{prefill_len}");
        assert_eq!(late.usage, known.usage, "{prefill_len}");
    }
    for (prefill_len, code) in [(40, "infer.whole_prompt"), (41, "infer.whole_prompt")] {
        let late = engine(&llama, 16).generate_after(&Full, &prompt, prefill_len, &limits);
        assert_eq!(late.unwrap_err().code(), code);
    }
}

#[test]
fn prompts_of_one_token_need_no_prefill_and_empty_ones_are_refused() {
    let llama = model();
    let limits = Limits {
        max_new_tokens: 3,
        stop_tokens: Vec::new(),
    };
    for rule in [
        StreamingRule::DuoChunk,
        StreamingRule::Sliding,
        StreamingRule::FrozenPrompt,
    ] {
        let mask = HeadMask::uniform(LAYERS, KV_HEADS, HeadKind::Streaming);
        let policy = HeadMaskPolicy::new(&mask, Span::new(1, 2, 1).unwrap(), rule);
        let run = engine(&llama, 4).generate(&policy, &[5], &limits).unwrap();
        assert_eq!((run.output.len(), run.usage.num_tokens), (3, 3));
    }
    let code = |chunk_len, prompt: &[i64]| {
        let run = engine(&llama, chunk_len).generate(&Full, prompt, &limits);
        run.unwrap_err().code()
    };
    assert_eq!(code(4, &[]), "infer.empty_prompt");
    assert_eq!(code(0, &[1, 2]), "infer.chunk_len");
}
