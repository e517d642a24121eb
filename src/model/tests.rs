//! The whole backward pass against autograd in f64.

use super::block::Saving;
use super::config::ModelConfig;
use super::llama::Llama;
use super::train_pass::{ModelGrads, PassResult, PassSettings, Row, TrainPass};
use crate::attention::gated::GatedAttention;
use crate::attention::testing::{CPU, assert_close, leaf, normal, relative_error};
use crate::attention::{cpu_flash::CpuFlash, streaming};
use crate::cuda::testing::{emulated, started, using};
use crate::span::Span;
use crate::torch::offload::Offload;
use std::collections::BTreeMap;
use tch::{Kind, Tensor};

mod bf16;
mod offload;

fn config(tied: bool) -> ModelConfig {
    let text = format!(
        r#"{{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 17, "hidden_size": 12,
        "intermediate_size": 20, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2,
        "head_dim": 6, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "max_position_embeddings": 64,
        "hidden_act": "silu", "tie_word_embeddings": {tied}}}"#
    );
    ModelConfig::parse(&text).unwrap()
}

/// Random weights by checkpoint name.
fn tensors(config: &ModelConfig) -> BTreeMap<String, Tensor> {
    let (c, i, v) = (
        config.hidden_size as i64,
        config.intermediate_size as i64,
        config.vocab_size as i64,
    );
    let (q, k) = (
        (config.shape.num_heads * config.shape.head_dim) as i64,
        (config.shape.num_kv_heads * config.shape.head_dim) as i64,
    );
    let mut seed = 1000;
    let mut weight = |shape: &[i64]| {
        seed += 1;
        normal(seed, shape) * 0.4
    };
    let mut tensors = BTreeMap::new();
    tensors.insert("model.embed_tokens.weight".to_owned(), weight(&[v, c]));
    for layer in 0..config.shape.num_layers {
        for (name, shape) in [
            ("input_layernorm", vec![c]),
            ("self_attn.q_proj", vec![q, c]),
            ("self_attn.k_proj", vec![k, c]),
            ("self_attn.v_proj", vec![k, c]),
            ("self_attn.o_proj", vec![c, q]),
            ("post_attention_layernorm", vec![c]),
            ("mlp.gate_proj", vec![i, c]),
            ("mlp.up_proj", vec![i, c]),
            ("mlp.down_proj", vec![c, i]),
        ] {
            tensors.insert(
                format!("model.layers.{layer}.{name}.weight"),
                weight(&shape),
            );
        }
    }
    tensors.insert("model.norm.weight".to_owned(), weight(&[c]));
    if !config.tie_word_embeddings {
        tensors.insert("lm_head.weight".to_owned(), weight(&[v, c]));
    }
    tensors
}

pub(super) struct Case {
    pub(super) model: Llama,
    pub(super) ids: Vec<i64>,
    pub(super) labels: Vec<i64>,
    pub(super) lens: Vec<usize>,
    pub(super) span: Span,
}

impl Case {
    pub(super) fn new(tied: bool) -> Self {
        Self::of_kind(tied, Kind::Double)
    }

    pub(super) fn of_kind(tied: bool, kind: Kind) -> Self {
        let config = config(tied);
        let tensors = tensors(&config).into_iter();
        let tensors = tensors.map(|(name, tensor)| (name, tensor.to_kind(kind)));
        let model = Llama::from_tensors(config.clone(), tensors.collect()).unwrap();
        let lens = vec![9, 4, 4, 1, 13];
        let total: usize = lens.iter().sum();
        let ids: Vec<i64> = (0..total as i64).map(|i| (i * i + 3 * i) % 17).collect();
        let mut labels = ids.clone();
        let mut start = 0;
        for len in &lens {
            labels[start] = -100;
            start += len;
        }
        labels[5] = -100;
        Self {
            model,
            ids,
            labels,
            lens,
            span: Span::new(1, 3, 1).unwrap(),
        }
    }

