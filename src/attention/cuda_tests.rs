//! The CUDA backends against the oracles, through stand-ins for libtorch's functions on the CPU.

use super::cudnn::Cudnn;
use super::flash::Flash;
use super::gated::{GatedAttention, Wanted};
use super::reference::{Reference, causal_mask};
use super::testing::{CPU, assert_close, assert_no_worse, normal};
use super::{Attended, Backend, InputGrads, Qkv, StreamingForm, Visibility, streaming};
use crate::span::Span;
use crate::torch::stand_in::{Asked, symbols, take_asked};
use tch::{Kind, Tensor};

/// q, k, v in f64 for `[B, T, K * G, D]` queries and `[B, S, K, D]` keys.
fn inputs((b, t, s): (i64, i64, i64), (kv, group, d): (i64, i64, i64)) -> [Tensor; 3] {
    [
        normal(1, &[b, t, kv * group, d]),
        normal(2, &[b, s, kv, d]),
        normal(3, &[b, s, kv, d]),
    ]
}

fn of(x: &[Tensor; 3]) -> Qkv<'_> {
    let [q, k, v] = x;
    Qkv { q, k, v }
}

fn backends() -> [Box<dyn Backend>; 2] {
    [
        Box::new(Flash::new(symbols())),
        Box::new(Cudnn::new(symbols())),
    ]
}

#[track_caller]
fn assert_grads_close(found: &InputGrads, oracle: &InputGrads, what: &str) {
    assert_close(&found.dq, &oracle.dq, &format!("{what}: dq"));
    assert_close(&found.dk, &oracle.dk, &format!("{what}: dk"));
    assert_close(&found.dv, &oracle.dv, &format!("{what}: dv"));
}

/// Both ways under every visibility against the reference.
fn check(backend: &dyn Backend, x: &[Tensor; 3], visibility: Visibility) {
    let what = format!("{} {visibility:?} q {:?}", backend.name(), x[0].size());
    let dout = normal(4, &x[0].size());
    let oracle = Reference.forward(of(x), visibility);
    let found = backend.forward(of(x), visibility);
    assert_close(&found.out, &oracle.out, &what);
    assert_close(&found.lse, &oracle.lse, &what);
    assert_eq!(found.lse.kind(), oracle.lse.kind(), "{what}");
    let oracle = Reference.backward(&dout, of(x), &oracle, visibility);
    let found = backend.backward(&dout, of(x), &found, visibility);
    assert_grads_close(&found, &oracle, &what);
}

#[test]
fn every_visibility_equals_the_reference_at_every_kind_of_length() {
    for backend in backends() {
        for (b, t, s, kv, group, d) in [
            (1, 1, 1, 1, 1, 8),
            (2, 1, 40, 3, 4, 8),
            (2, 113, 113, 2, 2, 8),
            (1, 128, 128, 1, 2, 16),
            (1, 192, 192, 1, 1, 8),
            (2, 5, 128, 2, 2, 8),
            (1, 130, 256, 2, 1, 8),
            (2, 5, 40, 1, 4, 8),
            // Widths that the kernel does not read as they stand.
            (2, 7, 7, 2, 2, 4),
            (1, 129, 129, 1, 1, 6),
        ] {
            let x = inputs((b, t, s), (kv, group, d));
            let mask = causal_mask(t, s, CPU);
            for visibility in [
                Visibility::All,
                Visibility::Causal,
                Visibility::Window(1),
                Visibility::Window(3),
                Visibility::Window(1000),
                Visibility::Masked(&mask),
            ] {
                check(&*backend, &x, visibility);
            }
        }
    }
}

#[test]
fn every_number_of_kv_heads_of_a_gated_layer_is_computed() {
    for backend in backends() {
        for kv in 1..=8 {
            let x = inputs((1, 130, 130), (kv, 4, 8));
            check(&*backend, &x, Visibility::Causal);
        }
    }
}

#[test]
fn views_of_larger_tensors_are_computed_as_they_stand() {
    let wide = inputs((2, 150, 150), (2, 2, 24));
    let part = wide
        .each_ref()
        .map(|x| x.narrow(1, 11, 130).narrow(3, 8, 8));
    let strided = wide.each_ref().map(|x| {
        let x = x.narrow(1, 11, 130).narrow(3, 8, 8);
        x.transpose(2, 3).contiguous().transpose(2, 3)
    });
    for backend in backends() {
        for x in [&part, &strided] {
            check(&*backend, x, Visibility::Causal);
            check(&*backend, x, Visibility::Window(9));
        }
    }
}

