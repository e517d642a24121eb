//! One new token of 32 heads over a streaming cache: 128 sinks and a window of 1,024.

use super::{BF16, Bench, F32, HEAD_DIM, HIDDEN, NUM_KV_HEADS, Size, Work, bf16};
use prulong::cuda::active::done;
use prulong::cuda::streaming_decode;
use std::rc::Rc;
use tch::{Device, Kind, Tensor};

/// Query heads.
const NUM_HEADS: i64 = HIDDEN / HEAD_DIM;
/// Numbers of a cached row.
const ROW: i64 = NUM_KV_HEADS * HEAD_DIM;
/// Rows of a split: the launcher's.
const SPLIT: i64 = 128;
/// Splits of a whole cache.
const NUM_SPLITS: i64 = (128 + 1024) / SPLIT;
const HEADS: u64 = NUM_HEADS.unsigned_abs();
const HEAD: u64 = HEAD_DIM.unsigned_abs();
const SPLIT_ROWS: u64 = SPLIT.unsigned_abs();

pub(super) const BENCHES: &[Bench] = &[
    Bench {
        kernel: "streaming_decode_parts",
        full: [NUM_SPLITS * SPLIT, ROW],
        quick: [2 * SPLIT, ROW],
        // Keys, values, queries; for every split an output, its largest score and its sum.
        bytes: |[rows, width]| {
            (2 * rows * width + HEADS * HEAD) * BF16 + rows / SPLIT_ROWS * HEADS * (HEAD + 2) * F32
        },
        prepare: parts,
    },
    Bench {
        kernel: "streaming_decode_combine",
        full: [NUM_SPLITS, HIDDEN],
        quick: [2, HIDDEN],
        // For every split an output, its largest score and its sum; the output and its lse.
        bytes: |[splits, width]| splits * (width + 2 * HEADS) * F32 + width * BF16 + HEADS * F32,
        prepare: combine,
    },
];

/// Queries, keys and values.
struct Operands {
    q: Tensor,
    k: Tensor,
    v: Tensor,
}

impl Operands {
    fn new(num_rows: i64, device: Device) -> Rc<Self> {
        let [k, v] = [1, 2].map(|seed| bf16(seed, &[num_rows, NUM_KV_HEADS, HEAD_DIM], device));
        let q = bf16(3, &[NUM_HEADS, HEAD_DIM], device);
        Rc::new(Self { q, k, v })
    }
}

/// The launcher of both kernels, and a twin of one of them.
fn of_attend(a: Rc<Operands>, operators: Box<dyn FnMut()>) -> Work {
    Work {
        launch: Box::new(move |kernels| {
            let _ = done(streaming_decode::attend(kernels, &a.q, &a.k, &a.v));
        }),
        operators,
    }
}

fn parts([num_rows, _]: Size, device: Device) -> Work {
    let a = Operands::new(num_rows, device);
    let b = Rc::clone(&a);
    of_attend(a, Box::new(move || drop(split_outputs(&b))))
}

/// Every split's output, not normalised, its largest scores and its sums of exponentials; products in bf16.
fn split_outputs(of: &Operands) -> [Tensor; 3] {
    let q = of.q.view([1, NUM_KV_HEADS, -1, HEAD_DIM]);
    let by_split = |rows: &Tensor| {
        rows.view([-1, SPLIT, NUM_KV_HEADS, HEAD_DIM])
            .transpose(1, 2)
    };
    let scale = f64::from(i32::try_from(HEAD_DIM).unwrap_or(1))
        .sqrt()
        .recip();
    let scores = q.matmul(&by_split(&of.k).transpose(-2, -1));
    let scores = scores.to_kind(Kind::Float) * scale;
    let largest = scores.amax([-1].as_slice(), true);
    let p = (scores - &largest).exp_();
    let sums = p.sum_dim_intlist([-1].as_slice(), true, None);
    let outputs = p.to_kind(Kind::BFloat16).matmul(&by_split(&of.v));
    [outputs.to_kind(Kind::Float), largest, sums]
}

fn combine([num_splits, width]: Size, device: Device) -> Work {
    let a = Operands::new(num_splits * SPLIT, device);
    let [outputs, largest, sums] = split_outputs(&a).map(|of| of.view([num_splits, NUM_HEADS, -1]));
    let operators = move || {
        let total = largest.amax([0].as_slice(), true);
        let weights = (&largest - &total).exp_();
        let sum = (&weights * &sums).sum_dim_intlist([0].as_slice(), true, None);
        let out = (&outputs * &weights).sum_dim_intlist([0].as_slice(), true, None) / &sum;
        let _ = (out.to_kind(Kind::BFloat16).view([width]), total + sum.log());
    };
    of_attend(a, Box::new(operators))
}
