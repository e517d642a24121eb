//! The calls against FlashAttention-2's, both through stand-ins for libtorch's functions.

use super::*;
use crate::torch::flash_attention;
use crate::torch::stand_in::{self, symbols, take_asked};
use crate::torch::testing::{assert_near, grown_kib, waves};

const SCALE: f64 = 0.25;

fn operands(x: &[Tensor; 3]) -> Operands<'_> {
    Operands {
        q: &x[0],
        k: &x[1],
        v: &x[2],
    }
}

fn problem(kind: Kind, (t, s): (i64, i64)) -> [Tensor; 3] {
    let shapes = [[2, t, 4, 8], [2, s, 2, 8], [2, s, 2, 8]];
    let mut seed = 0;
    shapes.map(|shape| {
        seed += 1;
        waves(seed, &shape).to_kind(kind)
    })
}

#[test]
fn square_causal_and_maskless_problems_equal_flash() {
    for (t, s, sight) in [(128, 128, Sight::Causal), (128, 256, Sight::All)] {
        let x = problem(Kind::Double, (t, s));
        let (out, lse) = forward(symbols(), operands(&x), sight, SCALE).unwrap();
        let oracle = flash_attention::forward(symbols(), operands(&x), sight, SCALE).unwrap();
        assert_near(&out, &oracle.0, 1e-12);
        assert_near(&lse, &oracle.1, 1e-12);
        assert!(lse.is_contiguous());
        let dout = waves(9, &x[0].size());
        let saved = Saved {
            out: &out,
            lse: &lse,
        };
        let grads = backward(symbols(), &dout, operands(&x), saved, sight, SCALE).unwrap();
        let oracle =
            flash_attention::backward(symbols(), &dout, operands(&x), saved, sight, SCALE).unwrap();
        for (found, oracle) in grads.iter().zip(&oracle) {
            assert_near(found, oracle, 1e-12);
        }
    }
}

#[test]
fn what_cudnn_computes_wrongly_is_refused_before_the_call() {
    let message = |lens, sight| {
        let x = problem(Kind::BFloat16, lens);
        let found = forward(symbols(), operands(&x), sight, SCALE);
        found.map_or_else(|error| error.to_string(), |_| "computed".to_owned())
    };
    take_asked();
    let cases = [
        (
            (1, 128),
            Sight::All,
            "`q` is of 1 tokens, expected of a multiple of 128 tokens",
        ),
        (
            (192, 192),
            Sight::Causal,
            "`q` is of 192 tokens, expected of a multiple of 128 tokens",
        ),
        (
            (128, 200),
            Sight::All,
            "`k` is of 200 tokens, expected of a multiple of 128 tokens",
        ),
        (
            (128, 256),
            Sight::Causal,
            "`k` is of 256 tokens, expected of as many tokens as q (128)",
        ),
        (
            (128, 128),
            Sight::Window(7),
            "`window` is 7 tokens long, expected absent",
        ),
    ];
    for (lens, sight, expected) in cases {
        let expected = format!("cannot compute cuDNN's attention: {expected}");
        assert_eq!(message(lens, sight), expected);
    }
    assert_eq!(take_asked(), []);
    assert_eq!(message((128, 128), Sight::Causal), "computed");
}

#[test]
fn heads_wider_than_cudnn_takes_are_refused() {
    let wide = Tensor::zeros([1, 128, 1, 136], (Kind::Half, tch::Device::Cpu));
    let operands = Operands {
        q: &wide,
        k: &wide,
        v: &wide,
    };
    let error = forward(symbols(), operands, Sight::All, SCALE).unwrap_err();
    assert!(error.to_string().contains("at most 128"), "{error}");
}

#[test]
fn a_missing_function_is_an_error_with_its_reason() {
    let x = problem(Kind::BFloat16, (128, 128));
    let error = forward(stand_in::without_cudnn(), operands(&x), Sight::All, SCALE).unwrap_err();
    assert_eq!(
        error.to_string(),
        "libtorch failed in cuDNN's attention: libtorch_cuda.so has no cuDNN"
    );
}

#[test]
fn ten_thousand_calls_leave_resident_memory_unchanged() {
    let x = [1, 2, 3].map(|seed| waves(seed, &[1, 128, 1, 8]));
    let grown = grown_kib(|| {
        let (out, lse) = forward(symbols(), operands(&x), Sight::All, SCALE).unwrap();
        let saved = Saved {
            out: &out,
            lse: &lse,
        };
        drop(backward(symbols(), &x[0], operands(&x), saved, Sight::All, SCALE).unwrap());
        take_asked();
    });
    // A leaked gradient is 8 KiB: 78 MiB in all.
    assert!(grown < 40 * 1024, "resident memory grew by {grown} KiB");
}
