//! Distilled heads against autograd in f64, and every backend against the reference.

use super::*;
use crate::attention::Backend;
use crate::attention::cpu_flash::CpuFlash;
use crate::attention::fused::CpuFused;
use crate::attention::reference::{Reference, causal_mask};
use crate::attention::streaming::dense_mask;
use crate::attention::testing::{CPU, Naive, assert_close, autograd, leaf, normal};
use crate::span::Span;

const LENS: [usize; 4] = [9, 4, 4, 13];
const HEADS: i64 = 6;
const KV_HEADS: i64 = 3;
const DIM: i64 = 4;

fn span() -> Span {
    Span::new(1, 3, 1).unwrap()
}

/// q, k, v, the teacher's output, and a gradient of the mix.
fn exact() -> [Tensor; 5] {
    let total = i64::try_from(LENS.iter().sum::<usize>()).unwrap();
    [
        (1, HEADS),
        (2, KV_HEADS),
        (3, KV_HEADS),
        (4, HEADS),
        (5, HEADS),
    ]
    .map(|(seed, heads)| normal(seed, &[total, heads, DIM]))
}

/// Gates at both bounds and inside, and layers that skip one branch or do not mix.
const GATES: [[f64; 3]; 5] = [
    [0.0, 0.3, 1.0],
    [1.0, 1.0, 1.0],
    [0.0, 0.0, 0.0],
    [0.25, 0.5, 0.75],
    [1.0, 0.6, 1.0],
];

/// Out, and gradients of q, k and v, and of the gates.
fn found(
    backend: &dyn Backend,
    [q, k, v, teacher, dout]: &[Tensor; 5],
    gates: &[f64],
    open_end: OpenEnd,
) -> [Tensor; 5] {
    let (documents, span) = (Documents::new(&LENS), span());
    let row = MixedRow {
        documents: &documents,
        attention: GatedAttention {
            backend,
            span: Some(&span),
        },
    };
    let teacher = (open_end == OpenEnd::Teacher).then_some(teacher);
    let mix = HeadMix::Distilled { gates, teacher };
    let qkv = Qkv { q, k, v };
    let (out, saved) = row.forward(qkv, mix);
    let again = row.mixed(q, mix, &saved);
    assert!(again.equal(&out), "the mix again");
    let grads = row.backward(dout, qkv, (mix, &saved), Wanted::GatesAndInputs);
    let gates_only = row.backward(dout, qkv, (mix, &saved), Wanted::Gates);
    assert!(gates_only.inputs.is_none());
    assert_eq!(gates_only.dz, grads.dz);
    let InputGrads { dq, dk, dv } = grads.inputs.unwrap();
    [out, dq, dk, dv, Tensor::from_slice(&grads.dz)]
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum OpenEnd {
    Teacher,
    Own,
}

/// By dense masks, head by head, document by document.
fn oracle([q, k, v, teacher, _]: [&Tensor; 5], gates: &Tensor, open_end: OpenEnd) -> Tensor {
    let mut start = 0;
    let mut rows = Vec::new();
    for len in LENS {
        let len_i = i64::try_from(len).unwrap();
        let part = |x: &Tensor| x.narrow(0, start, len_i);
        let masks = [causal_mask(len_i, len_i, CPU), dense_mask(&span(), len)];
        let heads: Vec<Tensor> = (0..HEADS)
            .map(|head| {
                let kv = head / (HEADS / KV_HEADS);
                let scores = part(q).select(1, head).matmul(&part(k).select(1, kv).tr()) / 2.0;
                let attend = |mask: &Tensor| {
                    scores
                        .masked_fill(&mask.logical_not(), f64::NEG_INFINITY)
                        .softmax(-1, Kind::Double)
                        .matmul(&part(v).select(1, kv))
                };
                let open = match open_end {
                    OpenEnd::Teacher => part(teacher).select(1, head),
                    OpenEnd::Own => attend(&masks[0]),
                };
                let gate = gates.get(kv);
                &gate * open + (1.0 - &gate) * attend(&masks[1])
            })
            .collect();
        rows.push(Tensor::stack(&heads, 1));
        start += len_i;
    }
    Tensor::cat(&rows, 0)
}

#[test]
fn outputs_and_every_gradient_equal_autograd_with_gates_at_their_bounds_too() {
    let exact = exact();
    for gates in GATES {
        for open_end in [OpenEnd::Teacher, OpenEnd::Own] {
            let leaves = exact.each_ref().map(leaf);
            let gate_leaf = leaf(&Tensor::from_slice(&gates));
            let out = oracle(leaves.each_ref(), &gate_leaf, open_end);
            let [q, k, v, _, dout] = leaves.each_ref();
            let oracle = autograd(&out, &dout.detach(), &[q, k, v, &gate_leaf]);
            for backend in [&Reference as &dyn Backend, &CpuFlash] {
                let found = found(backend, &exact, &gates, open_end);
                let what = |name| format!("{name} {gates:?} {open_end:?} {}", backend.name());
                assert_close(&found[0], &out.detach(), &what("out"));
                for ((found, oracle), name) in
                    found[1..].iter().zip(&oracle).zip(["dq", "dk", "dv", "dg"])
                {
                    assert_close(found, oracle, &what(name));
                }
            }
        }
    }
}

#[test]
fn a_head_that_is_open_mixes_the_teachers_output_and_nothing_of_its_own() {
    let exact = exact();
    let [out, dq, _, _, dg] = found(&Reference, &exact, &[1.0, 1.0, 0.5], OpenEnd::Teacher);
    // Two of six heads are the last kv head's.
    let teacher = &exact[3];
    assert!(out.narrow(1, 0, 4).equal(&teacher.narrow(1, 0, 4)));
    assert!(!out.narrow(1, 4, 2).equal(&teacher.narrow(1, 4, 2)));
    let own = dq.narrow(1, 0, 4).abs().max().double_value(&[]);
    assert!(own.abs() < 1e-300, "nothing goes back through it");
    assert!(
        dg.get(0).double_value(&[]).abs() > 1e-3,
        "its gate has a gradient"
    );
}

#[test]
fn the_fused_kernel_is_as_good_as_the_reference_in_lower_precision() {
    let exact = exact();
    for gates in GATES {
        for open_end in [OpenEnd::Teacher, OpenEnd::Own] {
            for kind in [Kind::Float, Kind::BFloat16] {
                let naive = Naive::new(&exact, kind, CPU, |inputs| {
                    found(&Reference, inputs, &gates, open_end)
                });
                let found = found(&CpuFused::default(), &naive.inputs, &gates, open_end);
                for ((index, found), name) in (0..).zip(&found).zip(["out", "dq", "dk", "dv", "dg"])
                {
                    let what = format!("{name} {gates:?} {open_end:?} {kind:?}");
                    naive.assert_no_worse(index, found, &what);
                }
            }
        }
    }
}
