//! The kernel against the reference in f64, by the tolerance rule: no worse than twice the reference in f32.

use super::CpuFused;
use crate::attention::gated::{GatedAttention, Wanted};
use crate::attention::packed::Documents;
use crate::attention::reference::Reference;
use crate::attention::streaming;
use crate::attention::testing::{assert_no_worse, normal, relative_error};
use crate::attention::{Attended, Backend, InputGrads, Mixed, Qkv, Visibility};
use crate::span::Span;
use crate::torch::threads::set_threads;
use pulp::Arch;
use tch::{Kind, Tensor};

mod work;

/// `[B, T, S]`, `[K, G, D]`.
type Shape = ([i64; 3], [i64; 3]);

/// Queries, keys, values and an output gradient of numbers that f32 holds, in f64.
fn inputs(([b, t, s], [kv, group, d]): Shape) -> [Tensor; 4] {
    let queries = [b, t, kv * group, d];
    let shapes = [queries, [b, s, kv, d], [b, s, kv, d], queries];
    let mut seed = 100;
    shapes.map(|shape| {
        seed += 1;
        normal(seed, &shape)
            .to_kind(Kind::Float)
            .to_kind(Kind::Double)
    })
}

fn of(x: &[Tensor; 4]) -> Qkv<'_> {
    Qkv {
        q: &x[0],
        k: &x[1],
        v: &x[2],
    }
}

fn in_kind(x: &[Tensor; 4], kind: Kind) -> [Tensor; 4] {
    x.each_ref().map(|x| x.to_kind(kind))
}

