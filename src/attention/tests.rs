//! Every fast path against the slow oracle, forward and backward.

use super::gated::{GatedAttention, Wanted};
use super::packed::Documents;
use super::reference::Reference;
use super::testing::{CPU, assert_close, autograd, leaf, normal, relative_error};
use super::{Backend, Qkv, Visibility, cpu_flash::CpuFlash, merge, streaming};
use crate::span::Span;
use crate::torch::dims::dims;
use tch::{Kind, Tensor};

/// q, k, v in f64 for `[B, T, K * G, D]` queries and `[B, S, K, D]` keys.
fn inputs(seed: u64, (b, t, s): (i64, i64, i64), (kv, group, d): (i64, i64, i64)) -> [Tensor; 3] {
    [
        normal(seed, &[b, t, kv * group, d]),
        normal(seed + 1, &[b, s, kv, d]),
        normal(seed + 2, &[b, s, kv, d]),
    ]
}

fn of(x: &[Tensor; 3]) -> Qkv<'_> {
    Qkv {
        q: &x[0],
        k: &x[1],
        v: &x[2],
    }
}

/// Attention head by head with plain softmax, K and V indexed per group: the oracle's oracle.
fn naive(qkv: Qkv, mask: &Tensor) -> Tensor {
    let (_, _, heads, d, _, kv) = qkv.dims().unwrap();
    let outputs: Vec<Tensor> = (0..heads)
        .map(|head| {
            let kv_head = head / (heads / kv);
            let q = qkv.q.select(2, head);
            let (k, v) = (qkv.k.select(2, kv_head), qkv.v.select(2, kv_head));
            let scores = q.matmul(&k.transpose(1, 2)) / (d as f64).sqrt();
            let scores = scores.masked_fill(&mask.logical_not(), f64::NEG_INFINITY);
            scores.softmax(-1, Kind::Double).matmul(&v)
        })
        .collect();
    Tensor::stack(&outputs, 2)
}

#[test]
fn the_reference_agrees_with_plain_softmax_and_autograd() {
    for (t, s, kv, group) in [(1, 1, 1, 1), (5, 5, 2, 3), (3, 7, 1, 4), (7, 7, 2, 1)] {
        let raw = inputs(7, (2, t, s), (kv, group, 4));
        let leaves = [leaf(&raw[0]), leaf(&raw[1]), leaf(&raw[2])];
        let mask = super::reference::causal_mask(t, s, CPU);
        let oracle = naive(of(&leaves), &mask);
        let dout = normal(90, &oracle.size());
        let grads = autograd(&oracle, &dout, &[&leaves[0], &leaves[1], &leaves[2]]);
        let found = Reference.forward(of(&raw), Visibility::Causal);
        assert_close(&found.out, &oracle, "out");
        let found = Reference.backward(&dout, of(&raw), &found, Visibility::Causal);
        for ((found, oracle), what) in [found.dq, found.dk, found.dv]
            .iter()
            .zip(&grads)
            .zip(["dq", "dk", "dv"])
        {
            assert_close(found, oracle, what);
        }
    }
}

#[test]
fn cpu_flash_equals_the_reference_for_every_visibility() {
    for (b, t, s, kv, group) in [
        (1, 1, 1, 1, 1),
        (2, 113, 113, 2, 2),
        (3, 5, 40, 1, 4),
        (2, 1, 40, 3, 4),
        (1, 64, 64, 3, 1),
    ] {
        let x = inputs(3, (b, t, s), (kv, group, 8));
        let mask = super::reference::causal_mask(t, s, CPU);
        let dout = normal(50, &x[0].size());
        for visibility in [
            Visibility::All,
            Visibility::Causal,
            Visibility::Masked(&mask),
        ] {
            let (oracle, found) = (
                Reference.forward(of(&x), visibility),
                CpuFlash.forward(of(&x), visibility),
            );
            assert_close(&found.out, &oracle.out, "out");
            assert_close(&found.lse, &oracle.lse, "lse");
            let oracle = Reference.backward(&dout, of(&x), &oracle, visibility);
            let found = CpuFlash.backward(&dout, of(&x), &found, visibility);
            assert_close(&found.dq, &oracle.dq, "dq");
            assert_close(&found.dk, &oracle.dk, "dk");
            assert_close(&found.dv, &oracle.dv, "dv");
        }
    }
}