    pub(super) fn row(&self) -> Row {
        Row::new(&self.model, &self.ids, &self.labels, &self.lens)
    }

    pub(super) fn pass(&self, saving: Saving, chunk: i64) -> TrainPass<'_> {
        TrainPass {
            model: &self.model,
            attention: GatedAttention {
                backend: &CpuFlash,
                span: Some(&self.span),
            },
            settings: PassSettings {
                saving,
                offload: Offload::None,
                mlp_chunk_len: chunk,
                loss_chunk_len: chunk,
            },
        }
    }
}

pub(super) fn rms_norm(x: &Tensor, weight: &Tensor) -> Tensor {
    let mean = x.square().mean_dim([-1].as_slice(), true, None::<Kind>);
    x * (mean + 1e-5).rsqrt() * weight
}

/// Visible pairs of the packed row under `rule(q, k)` inside each document, `[T, T]`.
pub(super) fn packed_mask(lens: &[usize], rule: impl Fn(usize) -> Tensor) -> Tensor {
    let total: usize = lens.iter().sum();
    let mask = Tensor::zeros([total as i64, total as i64], (Kind::Bool, CPU));
    let mut start = 0;
    for len in lens {
        let len_i = *len as i64;
        let mut corner = mask.narrow(0, start, len_i).narrow(1, start, len_i);
        corner.copy_(&rule(*len));
        start += len_i;
    }
    mask
}

/// Loss by plain operators that autograd follows, dense masks, K and V indexed per head.
fn oracle_loss(case: &Case, w: &BTreeMap<String, Tensor>, z: &Tensor) -> Tensor {
    let shape = case.model.config().shape;
    let (d, group) = (shape.head_dim as i64, shape.group_size() as i64);
    let total = case.ids.len() as i64;
    let full = packed_mask(&case.lens, |len| {
        crate::attention::reference::causal_mask(len as i64, len as i64, CPU)
    });
    let stream = packed_mask(&case.lens, |len| streaming::dense_mask(&case.span, len));
    let row = case.row();
    let mut x = w["model.embed_tokens.weight"].index_select(0, &row.ids);
    for layer in 0..shape.num_layers {
        let name = |suffix: &str| &w[&format!("model.layers.{layer}.{suffix}.weight")];
        let h = rms_norm(&x, name("input_layernorm"));
        let heads = |name: &Tensor| h.matmul(&name.tr()).view([total, -1, d]);
        let (q, k, v) = (
            row.rotation.apply(&heads(name("self_attn.q_proj"))),
            row.rotation.apply(&heads(name("self_attn.k_proj"))),
            heads(name("self_attn.v_proj")),
        );
        let outputs: Vec<Tensor> = (0..shape.num_heads as i64)
            .map(|head| {
                let kv = head / group;
                let scores = q.select(1, head).matmul(&k.select(1, kv).tr()) / (d as f64).sqrt();
                let attend = |mask: &Tensor| {
                    scores
                        .masked_fill(&mask.logical_not(), f64::NEG_INFINITY)
                        .softmax(-1, Kind::Double)
                        .matmul(&v.select(1, kv))
                };
                let gate = z.select(0, layer as i64).select(0, kv);
                &gate * attend(&full) + (1.0 - &gate) * attend(&stream)
            })
            .collect();
        let attended = Tensor::stack(&outputs, 1).flatten(1, 2);
        x = &x + attended.matmul(&name("self_attn.o_proj").tr());
        let h = rms_norm(&x, name("post_attention_layernorm"));
        let gate = h.matmul(&name("mlp.gate_proj").tr()).silu();
        let product = gate * h.matmul(&name("mlp.up_proj").tr());
        x = &x + product.matmul(&name("mlp.down_proj").tr());
    }
    let hidden = rms_norm(&x, &w["model.norm.weight"]);
    let head = w
        .get("lm_head.weight")
        .unwrap_or(&w["model.embed_tokens.weight"]);
    let log_p = hidden.matmul(&head.tr()).log_softmax(-1, Kind::Double);
    let mut losses = Vec::new();
    for (i, label) in case.labels.iter().enumerate().skip(1) {
        if *label >= 0 {
            losses.push(-log_p.get(i as i64 - 1).get(*label));
        }
    }
    Tensor::stack(&losses, 0).sum(Kind::Double)
}

