//! The whole distillation pass against autograd in f64.

use super::*;
use crate::attention::reference::causal_mask;
use crate::attention::streaming::dense_mask;
use crate::attention::testing::{CPU, leaf};
use crate::model::block::Saving;
use crate::model::tests::{Case, packed_mask, rms_norm};
use std::collections::BTreeMap;

/// The loss of `row` under gates `gates[layer]`, without gradients.
fn evaluate(pass: &DistillPass, row: &Row, gates: &[Vec<f64>]) -> f64 {
    let _guard = tch::no_grad_guard();
    let context = BlockContext {
        saving: Saving::Inputs,
        ..pass.engine.context(row)
    };
    let streams = pass.forward(&context, row, gates);
    pass.difference(&streams, &row.targets.label_positions()).0
}

/// One layer's attention per head, `[T, H, D]`, by plain operators.
struct Attention<'a> {
    q: Tensor,
    k: Tensor,
    v: Tensor,
    case: &'a Case,
}

impl<'a> Attention<'a> {
    fn new(case: &'a Case, x: &Tensor, name: &impl Fn(&str) -> &'a Tensor) -> Self {
        let shape = case.model.config().shape;
        let h = rms_norm(x, name("input_layernorm"));
        let d = shape.head_dim as i64;
        let heads = |weight: &Tensor| h.matmul(&weight.tr()).view([case.ids.len() as i64, -1, d]);
        let rotation = case.row().rotation;
        Self {
            q: rotation.apply(&heads(name("self_attn.q_proj"))),
            k: rotation.apply(&heads(name("self_attn.k_proj"))),
            v: heads(name("self_attn.v_proj")),
            case,
        }
    }

    fn through(&self, mask: &Tensor) -> Tensor {
        let shape = self.case.model.config().shape;
        let heads: Vec<Tensor> = (0..shape.num_heads as i64)
            .map(|head| {
                let kv = head / shape.group_size() as i64;
                let scores = self.q.select(1, head).matmul(&self.k.select(1, kv).tr());
                let scores = scores / (shape.head_dim as f64).sqrt();
                scores
                    .masked_fill(&mask.logical_not(), f64::NEG_INFINITY)
                    .softmax(-1, Kind::Double)
                    .matmul(&self.v.select(1, kv))
            })
            .collect();
        Tensor::stack(&heads, 1)
    }
}

fn after_attention<'a>(x: &Tensor, out: &Tensor, name: &impl Fn(&str) -> &'a Tensor) -> Tensor {
    let x = x + out.flatten(1, 2).matmul(&name("self_attn.o_proj").tr());
    let h = rms_norm(&x, name("post_attention_layernorm"));
    let gate = h.matmul(&name("mlp.gate_proj").tr()).silu();
    let product = gate * h.matmul(&name("mlp.up_proj").tr());
    x + product.matmul(&name("mlp.down_proj").tr())
}

/// The loss for gates `[L, K]` that are clamped, as the reference's code has it, and compared at the labels' own positions.
fn oracle_loss(case: &Case, gates: &Tensor, open_end: OpenEnd) -> Tensor {
    let shape = case.model.config().shape;
    let w: BTreeMap<String, &Tensor> = case.model.named_tensors().into_iter().collect();
    let causal = packed_mask(&case.lens, |len| causal_mask(len as i64, len as i64, CPU));
    let stream = packed_mask(&case.lens, |len| dense_mask(&case.span, len));
    let mut teacher = w["model.embed_tokens.weight"].index_select(0, &case.row().ids);
    let mut student = teacher.shallow_clone();
    let gates = gates.clamp(0.0, 1.0);
    for layer in 0..shape.num_layers {
        let name = |suffix: &str| w[&format!("model.layers.{layer}.{suffix}.weight")];
        let given = Attention::new(case, &teacher, &name).through(&causal);
        let own = Attention::new(case, &student, &name);
        let open = match open_end {
            OpenEnd::Teacher => given.detach(),
            OpenEnd::Student => own.through(&causal),
        };
        let gate = gates
            .get(layer as i64)
            .view([1, -1, 1, 1])
            .expand([1, -1, shape.group_size() as i64, 1], false)
            .reshape([1, -1, 1]);
        let mixed = (1.0 - &gate) * own.through(&stream) + &gate * open;
        student = after_attention(&student, &mixed, &name);
        teacher = after_attention(&teacher, &given, &name);
    }
    let hidden = |x: &Tensor| rms_norm(x, w["model.norm.weight"]);
    let difference = hidden(&student) - hidden(&teacher).detach();
    let by_position = difference
        .square()
        .mean_dim([-1].as_slice(), false, Kind::Double);
    let labelled = case
        .labels
        .iter()
        .map(|label| f64::from(u8::from(*label >= 0)));
    let labelled = Tensor::from_slice(&labelled.collect::<Vec<f64>>());
    (by_position * labelled).sum(Kind::Double)
}

fn pass(case: &Case, saving: Saving, open_end: OpenEnd) -> DistillPass<'_> {
    DistillPass {
        engine: case.pass(saving, 5),
        open_end,
    }
}

const INSIDE: [[f64; 2]; 3] = [[0.3, 0.7], [0.5, 0.9], [0.1, 0.6]];
const BOUNDS: [[f64; 2]; 3] = [[0.0, 1.0], [1.0, 0.4], [0.8, 0.0]];
const CLOSED: [[f64; 2]; 3] = [[0.0; 2]; 3];
const OPEN: [[f64; 2]; 3] = [[1.0; 2]; 3];

fn by_layer(gates: [[f64; 2]; 3]) -> Vec<Vec<f64>> {
    gates.map(|layer| layer.to_vec()).into()
}