#[test]
fn cpu_flash_in_low_precision_stays_within_twice_the_naive_error() {
    let exact = inputs(11, (1, 113, 113), (2, 2, 16));
    let oracle = Reference.forward(of(&exact), Visibility::Causal).out;
    for kind in [Kind::Float, Kind::BFloat16] {
        let low = [0, 1, 2].map(|i: usize| exact[i].to_kind(kind));
        let rounded = [0, 1, 2].map(|i: usize| low[i].to_kind(Kind::Double));
        let oracle = if kind == Kind::Float {
            Reference.forward(of(&rounded), Visibility::Causal).out
        } else {
            oracle.copy()
        };
        let scores = low[0].transpose(1, 2).contiguous();
        drop(scores);
        let mask = super::reference::causal_mask(113, 113, CPU);
        let naive = naive_in(kind, of(&low), &mask);
        let found = CpuFlash.forward(of(&low), Visibility::Causal).out;
        let (found, naive) = (
            relative_error(&found, &oracle),
            relative_error(&naive, &oracle),
        );
        let ulp = if kind == Kind::Float { 1.2e-7 } else { 7.9e-3 };
        assert!(
            found <= 2.0 * naive + ulp,
            "{kind:?}: flash {found:e}, naive {naive:e}"
        );
    }
}

#[test]
fn cpu_flash_backward_in_bf16_stays_within_twice_the_naive_error() {
    let exact = inputs(13, (1, 113, 113), (2, 2, 16));
    let low = [0, 1, 2].map(|i: usize| exact[i].to_kind(Kind::BFloat16));
    let rounded = [0, 1, 2].map(|i: usize| low[i].to_kind(Kind::Double));
    let dout = normal(93, &[1, 113, 4, 16]).to_kind(Kind::BFloat16);
    let attended = Reference.forward(of(&rounded), Visibility::Causal);
    let exact_dout = dout.to_kind(Kind::Double);
    let oracle = Reference.backward(&exact_dout, of(&rounded), &attended, Visibility::Causal);
    let leaves = [leaf(&low[0]), leaf(&low[1]), leaf(&low[2])];
    let mask = super::reference::causal_mask(113, 113, CPU);
    let naive = naive_in(Kind::BFloat16, of(&leaves), &mask);
    let naive = autograd(&naive, &dout, &[&leaves[0], &leaves[1], &leaves[2]]);
    let attended = CpuFlash.forward(of(&low), Visibility::Causal);
    let found = CpuFlash.backward(&dout, of(&low), &attended, Visibility::Causal);
    let pairs = [
        ("dq", &found.dq, &oracle.dq, &naive[0]),
        ("dk", &found.dk, &oracle.dk, &naive[1]),
        ("dv", &found.dv, &oracle.dv, &naive[2]),
    ];
    for (what, found, oracle, naive) in pairs {
        assert_eq!(found.kind(), Kind::BFloat16, "{what}");
        let (found, naive) = (relative_error(found, oracle), relative_error(naive, oracle));
        assert!(
            found <= 2.0 * naive + 7.9e-3,
            "{what}: flash {found:e}, naive {naive:e}"
        );
    }
}

/// [`naive`] with every intermediate in `kind`.
fn naive_in(kind: Kind, qkv: Qkv, mask: &Tensor) -> Tensor {
    let [_, _, heads, _] = dims(qkv.q);
    let [_, _, num_kv_heads, _] = dims(qkv.k);
    let group = heads / num_kv_heads;
    let outputs: Vec<Tensor> = (0..heads)
        .map(|head| {
            let (k, v) = (qkv.k.select(2, head / group), qkv.v.select(2, head / group));
            let scores = qkv.q.select(2, head).matmul(&k.transpose(1, 2)) / 4.0;
            scores
                .masked_fill(&mask.logical_not(), f64::NEG_INFINITY)
                .softmax(-1, kind)
                .matmul(&v)
        })
        .collect();
    Tensor::stack(&outputs, 2)
}

