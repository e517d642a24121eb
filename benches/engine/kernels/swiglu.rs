//! The feed-forward's activation on one chunk of tokens, and its gradients.

use super::{BF16, Bench, Size, Work, bf16};
use prulong::cuda::active::done;
use prulong::cuda::swiglu as launcher;
use prulong::model::swiglu;
use std::rc::Rc;
use tch::Device;

/// Tokens that pass the feed-forward at one time, and numbers inside of it.
const CHUNK: Size = [4096, 14336];
const QUICK: Size = [6, 1024];

pub(super) const BENCHES: &[Bench] = &[
    Bench {
        kernel: "swiglu_forward",
        full: CHUNK,
        quick: QUICK,
        // Gate, up; the product.
        bytes: |[rows, width]| 3 * rows * width * BF16,
        prepare: forward,
    },
    Bench {
        kernel: "swiglu_backward",
        full: CHUNK,
        quick: QUICK,
        // The product's gradient, gate, up; gradients of gate and up.
        bytes: |[rows, width]| 5 * rows * width * BF16,
        prepare: backward,
    },
];

fn forward(size: Size, device: Device) -> Work {
    let operands = Rc::new([1, 2].map(|seed| bf16(seed, &size, device)));
    let twins = Rc::clone(&operands);
    Work {
        launch: Box::new(move |kernels| {
            let [gate, up] = &*operands;
            let _ = done(launcher::forward(kernels, gate, up));
        }),
        operators: Box::new(move || {
            let [gate, up] = &*twins;
            let _ = swiglu::forward(gate, up);
        }),
    }
}

fn backward(size: Size, device: Device) -> Work {
    let operands = Rc::new([1, 2, 3].map(|seed| bf16(seed, &size, device)));
    let twins = Rc::clone(&operands);
    Work {
        launch: Box::new(move |kernels| {
            let [gate, up, dy] = &*operands;
            let wanted = launcher::Product::Unwanted;
            let _ = done(launcher::backward(kernels, dy, gate, up, wanted));
        }),
        operators: Box::new(move || {
            let [gate, up, dy] = &*twins;
            let _ = swiglu::backward(dy, gate, up, swiglu::Product::Unwanted);
        }),
    }
}