#[test]
fn loss_and_the_gradient_of_every_gate_equal_autograd_at_the_bounds_too() {
    let case = Case::new(false);
    for open_end in [OpenEnd::Teacher, OpenEnd::Student] {
        // Gates, and how many of those at a bound have a gradient.
        for (gates, num_moved) in [(INSIDE, 0), (BOUNDS, 4), (CLOSED, 6), (OPEN, 0)] {
            let gate_leaf = leaf(&Tensor::from_slice(&gates.concat()).view([3, 2]));
            let loss = oracle_loss(&case, &gate_leaf, open_end);
            let weight = 0.37;
            let oracle = Tensor::run_backward(&[&loss * weight], &[&gate_leaf], false, false);
            let oracle = Vec::<f64>::try_from(oracle[0].flatten(0, 1)).unwrap();
            let loss = loss.double_value(&[]);
            let largest = oracle.iter().fold(0.0_f64, |max, dg| max.max(dg.abs()));
            for saving in [Saving::Inputs, Saving::InputsAndAttention, Saving::All] {
                let pass = pass(&case, saving, open_end);
                let (found, bad) = pass.run(&case.row(), &by_layer(gates), weight, Watch::On);
                assert_eq!(bad, None);
                let what = format!("{gates:?} {open_end:?} {saving:?}");
                let error = (found.loss_sum - loss).abs();
                assert!(error <= 1e-10 * loss.max(1e-3), "{what}: loss {error:e}");
                for (gate, (found, oracle)) in found.dgates.iter().zip(&oracle).enumerate() {
                    let error = (found - oracle).abs();
                    assert!(
                        error <= 1e-10 * largest.max(1e-3),
                        "{what}: dg of gate {gate}: {error:e}"
                    );
                }
                let alone = evaluate(&pass, &case.row(), &by_layer(gates));
                assert!((alone - found.loss_sum).abs() <= 1e-12 * loss.max(1e-3));
            }
            // The comparison would say nothing of bounds at which every gradient were 0.
            let at_bounds = gates.concat().into_iter().zip(&oracle);
            let moved = at_bounds.filter(|(g, dg)| (*g == 0.0 || *g >= 1.0) && dg.abs() > 1e-6);
            assert_eq!(moved.count(), num_moved, "{gates:?}");
        }
    }
}

#[test]
fn gradients_equal_finite_differences() {
    let case = Case::new(true);
    let pass = pass(&case, Saving::InputsAndAttention, OpenEnd::Teacher);
    let at = |gates: &[f64]| {
        let by_layer: Vec<Vec<f64>> = gates.chunks(2).map(<[f64]>::to_vec).collect();
        evaluate(&pass, &case.row(), &by_layer)
    };
    let (found, _) = pass.run(&case.row(), &by_layer(INSIDE), 1.0, Watch::Off);
    let step = 1e-5;
    for (gate, dg) in found.dgates.iter().enumerate() {
        let moved = |by: f64| {
            let mut gates = INSIDE.concat();
            gates[gate] += by;
            at(&gates)
        };
        let slope = (moved(step) - moved(-step)) / (2.0 * step);
        // The quotient's own error: third derivatives times step^2, rounding over step.
        assert!(
            (slope - dg).abs() <= 1e-6 * dg.abs().max(1.0),
            "gate {gate}: {slope} {dg}"
        );
    }
}

#[test]
fn an_open_gate_lets_the_teachers_output_through_and_not_the_students_own() {
    // Below an open layer everything streams: the student's own queries and keys are others than the teacher's.
    let case = Case::new(false);
    let gates = by_layer([[0.0; 2], [1.0; 2], [1.0; 2]]);
    let loss = |open_end| evaluate(&pass(&case, Saving::Inputs, open_end), &case.row(), &gates);
    let (teacher, own) = (loss(OpenEnd::Teacher), loss(OpenEnd::Student));
    assert!((teacher - own).abs() > 1e-3 * own, "{teacher} {own}");
    // With all gates open there is nothing to tell apart.
    let open = evaluate(
        &pass(&case, Saving::Inputs, OpenEnd::Teacher),
        &case.row(),
        &by_layer(OPEN),
    );
    assert!(open.abs() < 1e-300, "{open}");
}

#[test]
fn each_label_counts_at_its_own_position() {
    let mut case = Case::new(false);
    let labels = case.labels.clone();
    let offsets: Vec<usize> = case.lens.iter().flat_map(|len| 0..*len).collect();
    let all = evaluate(
        &pass(&case, Saving::Inputs, OpenEnd::Teacher),
        &case.row(),
        &by_layer(INSIDE),
    );
    let mut sum = 0.0;
    for position in 0..labels.len() {
        case.labels = vec![-100; labels.len()];
        case.labels[position] = labels[position];
        let pass = pass(&case, Saving::Inputs, OpenEnd::Teacher);
        let alone = evaluate(&pass, &case.row(), &by_layer(INSIDE));
        // The first four tokens of a document see all of it, streaming or not: both streams have them in common, but for rounding.
        let differs = offsets[position] >= 4 && labels[position] >= 0;
        assert_eq!(alone > 1e-20, differs, "position {position}: {alone:e}");
        sum += alone;
    }
    assert!((sum - all).abs() <= 1e-12 * all);
    case.labels = vec![-100; labels.len()];
    let pass = pass(&case, Saving::Inputs, OpenEnd::Teacher);
    let (found, _) = pass.run(&case.row(), &by_layer(INSIDE), 1.0, Watch::Off);
    assert!(found.loss_sum.abs() < 1e-300);
    assert!(found.dgates.iter().all(|dg| *dg == 0.0));
}
