//! RMSNorm over a row's piece, forward behind a residual sum and backward before one, and the weight's gradient.

use super::{BF16, Bench, F32, F64, HIDDEN, Size, TOKENS, Work, bf16};
use prulong::cuda::active::done;
use prulong::cuda::rms_norm::{self, Norm, WeightGrad};
use prulong::model::norm;
use std::rc::Rc;
use tch::{Device, Kind, Tensor};

const EPS: f64 = 1e-5;
/// Rows of a strip: the launcher's.
const STRIP_LEN: i64 = 128;
const STRIP_ROWS: u64 = STRIP_LEN.unsigned_abs();

pub(super) const BENCHES: &[Bench] = &[
    Bench {
        kernel: "rms_norm_forward",
        full: [TOKENS, HIDDEN],
        quick: [6, 1024],
        // Row, update, weight; sum, normalised row.
        bytes: |[rows, width]| (4 * rows * width + width) * BF16,
        prepare: forward,
    },
    Bench {
        kernel: "rms_norm_backward",
        full: [TOKENS, HIDDEN],
        quick: [6, 1024],
        // Gradient, row, residual, weight; the row's gradient.
        bytes: |[rows, width]| (4 * rows * width + width) * BF16,
        prepare: backward,
    },
    Bench {
        kernel: "rms_norm_weight_parts",
        full: [TOKENS, HIDDEN],
        quick: [2 * STRIP_LEN, 1024],
        // Gradient, row, 1 / rms; a sum for every strip of rows.
        bytes: |[rows, width]| {
            2 * rows * width * BF16 + rows * F32 + rows / STRIP_ROWS * width * F64
        },
        prepare: weight_parts,
    },
    Bench {
        kernel: "rms_norm_weight_sum",
        full: [TOKENS / STRIP_LEN, HIDDEN],
        quick: [2, 1024],
        // The strips' sums; the weight's gradient.
        bytes: |[strips, width]| strips * width * F64 + width * F32,
        prepare: weight_sum,
    },
];

/// Rows, their gradients, and a weight.
struct Operands {
    x: Tensor,
    /// What is added before, or the gradient that is.
    other: Tensor,
    dy: Tensor,
    weight: Tensor,
}

impl Operands {
    fn new(size: Size, device: Device) -> Rc<Self> {
        let [_, width] = size;
        let [x, other, dy] = [1, 2, 3].map(|seed| bf16(seed, &size, device));
        let weight = bf16(4, &[width], device);
        Rc::new(Self {
            x,
            other,
            dy,
            weight,
        })
    }

    fn norm(&self) -> Norm<'_> {
        Norm {
            x: &self.x,
            weight: &self.weight,
            eps: EPS,
        }
    }
}

fn forward(size: Size, device: Device) -> Work {
    let a = Operands::new(size, device);
    let b = Rc::clone(&a);
    Work {
        launch: Box::new(move |kernels| {
            let _ = done(rms_norm::forward_after(kernels, a.norm(), &a.other));
        }),
        operators: Box::new(move || {
            let _ = norm::forward_after(&b.x, &b.other, &b.weight, EPS);
        }),
    }
}

fn backward(size: Size, device: Device) -> Work {
    let a = Operands::new(size, device);
    let b = Rc::clone(&a);
    Work {
        launch: Box::new(move |kernels| {
            let (residual, wanted) = (Some(&a.other), WeightGrad::Unwanted);
            let _ = done(rms_norm::backward(
                kernels,
                a.norm(),
                &a.dy,
                residual,
                wanted,
            ));
        }),
        operators: Box::new(move || {
            let _ = norm::backward(&b.dy, (&b.x, &b.weight), EPS, Some(&b.other), None);
        }),
    }
}

/// The launcher of both kernels of the weight's gradient on rows of `size`, and a twin of one of them.
fn of_weight(size: Size, device: Device, operators: Box<dyn FnMut()>) -> Work {
    let a = Operands::new(size, device);
    Work {
        launch: Box::new(move |kernels| {
            let wanted = WeightGrad::Wanted;
            let _ = done(rms_norm::backward(kernels, a.norm(), &a.dy, None, wanted));
        }),
        operators,
    }
}

fn weight_parts(size: Size, device: Device) -> Work {
    let [rows, width] = size;
    let [x, dy] = [1, 2].map(|seed| bf16(seed, &size, device));
    let inverse_rms = Tensor::ones([rows, 1], (Kind::Float, device));
    let operators = move || {
        let products = dy.to_kind(Kind::Float) * &x * &inverse_rms;
        let strips = products.view([rows / STRIP_LEN, STRIP_LEN, width]);
        let _ = strips.sum_dim_intlist([1].as_slice(), false, Kind::Double);
    };
    of_weight(size, device, Box::new(operators))
}

fn weight_sum([strips, width]: Size, device: Device) -> Work {
    let parts = Tensor::ones([strips, width], (Kind::Double, device));
    let operators = move || {
        let sum = parts.sum_dim_intlist([0].as_slice(), false, None);
        let _ = sum.to_kind(Kind::Float);
    };
    of_weight([strips * STRIP_LEN, width], device, Box::new(operators))
}