fn asked(function: &'static str, lens: [i64; 3], is_causal: bool) -> Asked {
    Asked {
        function,
        lens,
        is_causal,
        left: None,
    }
}

#[test]
fn cudnn_gets_what_it_computes_rightly_and_flash_the_rest() {
    let backend = Cudnn::new(symbols());
    let calls = |(t, s): (i64, i64), visibility| {
        let x = inputs((1, t, s), (1, 1, 8));
        take_asked();
        let attended = backend.forward(of(&x), visibility);
        let _ = backend.backward(&x[0], of(&x), &attended, visibility);
        let asked = take_asked().into_iter();
        asked
            .map(|asked| (asked.function, asked.lens))
            .collect::<Vec<_>>()
    };
    let cudnn = |t: i64, s: i64| vec![("cudnn forward", [1, t, s]), ("cudnn backward", [1, t, s])];
    let flash = |t: i64, s: i64| vec![("flash forward", [1, t, s]), ("flash backward", [1, t, s])];
    // Square causal problems and problems without a mask, padded to whole pieces.
    assert_eq!(calls((128, 128), Visibility::Causal), cudnn(128, 128));
    assert_eq!(calls((113, 113), Visibility::Causal), cudnn(128, 128));
    assert_eq!(calls((192, 192), Visibility::Causal), cudnn(256, 256));
    assert_eq!(calls((5, 256), Visibility::All), cudnn(128, 256));
    // One query; keys that padding would make visible; causal and not square; windows.
    assert_eq!(calls((1, 1), Visibility::Causal), flash(1, 1));
    assert_eq!(calls((1, 128), Visibility::All), flash(1, 128));
    assert_eq!(calls((128, 200), Visibility::All), flash(128, 200));
    assert_eq!(calls((128, 256), Visibility::Causal), flash(128, 256));
    assert_eq!(calls((128, 128), Visibility::Window(7)), flash(128, 128));
    // Heads wider than cuDNN's.
    let x = inputs((1, 128, 128), (1, 1, 136));
    take_asked();
    let _ = backend.forward(of(&x), Visibility::Causal);
    assert_eq!(take_asked(), [asked("flash forward", [1, 128, 128], true)]);
}

#[test]
fn rows_of_very_negative_lse_stay_finite_and_right_under_padding() {
    let [q, k, v] = inputs((1, 192, 192), (1, 2, 8));
    // Scores near -1000: an lse far below the -88.7 at which exp underflows.
    let x = [q.abs() * 40.0, k.abs() * -20.0 - 10.0, v];
    let lse = Reference.forward(of(&x), Visibility::Causal).lse;
    assert!(lse.max().double_value(&[]) < -88.7);
    for backend in backends() {
        check(&*backend, &x, Visibility::Causal);
        let low = x.each_ref().map(|x| x.to_kind(Kind::BFloat16));
        let attended = backend.forward(of(&low), Visibility::Causal);
        let dout = normal(4, &low[0].size()).to_kind(Kind::BFloat16);
        let grads = backend.backward(&dout, of(&low), &attended, Visibility::Causal);
        for grad in [&grads.dk, &grads.dv] {
            assert!(grad.isfinite().all().int64_value(&[]) == 1);
        }
    }
}

