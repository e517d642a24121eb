//! Launchers refuse what kernels cannot check, and the folder's README names every file.

use super::cross_entropy::{self, Predicted};
use super::gate_mix::{self, BranchGrads, Branches};
use super::rms_norm::{self, Norm, WeightGrad};
use super::rope::{self, Direction};
use super::source::Family;
use super::swiglu::{self, Product};
use super::testing::emulated;
use super::{error::CudaError, streaming_decode};
use crate::fault::{Coded, Kind as FaultKind};
use tch::{Device, Kind, Tensor};

fn f32s(shape: &[i64]) -> Tensor {
    Tensor::zeros(shape, (Kind::Float, Device::Cpu))
}

#[track_caller]
fn assert_refused<T>(result: Result<T, CudaError>, text: &str) {
    let Err(error) = result else {
        panic!("not refused: {text}")
    };
    assert_eq!(error.to_string(), text);
    assert_eq!(error.kind(), FaultKind::Input);
}

#[test]
fn an_operand_that_does_not_fit_is_named_with_what_it_should_be() {
    let kernels = emulated();
    let (x, weight) = (&f32s(&[3, 8]), &f32s(&[8]));
    let norm = |x: &Tensor, weight: &Tensor| {
        let eps = 1e-5;
        rms_norm::forward(kernels, Norm { x, weight, eps })
    };
    assert_refused(
        norm(x, &f32s(&[7])),
        "cannot start the RMSNorm kernel: `weight` is of shape [7], expected of shape [8]",
    );
    assert_refused(
        norm(&f32s(&[8, 3]).tr(), weight),
        "cannot start the RMSNorm kernel: `x` is with strides [1, 3], expected contiguous",
    );
    assert_refused(
        norm(x, &weight.to_kind(Kind::BFloat16)),
        "cannot start the RMSNorm kernel: `weight` is BFloat16, expected Float",
    );
    assert_refused(
        norm(&x.to_kind(Kind::Double), weight),
        "cannot start the RMSNorm kernel: `x` is Double, expected f32 or bf16",
    );
    let angles = (&f32s(&[3, 4]), &f32s(&[3, 3]));
    assert_refused(
        rope::turn(kernels, &f32s(&[3, 2, 8]), angles, Direction::Forward),
        "cannot start the rope kernel: `sin` is of shape [3, 3], expected of shape [3, 4]",
    );
    assert_refused(
        rope::turn(kernels, &f32s(&[3, 2, 7]), angles, Direction::Forward),
        "cannot start the rope kernel: `x` is of shape [3, 2, 7], expected of even head_dim",
    );
    assert_refused(
        swiglu::forward(kernels, x, weight),
        "cannot start the SwiGLU kernel: `up` is of shape [8], expected of shape [3, 8]",
    );
    assert_refused(
        cross_entropy::losses(kernels, x, &f32s(&[3])),
        "cannot start the cross-entropy kernel: `tokens` is Float, expected Int64",
    );
}

#[test]
fn gates_and_branches_must_belong_together() {
    let kernels = emulated();
    let out = f32s(&[1, 2, 4, 8]);
    let one = f32s(&[1, 2, 2, 8]);
    let branches = |full, streaming| Branches { full, streaming };
    assert_refused(
        gate_mix::mix(kernels, branches(Some(&out), Some(&one)), &[0.5, 0.5], &out),
        "cannot start the gate mix kernel: `streaming` is of shape [1, 2, 2, 8], expected of shape [1, 2, 4, 8]",
    );
    assert_refused(
        gate_mix::mix(kernels, branches(None, Some(&one)), &[1.0, 0.0], &out),
        "cannot start the gate mix kernel: `full` is absent, expected of 1 kv head(s)",
    );
    assert_refused(
        gate_mix::mix(kernels, branches(None, None), &[0.5; 3], &out),
        "cannot start the gate mix kernel: `out` is of shape [1, 2, 4, 8], expected of a multiple of 3 heads",
    );
    let many = f32s(&[1, 1, 129, 1]);
    let both = branches(Some(&many), Some(&many));
    assert_refused(
        gate_mix::backward(kernels, &many, both, &[0.5; 129], BranchGrads::Wanted),
        "cannot start the gate backward kernel: the number of kv heads is 129, the kernel takes at most 128",
    );
}

#[test]
fn cached_rows_must_hold_whole_heads() {
    let kernels = emulated();
    let rows = f32s(&[5, 2, 8]);
    assert_refused(
        streaming_decode::attend(kernels, &f32s(&[3, 8]), &rows, &rows),
        "cannot start the streaming decode kernel: `k` is of shape [5, 2, 8], expected of rows, and of heads that divide 3",
    );
    assert_refused(
        streaming_decode::attend(
            kernels,
            &f32s(&[2, 8]),
            &rows,
            &f32s(&[8, 2, 5]).transpose(0, 2),
        ),
        "cannot start the streaming decode kernel: `v` is with strides [1, 5, 10], expected of whole heads",
    );
    let wide = f32s(&[1, 1, 5000]);
    assert_refused(
        streaming_decode::attend(kernels, &f32s(&[1, 5000]), &wide, &wide),
        "cannot start the streaming decode kernel: head_dim is 5000, the kernel takes at most 4096",
    );
}

#[test]
fn nothing_is_launched_for_nothing() {
    let kernels = emulated();
    let (x, weight) = (&f32s(&[0, 8]), &f32s(&[8]));
    let norm = Norm {
        x,
        weight,
        eps: 1e-5,
    };
    let wanted = WeightGrad::Wanted;
    let (dx, dweight) = rms_norm::backward(kernels, norm, x, None, wanted).unwrap();
    assert_eq!(dx.size(), [0, 8]);
    assert!(dweight.unwrap().equal(weight));
    let grads = swiglu::backward(kernels, x, x, x, Product::Wanted).unwrap();
    assert_eq!(grads.product.unwrap().size(), [0, 8]);
    let predicted = Predicted {
        tokens: &Tensor::from_slice::<i64>(&[]),
        weights: None,
    };
    let mut logits = x.copy();
    let losses = cross_entropy::losses_and_grad(kernels, &mut logits, predicted, 1.0).unwrap();
    assert_eq!(losses.size(), [0]);
    let (no_rows, none) = (f32s(&[1, 0, 2, 4]), f32s(&[1, 0, 1, 4]));
    let branches = Branches {
        full: Some(&none),
        streaming: Some(&no_rows),
    };
    let grads = gate_mix::backward(
        kernels,
        &no_rows,
        branches,
        &[0.0, 0.5],
        BranchGrads::Wanted,
    )
    .unwrap();
    assert_eq!(grads.dz, [0.0, 0.0]);
}

#[test]
fn the_readme_lists_every_file() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels/README.md");
    let readme = std::fs::read_to_string(path).unwrap();
    for family in Family::ALL {
        let file = format!("| `{}` |", family.file());
        assert!(readme.contains(&file), "{file}");
    }
}
