//! The rotation of a layer's queries.

use super::{BF16, Bench, F32, HEAD_DIM, HIDDEN, Size, TOKENS, Work, bf16, numbers};
use prulong::cuda::active::done;
use prulong::cuda::rope::{Direction, turn};
use prulong::model::rope;
use std::rc::Rc;
use tch::{Device, Kind};

pub(super) const BENCHES: &[Bench] = &[Bench {
    kernel: "rope",
    full: [TOKENS, HIDDEN],
    quick: [6, 1024],
    // Read and written; half a head's cosines and sines for every token.
    bytes: |[rows, width]| 2 * rows * width * BF16 + rows * HEAD_DIM.unsigned_abs() * F32,
    prepare,
}];

fn prepare([rows, width]: Size, device: Device) -> Work {
    let x = bf16(1, &[rows, width / HEAD_DIM, HEAD_DIM], device);
    let [cos, sin] = [2, 3].map(|seed| numbers(seed, &[rows, HEAD_DIM / 2], Kind::Float, device));
    let operands = Rc::new((x, cos, sin));
    let twins = Rc::clone(&operands);
    Work {
        launch: Box::new(move |kernels| {
            let (x, cos, sin) = &*operands;
            let _ = done(turn(kernels, x, (cos, sin), Direction::Forward));
        }),
        operators: Box::new(move || {
            let (x, cos, sin) = &*twins;
            let _ = rope::apply(x, cos, sin);
        }),
    }
}
