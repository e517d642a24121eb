//! Functions of libtorch's C ABI (`aoti_torch_*`) that tch lacks.
//!
//! A handle is `at::Tensor*`, the pointer tch holds. Arguments are borrowed, results are owned by the caller. Here are the
//! functions that linking finds; those of CUDA are looked up by name. The signatures are generated per release, so
//! [`check_version`] stands before every first use.
//!
//! **Invariant:** libtorch prints the text of a failed call to stderr, so operands are checked here first.
#![expect(unsafe_code, reason = "binds libtorch's C functions")]

use crate::torch::error::TorchError;
use crate::torch::handle::{Call, Handle, Place, Returned};
use std::ffi::{c_char, c_int};
use std::ptr;
use tch::{Device, Kind, Tensor};

/// The C ABI of libtorch 2.11.0: major, minor and patch in the three highest bytes.
pub const ABI_VERSION: u64 = 0x020b_0000_0000_0000;

unsafe extern "C" {
    safe fn aoti_torch_abi_version() -> u64;
    fn aoti_torch_cpu__linear_pointwise(
        x: Handle,
        w: Handle,
        bias: *const Handle,
        attribute: *const c_char,
        scalars: *const *const f64,
        scalars_len: i64,
        algorithm: *const *const c_char,
        out: Place,
    ) -> c_int;
}

/// The C ABI version of the libtorch that was loaded.
pub fn loaded_version() -> u64 {
    aoti_torch_abi_version()
}

/// Writes an ABI version as a release, e.g. `2.11.0`.
pub fn release(version: u64) -> String {
    let [major, minor, patch, ..] = version.to_be_bytes();
    format!("{major}.{minor}.{patch}")
}

/// Refuses a libtorch of another release than the one this program binds.
///
/// # Errors
/// [`TorchError::Version`] with both releases.
pub fn check_version() -> Result<(), TorchError> {
    check(loaded_version())
}

fn check(found: u64) -> Result<(), TorchError> {
    if found == ABI_VERSION {
        return Ok(());
    }
    Err(TorchError::Version {
        expected: release(ABI_VERSION),
        found: release(found),
    })
}

/// Computes `x w^T` on the CPU through oneDNN.
///
/// About twice as fast as the default f32 product on CPUs where MKL does not use AVX-512. A transposed view passed as `w`
/// is not copied, so `linear(dy, w.tr())` is the gradient of the input. Not recorded by autograd.
///
/// # Shapes
/// `x`: `[.., in]`; `w`: `[out, in]`. Returns `[.., out]`.
///
/// # Precision
/// f32 or bf16, accumulated in f32; differs from the default product by rounding.
///
/// # Errors
/// [`TorchError::Operand`] if shapes, dtypes or devices do not fit; [`TorchError::Operator`] if oneDNN refuses (bf16 on a
/// CPU without AVX-512).
pub fn onednn_linear(x: &Tensor, w: &Tensor) -> Result<Tensor, TorchError> {
    check_linear(x, w)?;
    let mut returned = Returned::<1>::new();
    let [out] = returned.places();
    // SAFETY: both handles live through the call and have passed the operator's own conditions; bias, scalars and
    // algorithm are optional and absent; `out` is written on success only.
    let code = unsafe {
        aoti_torch_cpu__linear_pointwise(
            x.as_ptr(),
            w.as_ptr(),
            ptr::null(),
            c"none".as_ptr(),
            ptr::null(),
            0,
            ptr::null(),
            out,
        )
    };
    let call = Call {
        operation: LINEAR,
        device: Device::Cpu,
        bytes: 0,
    };
    let [out] = returned.adopt(&call, code)?;
    Ok(out)
}

const LINEAR: &str = "the oneDNN linear";