#[test]
fn half_precision_results_come_in_the_queries_dtype_with_a_wide_lse() {
    for backend in backends() {
        for kind in [Kind::BFloat16, Kind::Half] {
            let exact = inputs((1, 113, 113), (2, 2, 16));
            let low = exact.each_ref().map(|x| x.to_kind(kind));
            let rounded = low.each_ref().map(|x| x.to_kind(Kind::Double));
            let dout = normal(4, &exact[0].size()).to_kind(kind);
            let attended = backend.forward(of(&low), Visibility::Causal);
            assert_eq!(
                (attended.out.kind(), attended.lse.kind()),
                (kind, Kind::Float)
            );
            let grads = backend.backward(&dout, of(&low), &attended, Visibility::Causal);
            assert!(
                [&grads.dq, &grads.dk, &grads.dv]
                    .iter()
                    .all(|x| x.kind() == kind)
            );
            // The naive composition keeps everything in f32 between the same roundings.
            let naive = Reference.forward(of(&low), Visibility::Causal);
            let naive_grads = Reference.backward(&dout, of(&low), &naive, Visibility::Causal);
            let oracle = Reference.forward(of(&rounded), Visibility::Causal);
            let exact_dout = dout.to_kind(Kind::Double);
            let oracle_grads =
                Reference.backward(&exact_dout, of(&rounded), &oracle, Visibility::Causal);
            for (what, found, naive, oracle) in [
                ("out", &attended.out, &naive.out, &oracle.out),
                ("dq", &grads.dq, &naive_grads.dq, &oracle_grads.dq),
                ("dk", &grads.dk, &naive_grads.dk, &oracle_grads.dk),
                ("dv", &grads.dv, &naive_grads.dv, &oracle_grads.dv),
            ] {
                assert_no_worse(found, naive, oracle, &format!("{kind:?} {what}"));
            }
        }
    }
}

/// Streaming both ways against one dense mask.
fn check_streaming(backend: &dyn Backend, span: &Span, len: usize) {
    let t = i64::try_from(len).unwrap();
    let x = inputs((2, t, t), (2, 2, 8));
    let mask = streaming::dense_mask(span, len);
    let what = format!("{} {span:?} T = {t}", backend.name());
    let dout = normal(4, &x[0].size());
    let oracle = Reference.forward(of(&x), Visibility::Masked(&mask));
    let found = streaming::forward(backend, of(&x), span);
    assert_close(&found.out, &oracle.out, &what);
    assert_close(&found.lse, &oracle.lse, &what);
    let oracle = Reference.backward(&dout, of(&x), &oracle, Visibility::Masked(&mask));
    let found = streaming::backward(backend, &dout, of(&x), &found, span);
    assert_grads_close(&found, &oracle, &what);
}

/// The reference in the form of streaming attention that has no masks.
struct Maskless;

impl Backend for Maskless {
    fn name(&self) -> &'static str {
        "maskless reference"
    }
    fn streaming_form(&self) -> StreamingForm {
        StreamingForm::Causal
    }
    fn forward(&self, qkv: Qkv, visibility: Visibility) -> Attended {
        assert!(!matches!(visibility, Visibility::Masked(_)));
        Reference.forward(qkv, visibility)
    }
    fn backward(
        &self,
        dout: &Tensor,
        qkv: Qkv,
        attended: &Attended,
        visibility: Visibility,
    ) -> InputGrads {
        assert!(!matches!(visibility, Visibility::Masked(_)));
        Reference.backward(dout, qkv, attended, visibility)
    }
}

#[test]
fn streaming_without_masks_equals_the_dense_mask_both_ways() {
    let spans = [
        (0, 1, 1),
        (1, 2, 1),
        (0, 5, 1),
        (2, 5, 1),
        (3, 40, 1),
        (4, 8, 4),
        (0, 8, 4),
        (4, 4, 4),
        (16, 64, 16),
    ];
    let [flash, cudnn] = backends();
    for (sink, window, block) in spans {
        let span = Span::new(sink, window, block).unwrap();
        let prefix = span.dense_prefix();
        for len in [1, prefix, prefix + 1, prefix + 31, prefix + 150] {
            for backend in [&Maskless as &dyn Backend, &*flash, &*cudnn] {
                check_streaming(backend, &span, len);
            }
        }
    }
}

#[test]
fn long_rows_are_gathered_in_segments() {
    // More tiles than one segment holds, the last of them partial; the tiled mask is the oracle.
    let span = Span::new(4, 8, 4).unwrap();
    let t = 2 * 8192 + 12 + 3;
    let x = inputs((1, t, t), (1, 2, 4));
    let dout = normal(4, &x[0].size());
    let oracle = streaming::forward(&Reference, of(&x), &span);
    let found = streaming::forward(&Maskless, of(&x), &span);
    assert_close(&found.out, &oracle.out, "out");
    assert_close(&found.lse, &oracle.lse, "lse");
    let oracle = streaming::backward(&Reference, &dout, of(&x), &oracle, &span);
    let found = streaming::backward(&Maskless, &dout, of(&x), &found, &span);
    assert_grads_close(&found, &oracle, "segments");
}