#[test]
fn merging_key_sets_equals_attending_to_their_union_and_ignores_empty_ones() {
    let x = inputs(21, (2, 6, 11), (2, 2, 4));
    let part = |from: i64, len: i64| {
        let (k, v) = (x[1].narrow(1, from, len), x[2].narrow(1, from, len));
        Reference.forward(
            Qkv {
                q: &x[0],
                k: &k,
                v: &v,
            },
            Visibility::All,
        )
    };
    let whole = Reference.forward(of(&x), Visibility::All);
    let (a, b, c) = (part(0, 3), part(3, 1), part(4, 7));
    let left = merge::merge(&merge::merge(&a, &b), &c);
    let right = merge::merge(&a, &merge::merge(&b, &c));
    assert_close(&left.out, &whole.out, "merged out");
    assert_close(&left.lse, &whole.lse, "merged lse");
    assert_close(&right.out, &left.out, "associativity");
    let nothing = super::Attended {
        out: whole.out.zeros_like(),
        lse: whole.lse.full_like(f64::NEG_INFINITY),
    };
    assert_close(&merge::merge(&whole, &nothing).out, &whole.out, "empty set");
}

fn spans() -> Vec<Span> {
    [
        (0, 1, 1),
        (1, 2, 1),
        (2, 5, 1),
        (4, 8, 4),
        (0, 8, 4),
        (3, 40, 1),
        (16, 64, 16),
    ]
    .map(|(sink, window, block)| Span::new(sink, window, block).unwrap())
    .to_vec()
}

#[test]
fn streaming_equals_the_dense_mask_forward_and_backward() {
    for span in spans() {
        let prefix = span.dense_prefix() as i64;
        for t in [1, prefix - 1, prefix, prefix + 1, prefix + 31, prefix + 150] {
            if t < 1 {
                continue;
            }
            for backend in [&Reference as &dyn Backend, &CpuFlash] {
                let x = inputs(5, (2, t, t), (2, 2, 4));
                let mask = streaming::dense_mask(&span, t as usize);
                let dout = normal(70, &x[0].size());
                let oracle = Reference.forward(of(&x), Visibility::Masked(&mask));
                let found = streaming::forward(backend, of(&x), &span);
                let what = format!("{span:?} T = {t} {}", backend.name());
                assert_close(&found.out, &oracle.out, &what);
                assert_close(&found.lse, &oracle.lse, &what);
                let oracle = Reference.backward(&dout, of(&x), &oracle, Visibility::Masked(&mask));
                let found = streaming::backward(backend, &dout, of(&x), &found, &span);
                assert_close(&found.dq, &oracle.dq, &what);
                assert_close(&found.dk, &oracle.dk, &what);
                assert_close(&found.dv, &oracle.dv, &what);
            }
        }
    }
}

/// The unskipped mix by autograd: out, dq, dk, dv, and dz of every gate.
fn mixed_oracle(x: &[Tensor; 3], z: &[f64], span: &Span, dout: &Tensor) -> (Tensor, Vec<Tensor>) {
    let leaves = [leaf(&x[0]), leaf(&x[1]), leaf(&x[2])];
    let z = leaf(&Tensor::from_slice(z));
    let [_, t, num_heads, _] = dims(&x[0]);
    let [_, _, num_kv_heads, _] = dims(&x[1]);
    let full = naive(of(&leaves), &super::reference::causal_mask(t, t, CPU));
    let stream = naive(of(&leaves), &streaming::dense_mask(span, t as usize));
    let group = num_heads / num_kv_heads;
    let share = z
        .repeat_interleave_self_int(group, 0, None)
        .view([1, 1, -1, 1]);
    let out = &share * full + (1.0 - &share) * stream;
    let grads = autograd(&out, dout, &[&leaves[0], &leaves[1], &leaves[2], &z]);
    (out, grads)
}