/// Everything a problem answers, by name.
type Answers = Vec<(&'static str, Tensor)>;

fn answers(attended: Attended, grads: InputGrads) -> Answers {
    vec![
        ("out", attended.out),
        ("lse", attended.lse),
        ("dq", grads.dq),
        ("dk", grads.dk),
        ("dv", grads.dv),
    ]
}

fn dense(backend: &dyn Backend, x: &[Tensor; 4], visibility: Visibility) -> Answers {
    let attended = backend.forward(of(x), visibility);
    let grads = backend.backward(&x[3], of(x), &attended, visibility);
    answers(attended, grads)
}

fn gated(backend: &dyn Backend, x: &[Tensor; 4], mixed: &Mixed) -> Answers {
    let attention = GatedAttention {
        backend,
        span: mixed.span,
    };
    let (out, branches) = attention.forward(of(x), mixed.z);
    let wanted = Wanted::GatesAndInputs;
    let grads = attention.backward(&x[3], of(x), mixed.z, &branches, wanted);
    gate_answers(out, &grads.dz, grads.inputs.unwrap())
}

/// What a layer with gates answers.
fn gate_answers(out: Tensor, dz: &[f64], inputs: InputGrads) -> Answers {
    let dz = Tensor::from_slice(dz).to_kind(out.kind());
    vec![
        ("out", out),
        ("dz", dz),
        ("dq", inputs.dq),
        ("dk", inputs.dk),
        ("dv", inputs.dv),
    ]
}

#[track_caller]
fn assert_rule(found: &Answers, naive: &Answers, oracle: &Answers, case: &str) {
    for (((what, found), (_, naive)), (_, oracle)) in found.iter().zip(naive).zip(oracle) {
        assert_no_worse(found, naive, oracle, &format!("{case}, {what}"));
    }
}

#[test]
fn dense_problems_equal_the_reference() {
    let shapes: [Shape; 14] = [
        ([1, 2, 2], [1, 1, 4]),
        ([2, 5, 5], [3, 1, 31]),
        ([1, 113, 113], [2, 2, 16]),
        ([1, 50, 145], [1, 4, 64]),
        ([2, 7, 97], [1, 3, 80]),
        ([1, 100, 100], [1, 1, 128]),
        ([1, 13, 20], [1, 8, 32]),
        ([1, 45, 45], [1, 5, 8]),
        ([1, 2, 3], [1, 100, 8]),
        // A tile of keys and of rows that is whole, one less and one more; one query of a tile of its own.
        ([1, 128, 128], [1, 1, 24]),
        ([1, 127, 127], [1, 1, 48]),
        ([1, 129, 257], [1, 1, 17]),
        ([2, 3, 130], [1, 2, 96]),
        // A group that is larger than a tile.
        ([1, 3, 3], [1, 130, 8]),
    ];
    for shape in shapes {
        let x = inputs(shape);
        let narrow = in_kind(&x, Kind::Float);
        for visibility in [
            Visibility::All,
            Visibility::Causal,
            // A window of one key has no gradient but rounding.
            Visibility::Window(2),
            Visibility::Window(9),
            Visibility::Window(100),
        ] {
            let found = dense(&CpuFused::default(), &narrow, visibility);
            let naive = dense(&Reference, &narrow, visibility);
            let oracle = dense(&Reference, &x, visibility);
            assert_rule(
                &found,
                &naive,
                &oracle,
                &format!("{shape:?} {visibility:?}"),
            );
        }
    }
}

#[test]
fn mixed_branches_equal_the_reference_that_solves_them_in_turn() {
    let spans = [
        (0, 3, 1),
        (2, 8, 1),
        (4, 12, 4),
        (16, 96, 1),
        (128, 128, 128),
    ];
    for (sink, window, block) in spans {
        let span = Span::new(sink, window, block).unwrap();
        for (shape, z) in [
            (([2, 41, 41], [3, 2, 16]), vec![0.0, 1.0, 0.3]),
            (([1, 230, 230], [2, 1, 32]), vec![0.0, 0.7]),
            (([1, 37, 37], [2, 3, 24]), vec![0.2, 0.9]),
            // Just over a tile; of one gate alone, a lucky reference would decide.
            (([1, 133, 133], [3, 1, 20]), vec![0.2, 0.5, 0.8]),
            (([1, 9, 9], [2, 130, 8]), vec![0.4, 1.0]),
            (([1, 150, 150], [2, 2, 8]), vec![0.0, 0.0]),
            (([1, 20, 20], [2, 1, 8]), vec![1.0, 1.0]),
            // Gates that f32 takes for 0 and for 1.
            (([1, 20, 20], [2, 1, 8]), vec![1e-60, 1.0 - 1e-16]),
        ] {
            let mixed = Mixed {
                z: &z,
                span: Some(&span),
            };
            let x = inputs(shape);
            let narrow = in_kind(&x, Kind::Float);
            assert!(
                CpuFused::default()
                    .forward_mixed(of(&narrow), &mixed)
                    .is_some()
            );
            let found = gated(&CpuFused::default(), &narrow, &mixed);
            let naive = gated(&Reference, &narrow, &mixed);
            let oracle = gated(&Reference, &x, &mixed);
            let case = format!("{span:?} {shape:?} {z:?}");
            assert_rule(&found, &naive, &oracle, &case);
        }
    }
}

#[test]
fn bf16_is_widened_and_rounded_once() {
    let span = Span::new(2, 8, 1).unwrap();
    let mixed = Mixed {
        z: &[0.0, 0.4, 1.0],
        span: Some(&span),
    };
    let short = in_kind(&inputs(([1, 61, 61], [3, 2, 16])), Kind::BFloat16);
    let found = gated(&CpuFused::default(), &short, &mixed);
    assert_eq!(found[0].1.kind(), Kind::BFloat16);
    let naive = gated(&Reference, &short, &mixed);
    let oracle = gated(&Reference, &in_kind(&short, Kind::Double), &mixed);
    assert_rule(&found, &naive, &oracle, "bf16");
}

/// The streaming output of a head hardly depends on what its window misses, but `exp(lse_F - lse_T)` would overflow.
#[test]
fn a_window_that_misses_nearly_everything_stays_finite() {
    let shape = ([1, 60, 60], [1, 1, 4]);
    let span = Span::new(0, 2, 1).unwrap();
    let mixed = Mixed {
        z: &[0.5],
        span: Some(&span),
    };
    let mut x = inputs(shape);
    // Every query looks at the first key alone: a score 400 above all others.
    let _ = x[0].fill_(1.0);
    let _ = x[1].fill_(-100.0);
    let _ = x[1].narrow(1, 0, 1).fill_(100.0);
    let narrow = in_kind(&x, Kind::Float);
    let found = gated(&CpuFused::default(), &narrow, &mixed);
    let naive = gated(&Reference, &narrow, &mixed);
    let oracle = gated(&Reference, &x, &mixed);
    assert_rule(&found, &naive, &oracle, "far");
}

#[test]
fn numbers_that_are_none_are_not_hidden() {
    let x = in_kind(&inputs(([1, 5, 5], [2, 1, 8])), Kind::Float);
    for (operand, poison) in [(0, f64::NAN), (1, f64::INFINITY), (2, f64::NAN)] {
        let spoiled = x.each_ref().map(Tensor::copy);
        let _ = spoiled[operand]
            .narrow(1, 2, 1)
            .narrow(2, 0, 1)
            .fill_(poison);
        let found = dense(&CpuFused::default(), &spoiled, Visibility::Causal);
        let out = &found[0].1;
        let is_nan = |head: i64| out.narrow(2, head, 1).narrow(1, 4, 1).isnan().all();
        assert_eq!(is_nan(0).int64_value(&[]), 1, "operand {operand}");
        assert_eq!(
            is_nan(1).int64_value(&[]),
            0,
            "another head, operand {operand}"
        );
        assert_eq!(found[2].1.isnan().any().int64_value(&[]), 1, "its gradient");
    }
}

/// Fewer heads than threads, as many, and more; threads that have no core of their own.
#[test]
fn threads_change_nothing_and_equal_the_reference() {
    let span = Span::new(4, 32, 1).unwrap();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build();
    pool.unwrap().install(|| {
        for (shape, z) in [
            (([1, 700, 700], [1, 2, 8]), vec![1.0]),
            (([1, 400, 400], [1, 2, 8]), vec![0.0]),
            (([1, 530, 530], [2, 1, 16]), vec![0.5, 0.0]),
            (([2, 330, 330], [3, 1, 8]), vec![0.0, 0.4, 1.0]),
            (([1, 240, 240], [4, 3, 8]), vec![0.0, 0.4, 1.0, 0.1]),
        ] {
            let mixed = Mixed {
                z: &z,
                span: Some(&span),
            };
            let x = inputs(shape);
            let narrow = in_kind(&x, Kind::Float);
            let by_count = [1, 2, 3].map(|count| {
                set_threads(count).unwrap();
                gated(&CpuFused::default(), &narrow, &mixed)
            });
            set_threads(1).unwrap();
            let naive = gated(&Reference, &narrow, &mixed);
            let oracle = gated(&Reference, &x, &mixed);
            for (found, threads) in by_count.iter().zip(1..) {
                for ((what, one), (_, found)) in by_count[0].iter().zip(found) {
                    assert_eq!(one, found, "{what}, {shape:?}, {threads} threads");
                }
            }
            assert_rule(&by_count[2], &naive, &oracle, &format!("{shape:?} {z:?}"));
        }
    });
}

#[test]
fn what_it_does_not_take_is_solved_by_libtorch() {
    let x = inputs(([1, 6, 6], [2, 2, 4]));
    let mask = crate::attention::reference::causal_mask(6, 6, x[0].device());
    let oracle = dense(&Reference, &x, Visibility::Causal);
    for visibility in [Visibility::Causal, Visibility::Masked(&mask)] {
        let found = dense(&CpuFused::default(), &x, visibility);
        for ((what, found), (_, oracle)) in found.iter().zip(&oracle) {
            assert!(relative_error(found, oracle) <= 1e-10, "{what}");
        }
    }
    let undecided = Mixed {
        z: &[0.5, 1.0],
        span: None,
    };
    let narrow = in_kind(&x, Kind::Float);
    assert!(
        CpuFused::default()
            .forward_mixed(of(&narrow), &undecided)
            .is_none()
    );
}

/// Every set of registers that this processor has: what another one would compute is tested here too.
fn archs() -> Vec<Arch> {
    let mut archs = vec![Arch::Scalar];
    #[cfg(target_arch = "x86_64")]
    {
        archs.extend(pulp::x86::V3::try_new().map(Arch::V3));
        archs.extend(pulp::x86::V4::try_new().map(Arch::V4));
    }
    archs
}

#[test]
fn every_set_of_registers_equals_the_reference() {
    let span = Span::new(4, 32, 1).unwrap();
    for (shape, z) in [
        (([1, 150, 150], [3, 2, 24]), vec![0.0, 0.4, 1.0]),
        (([2, 61, 61], [2, 1, 64]), vec![0.3, 0.8]),
    ] {
        let mixed = Mixed {
            z: &z,
            span: Some(&span),
        };
        let x = inputs(shape);
        let narrow = in_kind(&x, Kind::Float);
        let (naive, oracle) = (
            gated(&Reference, &narrow, &mixed),
            gated(&Reference, &x, &mixed),
        );
        let [naive_full, full] = [&narrow, &x].map(|x| dense(&Reference, x, Visibility::Causal));
        for arch in archs() {
            let fused = CpuFused { arch };
            let case = format!("{arch:?} {shape:?}");
            assert_rule(&gated(&fused, &narrow, &mixed), &naive, &oracle, &case);
            let found = dense(&fused, &narrow, Visibility::Causal);
            assert_rule(&found, &naive_full, &full, &case);
        }
    }
}

#[test]
fn streaming_attention_alone_equals_the_dense_mask() {
    for (sink, window, block) in [(0, 2, 1), (2, 5, 1), (4, 8, 4), (3, 40, 1), (16, 64, 16)] {
        let span = Span::new(sink, window, block).unwrap();
        for len in [7, 41, 190] {
            let x = inputs(([2, len, len], [2, 2, 4]));
            let narrow = in_kind(&x, Kind::Float);
            let attended = streaming::forward(&CpuFused::default(), of(&narrow), &span);
            let fused = CpuFused::default();
            let grads = streaming::backward(&fused, &narrow[3], of(&narrow), &attended, &span);
            let mask = streaming::dense_mask(&span, usize::try_from(len).unwrap());
            let [naive, oracle] =
                [&narrow, &x].map(|x| dense(&Reference, x, Visibility::Masked(&mask)));
            let case = format!("{span:?} T = {len}");
            assert_rule(&answers(attended, grads), &naive, &oracle, &case);
        }
    }
}

/// A row of documents: outputs and gradients.
fn packed(backend: &dyn Backend, x: &[Tensor; 4], lens: &[usize], mixed: &Mixed) -> Answers {
    let rows = x.each_ref().map(|x| x.squeeze_dim(0));
    let attention = GatedAttention {
        backend,
        span: mixed.span,
    };
    let documents = Documents::new(lens);
    let (out, branches) = documents.forward(&attention, of(&rows), mixed.z);
    let wanted = Wanted::GatesAndInputs;
    let gates = (mixed.z, &branches);
    let grads = documents.backward(&attention, &rows[3], of(&rows), gates, wanted);
    gate_answers(out, &grads.dz, grads.inputs.unwrap())
}

#[test]
fn documents_of_one_row_equal_the_reference() {
    let span = Span::new(1, 3, 1).unwrap();
    let mixed = Mixed {
        z: &[0.25, 1.0, 0.0, 0.7],
        span: Some(&span),
    };
    let lens = [4, 4, 90, 1, 4, 33];
    let x = inputs(([1, 136, 136], [4, 2, 8]));
    let narrow = in_kind(&x, Kind::Float);
    let found = packed(&CpuFused::default(), &narrow, &lens, &mixed);
    let naive = packed(&Reference, &narrow, &lens, &mixed);
    let oracle = packed(&Reference, &x, &lens, &mixed);
    assert_rule(&found, &naive, &oracle, "documents");
}