#[test]
fn the_causal_form_asks_for_blocks_or_for_a_window_and_the_sinks() {
    let flash = Flash::new(symbols());
    let asked_for = |(sink, window, block), len: i64| {
        let x = inputs((1, len, len), (1, 1, 8));
        take_asked();
        let _ = streaming::forward(&flash, of(&x), &Span::new(sink, window, block).unwrap());
        take_asked()
    };
    // 12 dense rows, then five blocks of 4 queries over a block of sinks and two of window.
    let found = asked_for((4, 8, 4), 31);
    let function = "flash forward";
    let expected = [
        asked(function, [1, 12, 12], true),
        asked(function, [5, 4, 12], true),
    ];
    assert_eq!(found, expected);
    // 7 dense rows, then 24 rows over the keys behind the sinks' end and one, and over the sinks.
    let window = Asked {
        left: Some(4),
        ..asked(function, [1, 24, 28], true)
    };
    let expected = [
        asked(function, [1, 7, 7], true),
        window,
        asked(function, [1, 24, 2], false),
    ];
    assert_eq!(asked_for((2, 5, 1), 31), expected);
}

#[test]
fn the_gated_mix_equals_the_references_with_every_number_of_open_heads() {
    for span in [(2, 5, 1), (4, 8, 4)] {
        let span = Span::new(span.0, span.1, span.2).unwrap();
        for z in [
            [0.0, 0.0, 0.0],
            [1.0, 1.0, 1.0],
            [0.3, 0.9, 0.5],
            [0.0, 0.4, 1.0],
            [1.0, 0.0, 1.0],
        ] {
            let x = inputs((2, 29, 29), (3, 2, 8));
            let dout = normal(4, &x[0].size());
            let run = |backend: &dyn Backend| {
                let attention = GatedAttention {
                    backend,
                    span: Some(&span),
                };
                let (out, branches) = attention.forward(of(&x), &z);
                let wanted = Wanted::GatesAndInputs;
                (
                    out,
                    attention.backward(&dout, of(&x), &z, &branches, wanted),
                )
            };
            let (oracle, oracle_grads) = run(&Reference);
            for backend in backends() {
                let (found, grads) = run(&*backend);
                assert_close(&found, &oracle, backend.name());
                assert_grads_close(
                    &grads.inputs.unwrap(),
                    oracle_grads.inputs.as_ref().unwrap(),
                    backend.name(),
                );
                for (found, oracle) in grads.dz.iter().zip(&oracle_grads.dz) {
                    assert!((found - oracle).abs() <= 1e-10 * oracle.abs().max(1.0));
                }
            }
        }
    }
}

#[test]
fn a_branch_without_heads_launches_nothing() {
    let span = Span::new(2, 5, 1).unwrap();
    let flash = Flash::new(symbols());
    let attention = GatedAttention {
        backend: &flash,
        span: Some(&span),
    };
    let x = inputs((1, 20, 20), (2, 2, 8));
    take_asked();
    let _ = attention.forward(of(&x), &[1.0, 1.0]);
    assert_eq!(take_asked(), [asked("flash forward", [1, 20, 20], true)]);
    let _ = attention.forward(of(&x), &[0.0, 0.0]);
    assert!(take_asked().iter().all(|asked| asked.lens != [1, 20, 20]));
}

#[test]
fn a_cached_past_and_a_chunk_merge_to_one_call() {
    let x = inputs((1, 130, 386), (2, 2, 8));
    for backend in backends() {
        let whole = Reference.forward(of(&x), Visibility::Causal);
        let part = |from: i64, len: i64, visibility| {
            let (k, v) = (x[1].narrow(1, from, len), x[2].narrow(1, from, len));
            let (q, k, v) = (&x[0], &k, &v);
            backend.forward(Qkv { q, k, v }, visibility)
        };
        let merged = super::merge::merge(
            &part(0, 256, Visibility::All),
            &part(256, 130, Visibility::Causal),
        );
        assert_close(&merged.out, &whole.out, backend.name());
        assert_close(&merged.lse, &whole.lse, backend.name());
    }
}