#[test]
fn the_gated_mix_equals_autograd_with_gates_closed_open_inside_and_mixed() {
    let span = Span::new(2, 5, 1).unwrap();
    for backend in [&Reference as &dyn Backend, &CpuFlash] {
        for z in [
            [0.0, 0.0, 0.0],
            [1.0, 1.0, 1.0],
            [0.3, 0.9, 0.5],
            [0.0, 0.4, 1.0],
            [1.0, 0.0, 1.0],
        ] {
            let x = inputs(31, (2, 29, 29), (3, 2, 4));
            let dout = normal(77, &x[0].size());
            let (out, grads) = mixed_oracle(&x, &z, &span, &dout);
            let attention = GatedAttention {
                backend,
                span: Some(&span),
            };
            let (found, branches) = attention.forward(of(&x), &z);
            assert_close(&found, &out, "mix");
            let found = attention.backward(&dout, of(&x), &z, &branches, Wanted::GatesAndInputs);
            let input_grads = found.inputs.unwrap();
            assert_close(&input_grads.dq, &grads[0], "dq");
            assert_close(&input_grads.dk, &grads[1], "dk");
            assert_close(&input_grads.dv, &grads[2], "dv");
            for (head, z) in z.iter().enumerate() {
                let oracle = if *z > 0.0 && *z < 1.0 {
                    grads[3].double_value(&[head as i64])
                } else {
                    0.0
                };
                assert!(
                    (found.dz[head] - oracle).abs() <= 1e-10 * oracle.abs().max(1.0),
                    "dz {head}"
                );
            }
            let gates_only = attention.backward(&dout, of(&x), &z, &branches, Wanted::Gates);
            assert!(gates_only.inputs.is_none());
            assert_eq!(gates_only.dz, found.dz);
        }
    }
}

#[test]
fn documents_of_one_row_do_not_see_each_other() {
    let span = Span::new(1, 3, 1).unwrap();
    let lens = [4, 4, 9, 1, 4];
    let total: usize = lens.iter().sum();
    let x = inputs(41, (1, total as i64, total as i64), (2, 2, 4)).map(|x| x.squeeze_dim(0));
    let qkv = of(&x);
    let z = [0.25, 1.0];
    let attention = GatedAttention {
        backend: &CpuFlash,
        span: Some(&span),
    };
    let documents = Documents::new(&lens);
    assert_eq!(documents.num_tokens(), total as i64);
    let (packed, branches) = documents.forward(&attention, qkv, &z);
    let dout = normal(42, &packed.size());
    let grads = documents.backward(
        &attention,
        &dout,
        qkv,
        (&z, &branches),
        Wanted::GatesAndInputs,
    );
    let inputs = grads.inputs.unwrap();
    let (mut start, mut dz) = (0, vec![0.0; 2]);
    for len in lens.map(|len| len as i64) {
        let alone = [0, 1, 2].map(|i: usize| x[i].narrow(0, start, len).unsqueeze(0));
        let (out, branches) = attention.forward(of(&alone), &z);
        assert_close(&packed.narrow(0, start, len), &out.squeeze_dim(0), "out");
        let dout = dout.narrow(0, start, len).unsqueeze(0);
        let found = attention.backward(&dout, of(&alone), &z, &branches, Wanted::GatesAndInputs);
        let alone = found.inputs.unwrap();
        assert_close(
            &inputs.dk.narrow(0, start, len),
            &alone.dk.squeeze_dim(0),
            "dk",
        );
        dz.iter_mut()
            .zip(found.dz)
            .for_each(|(sum, part)| *sum += part);
        start += len;
    }
    assert!(grads.dz.iter().zip(dz).all(|(a, b)| (a - b).abs() < 1e-10));
}
