//! The gated mix of a layer whose gates all lie between 0 and 1, so that every head has both branches, and its gradients.

use super::{BF16, Bench, F64, HEAD_DIM, HIDDEN, NUM_KV_HEADS, Size, TOKENS, Work, bf16};
use prulong::cuda::active::done;
use prulong::cuda::gate_mix::{self, BranchGrads, Branches};
use std::rc::Rc;
use tch::{Device, Kind, Tensor};

/// Rows of a strip: the launcher's.
const STRIP_LEN: i64 = 64;
const STRIP_ROWS: u64 = STRIP_LEN.unsigned_abs();
const KV_HEADS: u64 = NUM_KV_HEADS.unsigned_abs();
/// Gates of the kv heads.
const GATES: [f64; 8] = [0.125, 0.25, 0.375, 0.5, 0.5, 0.625, 0.75, 0.875];

pub(super) const BENCHES: &[Bench] = &[
    Bench {
        kernel: "gate_mix",
        full: [TOKENS, HIDDEN],
        quick: [6, 1024],
        // Both branches; the mix.
        bytes: |[rows, width]| 3 * rows * width * BF16,
        prepare: mix,
    },
    Bench {
        kernel: "gate_backward",
        full: [TOKENS, HIDDEN],
        quick: [2 * STRIP_LEN, 1024],
        // The mix's gradient, both branches; the branches' gradients, and a sum for every strip of rows and kv head.
        bytes: |[rows, width]| 5 * rows * width * BF16 + rows / STRIP_ROWS * KV_HEADS * F64,
        prepare: backward,
    },
    Bench {
        kernel: "gate_grad_sum",
        full: [TOKENS / STRIP_LEN, NUM_KV_HEADS],
        quick: [2, NUM_KV_HEADS],
        // The strips' sums; the gates' gradients.
        bytes: |[strips, num_kv_heads]| (strips + 1) * num_kv_heads * F64,
        prepare: grad_sum,
    },
];

/// Outputs of both branches, and the mix's gradient.
struct Operands {
    full: Tensor,
    streaming: Tensor,
    dout: Tensor,
    /// A gate for every head.
    z: Tensor,
    /// 1 less that.
    rest: Tensor,
}

impl Operands {
    fn new([rows, width]: Size, device: Device) -> Rc<Self> {
        let num_heads = width / HEAD_DIM;
        let shape = [1, rows, num_heads, HEAD_DIM];
        let [full, streaming, dout] = [1, 2, 3].map(|seed| bf16(seed, &shape, device));
        let z = Tensor::from_slice(&GATES).to_device(device).view([-1, 1]);
        let z = z.expand([NUM_KV_HEADS, num_heads / NUM_KV_HEADS], false);
        let z = z.reshape([num_heads, 1]);
        let of_heads = |z: &Tensor| z.to_kind(Kind::BFloat16);
        Rc::new(Self {
            full,
            streaming,
            dout,
            rest: of_heads(&(1.0 - &z)),
            z: of_heads(&z),
        })
    }

    fn branches(&self) -> Branches<'_> {
        Branches {
            full: Some(&self.full),
            streaming: Some(&self.streaming),
        }
    }
}

fn mix(size: Size, device: Device) -> Work {
    let a = Operands::new(size, device);
    let b = Rc::clone(&a);
    Work {
        launch: Box::new(move |kernels| {
            let _ = done(gate_mix::mix(kernels, a.branches(), &GATES, &a.dout));
        }),
        operators: Box::new(move || {
            let _ = &b.full * &b.z + &b.streaming * &b.rest;
        }),
    }
}

/// The launcher of both backward kernels on rows of `size`, and a twin of one of them.
fn of_backward(a: Rc<Operands>, operators: Box<dyn FnMut()>) -> Work {
    Work {
        launch: Box::new(move |kernels| {
            let wanted = BranchGrads::Wanted;
            let grads = gate_mix::backward(kernels, &a.dout, a.branches(), &GATES, wanted);
            let _ = done(grads);
        }),
        operators,
    }
}

fn backward(size: Size, device: Device) -> Work {
    let [rows, _] = size;
    let a = Operands::new(size, device);
    let b = Rc::clone(&a);
    let operators = move || {
        let _grads = (&b.dout * &b.z, &b.dout * &b.rest);
        let products = b.dout.to_kind(Kind::Float) * (&b.full - &b.streaming);
        let strips = products.view([rows / STRIP_LEN, STRIP_LEN, NUM_KV_HEADS, -1]);
        let _ = strips.sum_dim_intlist([1, 3].as_slice(), false, Kind::Double);
    };
    of_backward(a, Box::new(operators))
}

fn grad_sum([strips, num_kv_heads]: Size, device: Device) -> Work {
    let parts = Tensor::ones([strips, num_kv_heads], (Kind::Double, device));
    let operators = move || {
        let _ = parts.sum_dim_intlist([0].as_slice(), false, None);
    };
    let rows = [strips * STRIP_LEN, num_kv_heads * HEAD_DIM];
    of_backward(Operands::new(rows, device), Box::new(operators))
}