fn gates() -> Vec<(&'static str, Vec<Vec<f64>>)> {
    vec![
        ("closed", vec![vec![0.0; 2]; 3]),
        ("open", vec![vec![1.0; 2]; 3]),
        (
            "inside",
            vec![vec![0.3, 0.7], vec![0.5, 0.9], vec![0.1, 0.6]],
        ),
        (
            "mixed",
            vec![vec![0.0, 1.0], vec![1.0, 0.4], vec![0.8, 0.0]],
        ),
    ]
}

#[test]
fn every_gradient_equals_autograd_whatever_the_gates_the_policy_and_the_chunks() {
    for tied in [false, true] {
        let case = Case::new(tied);
        for (what, z) in gates() {
            let leaves: BTreeMap<String, Tensor> = case
                .model
                .named_tensors()
                .into_iter()
                .map(|(name, tensor)| (name, leaf(tensor)))
                .collect();
            let z_leaf = leaf(&Tensor::from_slice(&z.concat()).view([3, 2]));
            let loss = oracle_loss(&case, &leaves, &z_leaf);
            let weight = 0.37;
            let names: Vec<String> = leaves.keys().cloned().collect();
            let mut wrt: Vec<&Tensor> = leaves.values().collect();
            wrt.push(&z_leaf);
            let oracle = Tensor::run_backward(&[&loss * weight], &wrt, false, false);
            for (saving, chunk) in [
                (Saving::Inputs, 1000),
                (Saving::InputsAndAttention, 5),
                (Saving::InputsAndAttention, 1),
                (Saving::All, 1000),
                (Saving::All, 5),
            ] {
                let mut grads = ModelGrads::zeros(&case.model);
                let pass = case.pass(saving, chunk);
                let found = pass.run(&case.row(), &z, weight, Some(&mut grads));
                let loss = loss.double_value(&[]);
                assert!((found.loss_sum - loss).abs() <= 1e-10 * loss, "{what} loss");
                for ((name, _), grad) in case.model.named_tensors().iter().zip(grads.tensors()) {
                    let oracle = &oracle[names.iter().position(|n| n == name).unwrap()];
                    assert_close(grad, oracle, &format!("{what} {saving:?} {chunk} {name}"));
                }
                check_dz(&found.dz, &oracle[names.len()], &z, what);
                let frozen = pass.run(&case.row(), &z, weight, None);
                check_dz(&frozen.dz, &oracle[names.len()], &z, "frozen weights");
                assert!((pass.evaluate(&case.row(), &z) - loss).abs() <= 1e-10 * loss);
            }
        }
    }
}

fn check_dz(found: &[f64], oracle: &Tensor, z: &[Vec<f64>], what: &str) {
    let oracle = Vec::<f64>::try_from(oracle.flatten(0, 1)).unwrap();
    for (gate, z) in z.concat().into_iter().enumerate() {
        let expected = if z > 0.0 && z < 1.0 {
            oracle[gate]
        } else {
            0.0
        };
        let error = (found[gate] - expected).abs();
        assert!(
            error <= 1e-10 * expected.abs().max(1.0),
            "{what}: dz of gate {gate}: {error:e}"
        );
    }
}

/// A pass in f32 with every weight trained.
fn trained(case: &Case, z: &[Vec<f64>], saving: Saving) -> (PassResult, ModelGrads) {
    let mut grads = ModelGrads::zeros(&case.model);
    let pass = case.pass(saving, 5);
    let found = pass.run(&case.row(), z, 0.37, Some(&mut grads));
    let loss = pass.evaluate(&case.row(), z);
    assert!((found.loss_sum - loss).abs() <= 1e-5 * loss, "{loss}");
    (found, grads)
}

