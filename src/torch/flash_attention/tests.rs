//! The calls against attention written out, through stand-ins for libtorch's functions.

use super::*;
use crate::torch::stand_in::{Asked, symbols, take_asked};
use crate::torch::testing::{assert_near, grown_kib, waves};
use tch::Kind;

const SCALE: f64 = 0.25;

fn operands(x: &[Tensor; 3]) -> Operands<'_> {
    Operands {
        q: &x[0],
        k: &x[1],
        v: &x[2],
    }
}

fn problem(kind: Kind, (t, s): (i64, i64), (h, kv): (i64, i64)) -> [Tensor; 3] {
    let shapes = [[2, t, h, 8], [2, s, kv, 8], [2, s, kv, 8]];
    let mut seed = 0;
    shapes.map(|shape| {
        seed += 1;
        waves(seed, &shape).to_kind(kind)
    })
}

/// Autograd's output and gradients with a mask that is drawn key by key.
fn oracle(
    x: &[Tensor; 3],
    dout: &Tensor,
    sees: impl Fn(i64, i64) -> bool,
) -> (Tensor, Vec<Tensor>) {
    let leaves: Vec<Tensor> = x
        .iter()
        .map(|x| x.to_kind(Kind::Double).set_requires_grad(true))
        .collect();
    let ((_, t, h, _), (_, s, kv, _)) = (x[0].size4().unwrap(), x[1].size4().unwrap());
    let seen: Vec<bool> = (0..t)
        .flat_map(|i| (0..s).map(move |j| (i, j)))
        .map(|(i, j)| sees(i, j))
        .collect();
    let mask = Tensor::from_slice(&seen).view([t, s]);
    let heads: Vec<Tensor> = (0..h)
        .map(|head| {
            let j = head / (h / kv);
            let scores = leaves[0]
                .select(2, head)
                .matmul(&leaves[1].select(2, j).transpose(1, 2));
            let scores = (scores * SCALE).masked_fill(&mask.logical_not(), f64::NEG_INFINITY);
            scores
                .softmax(-1, Kind::Double)
                .matmul(&leaves[2].select(2, j))
        })
        .collect();
    let out = Tensor::stack(&heads, 2);
    let grads = Tensor::run_backward(&[(&out * dout).sum(Kind::Double)], &leaves, false, false);
    (out.detach(), grads)
}

#[test]
fn every_sight_equals_a_mask_drawn_key_by_key() {
    for (t, s, h, kv) in [(1, 1, 1, 1), (5, 5, 4, 2), (3, 9, 6, 2), (1, 7, 8, 2)] {
        let x = problem(Kind::Double, (t, s), (h, kv));
        let dout = waves(9, &x[0].size());
        for sight in [
            Sight::All,
            Sight::Causal,
            Sight::Window(1),
            Sight::Window(3),
        ] {
            let sees = |i: i64, j: i64| match sight {
                Sight::All => true,
                Sight::Causal => j <= i + s - t,
                Sight::Window(window) => j <= i + s - t && j > i + s - t - window,
            };
            let (oracle_out, oracle_grads) = oracle(&x, &dout, sees);
            let (out, lse) = forward(symbols(), operands(&x), sight, SCALE).unwrap();
            assert_near(&out, &oracle_out, 1e-12);
            let saved = Saved {
                out: &out,
                lse: &lse,
            };
            let grads = backward(symbols(), &dout, operands(&x), saved, sight, SCALE).unwrap();
            for (found, oracle) in grads.iter().zip(&oracle_grads) {
                assert_near(found, oracle, 1e-12);
            }
        }
    }
}

#[test]
fn the_kernel_is_told_lengths_and_the_keys_before_the_querys_own() {
    let x = problem(Kind::BFloat16, (4, 6), (4, 2));
    take_asked();
    let (out, lse) = forward(symbols(), operands(&x), Sight::Window(3), SCALE).unwrap();
    assert_eq!((out.kind(), lse.kind()), (Kind::BFloat16, Kind::Float));
    let expected = Asked {
        function: "flash forward",
        lens: [2, 4, 6],
        is_causal: true,
        left: Some(2),
    };
    assert_eq!(take_asked(), [expected]);
}

#[test]
fn operands_are_checked_before_anything_is_called() {
    let x = problem(Kind::Float, (4, 6), (4, 2));
    take_asked();
    let error = forward(symbols(), operands(&x), Sight::All, SCALE).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot compute FlashAttention-2: `q` is Float, expected bf16 or f16"
    );
    let x = problem(Kind::Half, (4, 6), (4, 2));
    let saved = Saved {
        out: &x[0],
        lse: &x[0],
    };
    let error = backward(symbols(), &x[0], operands(&x), saved, Sight::All, SCALE).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("cannot compute FlashAttention-2's backward: `lse` is"),
        "{error}"
    );
    assert_eq!(take_asked(), []);
}

#[test]
fn a_missing_function_is_an_error_with_its_reason() {
    let x = problem(Kind::BFloat16, (4, 6), (4, 2));
    if let Err(reason) = CudaSymbols::loaded().has_flash() {
        let error = forward(CudaSymbols::loaded(), operands(&x), Sight::All, SCALE).unwrap_err();
        assert!(error.to_string().ends_with(reason), "{error}");
    }
}

#[test]
fn ten_thousand_calls_leave_resident_memory_unchanged() {
    // 16 KiB of keys: a leaked gradient is 156 MiB in all, a leaked random state 312 MiB.
    let shapes = [[1, 1, 1, 128], [1, 16, 1, 128], [1, 16, 1, 128]];
    let x = shapes.map(|shape| waves(1, &shape));
    let grown = grown_kib(|| {
        let (out, lse) = forward(symbols(), operands(&x), Sight::All, SCALE).unwrap();
        let saved = Saved {
            out: &out,
            lse: &lse,
        };
        drop(backward(symbols(), &x[0], operands(&x), saved, Sight::All, SCALE).unwrap());
        take_asked();
    });
    assert!(grown < 64 * 1024, "resident memory grew by {grown} KiB");
}