fn check_linear(x: &Tensor, w: &Tensor) -> Result<(), TorchError> {
    let operand = |tensor, expected: &str, found: String| TorchError::Operand {
        operation: LINEAR,
        tensor,
        expected: expected.to_owned(),
        found,
    };
    for (name, tensor) in [("x", x), ("w", w)] {
        if tensor.device() != Device::Cpu {
            return Err(operand(
                name,
                "on the CPU",
                format!("on {:?}", tensor.device()),
            ));
        }
        if !matches!(tensor.kind(), Kind::Float | Kind::BFloat16) {
            return Err(operand(name, "f32 or bf16", format!("{:?}", tensor.kind())));
        }
    }
    if x.kind() != w.kind() {
        return Err(operand(
            "w",
            &format!("{:?} as `x`", x.kind()),
            format!("{:?}", w.kind()),
        ));
    }
    let (x_size, w_size) = (x.size(), w.size());
    let &[_, inputs] = w_size.as_slice() else {
        return Err(operand(
            "w",
            "of shape [out, in]",
            format!("of shape {w_size:?}"),
        ));
    };
    if x_size.len() < 2 || x_size.last() != Some(&inputs) {
        let expected = format!("of shape [.., {inputs}] with at least two dimensions");
        return Err(operand("x", &expected, format!("of shape {x_size:?}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random;
    use crate::torch::testing::grown_kib;

    #[test]
    fn the_linked_libtorch_is_the_bound_release() {
        check_version().unwrap();
        assert_eq!(release(loaded_version()), "2.11.0");
        let text = check(0x020d_0000_0000_0000).unwrap_err().to_string();
        assert_eq!(
            text,
            "libtorch is version 2.13.0, this program needs 2.11.0"
        );
    }
    /// A tensor of uniform draws in [-1, 1).
    fn draws(shape: &[i64], purpose: &str) -> Tensor {
        let mut rng = random::stream(purpose, &[]);
        let count: i64 = shape.iter().product();
        let values: Vec<f64> = (0..count)
            .map(|_| random::uniform(&mut rng) * 2.0 - 1.0)
            .collect();
        Tensor::from_slice(&values).reshape(shape)
    }

    /// Largest error of the oneDNN product and of the default one against f64.
    fn check_linear_against_f64(x: &Tensor, w: &Tensor, kind: Kind) {
        let oracle = x
            .to_kind(kind)
            .to_kind(Kind::Double)
            .matmul(&w.to_kind(kind).to_kind(Kind::Double).tr());
        let error = |product: &Tensor| {
            (product.to_kind(Kind::Double) - &oracle)
                .abs()
                .max()
                .double_value(&[])
        };
        let ours = onednn_linear(&x.to_kind(kind), &w.to_kind(kind)).unwrap();
        let naive = x.to_kind(kind).matmul(&w.to_kind(kind).tr());
        assert_eq!(ours.size(), naive.size());
        assert_eq!(ours.kind(), kind);
        let last_place = if kind == Kind::Float {
            2.0_f64.powi(-23)
        } else {
            2.0_f64.powi(-7)
        };
        let allowed = 2.0 * error(&naive) + last_place * oracle.abs().max().double_value(&[]);
        assert!(
            error(&ours) <= allowed,
            "{:?}: {} > {allowed}",
            x.size(),
            error(&ours)
        );
    }

    #[test]
    fn linear_equals_matmul_on_odd_shapes_and_views() {
        for (x_size, w_size) in [
            (vec![1, 1], vec![1, 1]),
            (vec![113, 67], vec![31, 67]),
            (vec![2, 3, 5, 48], vec![7, 48]),
            (vec![1, 512], vec![1023, 512]),
        ] {
            let (x, w) = (draws(&x_size, "x"), draws(&w_size, "w"));
            check_linear_against_f64(&x, &w, Kind::Float);
        }
        let (wide, w) = (draws(&[67, 113], "x"), draws(&[67, 31], "w"));
        check_linear_against_f64(&wide.tr(), &w.tr(), Kind::Float);
        check_linear_against_f64(
            &wide.narrow(1, 3, 31),
            &w.tr().contiguous().narrow(1, 5, 31),
            Kind::Float,
        );
    }

    #[test]
    fn linear_in_bf16_where_the_cpu_has_it() {
        if std::arch::is_x86_feature_detected!("avx512bw") {
            check_linear_against_f64(
                &draws(&[33, 65], "x"),
                &draws(&[17, 65], "w"),
                Kind::BFloat16,
            );
        }
    }

    #[test]
    fn operands_that_do_not_fit_are_named() {
        let f32s = |shape: &[i64]| Tensor::zeros(shape, (Kind::Float, Device::Cpu));
        let message = |x: &Tensor, w: &Tensor| onednn_linear(x, w).unwrap_err().to_string();
        assert_eq!(
            message(&f32s(&[2, 3]), &f32s(&[4, 5])),
            "cannot compute the oneDNN linear: `x` is of shape [2, 3], expected of shape [.., 5] with at least two dimensions"
        );
        assert_eq!(
            message(&f32s(&[2, 3]), &f32s(&[3])),
            "cannot compute the oneDNN linear: `w` is of shape [3], expected of shape [out, in]"
        );
        assert_eq!(
            message(&f32s(&[2, 3]).to_kind(Kind::Double), &f32s(&[4, 3])),
            "cannot compute the oneDNN linear: `x` is Double, expected f32 or bf16"
        );
        assert_eq!(
            message(&f32s(&[2, 3]), &f32s(&[4, 3]).to_kind(Kind::BFloat16)),
            "cannot compute the oneDNN linear: `w` is BFloat16, expected Float as `x`"
        );
        assert!(message(&f32s(&[3]), &f32s(&[4, 3])).contains("at least two dimensions"));
    }

    #[test]
    fn linear_of_no_rows_is_empty() {
        let f32s = |shape: &[i64]| Tensor::zeros(shape, (Kind::Float, Device::Cpu));
        assert_eq!(
            onednn_linear(&f32s(&[0, 3]), &f32s(&[4, 3]))
                .unwrap()
                .size(),
            [0, 4]
        );
    }

    #[test]
    fn ten_thousand_calls_leave_resident_memory_unchanged() {
        let (x, w) = (
            draws(&[64, 64], "x").to_kind(Kind::Float),
            draws(&[64, 64], "w").to_kind(Kind::Float),
        );
        // A leaked result is 16 KiB: 156 MiB in all.
        let grown = grown_kib(|| drop(onednn_linear(&x, &w).unwrap()));
        assert!(grown < 64 * 1024, "resident memory grew by {grown} KiB");
    }
}