/// The kernels' sources stand in for a GPU: every place that takes a kernel is passed, forward and backward.
#[test]
fn a_pass_with_kernels_equals_one_with_libtorchs_operators() {
    let kernels = emulated();
    let mut entries = std::collections::BTreeSet::new();
    let case = Case::of_kind(false, Kind::Float);
    for (what, z) in gates().into_iter().skip(2) {
        for saving in [Saving::InputsAndAttention, Saving::All] {
            let (plain, expected) = trained(&case, &z, saving);
            let (found, grads) = using(kernels, || trained(&case, &z, saving));
            entries.extend(started());
            let error = (found.loss_sum - plain.loss_sum).abs() / plain.loss_sum;
            assert!(error <= 1e-5, "{what}: loss {error:e}");
            let names = case.model.named_tensors();
            let grads = grads.tensors().into_iter().zip(expected.tensors());
            for ((found, expected), (name, _)) in grads.zip(names) {
                let error = relative_error(found, expected);
                assert!(error <= 1e-4, "{what} {saving:?} {name}: {error:e}");
            }
            for (found, expected) in found.dz.iter().zip(&plain.dz) {
                let error = (found - expected).abs();
                assert!(error <= 1e-4, "{what}: dz {found} against {expected}");
            }
        }
    }
    for family in [
        "cross_entropy",
        "gate_backward",
        "gate_grad_sum",
        "gate_mix",
        "rms_norm_backward",
        "rms_norm_forward",
        "rms_norm_weight",
        "rope",
        "swiglu_backward",
        "swiglu_forward",
    ] {
        let is_started = entries.iter().any(|entry| entry.starts_with(family));
        assert!(is_started, "no {family} among {entries:?}");
    }
}

#[test]
fn a_row_without_labels_contributes_exactly_nothing() {
    let mut case = Case::new(false);
    case.labels = vec![-100; case.labels.len()];
    let mut grads = ModelGrads::zeros(&case.model);
    let z = vec![vec![0.5; 2]; 3];
    let found = case
        .pass(Saving::Inputs, 7)
        .run(&case.row(), &z, 1.0, Some(&mut grads));
    assert!(found.loss_sum.abs() < 1e-300);
    assert!(found.dz.iter().all(|dz| *dz == 0.0));
    assert!(
        grads
            .tensors()
            .iter()
            .all(|grad| grad.abs().max().double_value(&[]) == 0.0)
    );
}

#[test]
fn restarting_positions_at_each_document_changes_nothing() {
    let case = Case::new(false);
    let z = vec![vec![0.3, 1.0]; 3];
    let pass = case.pass(Saving::Inputs, 100);
    let running = pass.evaluate(&case.row(), &z);
    let mut row = case.row();
    let positions: Vec<i64> = case.lens.iter().flat_map(|len| 0..*len as i64).collect();
    row.rotation = case.model.rotation(&positions);
    let restarted = pass.evaluate(&row, &z);
    // cos and sin are rounded to f32, so equality holds to that rounding and no further.
    assert!(
        (running - restarted).abs() <= 1e-5 * running,
        "{running} {restarted}"
    );
}

#[test]
fn permuting_kv_heads_keeps_the_loss() {
    let mut case = Case::new(false);
    let row = case.row();
    let before = case
        .pass(Saving::Inputs, 100)
        .evaluate(&row, &vec![vec![1.0, 0.0]; 3]);
    case.model.permute_kv_heads(&vec![vec![1, 0]; 3]);
    let after = case
        .pass(Saving::Inputs, 100)
        .evaluate(&row, &vec![vec![0.0, 1.0]; 3]);
    assert!((before - after).abs() <= 1e-10 * before);
}
