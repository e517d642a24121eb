//! FlashAttention-2 in libtorch: `_flash_attention_forward` and its backward.
//!
//! It works on `[B, T, H, D]` as it stands, keeps kv heads grouped, and aligns causal masks at the bottom right:
//!
//! ```text
//! Causal, T = 2, S = 4     Window(2)
//!   x x x .                  . x x .
//!   x x x x                  . . x x
//! ```
//!
//! Its `window_size_left` counts the keys *before* the query's own, one less than [`Sight::Window`].
#![expect(unsafe_code, reason = "calls functions that were looked up by name")]

use crate::torch::attention_operands::{Demands, Lengths, Operands, Saved, Sight};
use crate::torch::cuda_symbols::{CudaSymbols, FlashSymbols};
use crate::torch::error::TorchError;
use crate::torch::handle::{Call, Returned, optional};
use std::ptr;
use tch::{Device, Tensor};

/// Widest head the kernel takes.
pub const MAX_HEAD_DIM: i64 = 256;

const FORWARD: &str = "FlashAttention-2";
const BACKWARD: &str = "FlashAttention-2's backward";

/// How the kernel is told what is visible.
struct Window {
    is_causal: i32,
    left: Option<i64>,
    right: Option<i64>,
}

impl Window {
    fn new(sight: Sight) -> Self {
        let (is_causal, left) = match sight {
            Sight::All => (0, None),
            Sight::Causal => (1, None),
            Sight::Window(window) => (1, Some(window - 1)),
        };
        Self {
            is_causal,
            left,
            right: left.map(|_| 0),
        }
    }
}

fn table(symbols: &CudaSymbols, operation: &'static str) -> Result<FlashSymbols, TorchError> {
    symbols
        .flash
        .clone()
        .map_err(|reason| TorchError::Operator { operation, reason })
}

fn demands(symbols: &CudaSymbols, operation: &'static str) -> Demands {
    Demands {
        operation,
        home: symbols.home,
        max_head_dim: MAX_HEAD_DIM,
    }
}

/// Attention output and lse, `exp(q k^T scale)` normalised over the keys in sight.
///
/// # Shapes
/// As [`Operands`]; returns `[B, T, H, D]` and `[B, H, T]`.
///
/// # Precision
/// bf16 or f16 in, accumulated in f32; the output in the dtype of `q`, the lse in f32, natural log.
///
/// # Errors
/// [`TorchError::Operand`] for what the kernel does not take, [`TorchError::Operator`] if it cannot be called or fails.
pub fn forward(
    symbols: &CudaSymbols,
    operands: Operands,
    sight: Sight,
    scale: f64,
) -> Result<(Tensor, Tensor), TorchError> {
    let kernel = table(symbols, FORWARD)?.forward;
    let demands = demands(symbols, FORWARD);
    let lengths = demands.check(operands, sight)?;
    let window = Window::new(sight);
    let mut returned = Returned::<5>::new();
    let [out, lse, rng, unused, debug] = returned.places();
    // SAFETY: all handles live through the call and have passed the kernel's own conditions; absent arguments are null
    // where the schema has an optional; the five places are live.
    let code = unsafe {
        kernel(
            operands.q.as_ptr(),
            operands.k.as_ptr(),
            operands.v.as_ptr(),
            ptr::null(),
            ptr::null(),
            lengths.t,
            lengths.s,
            0.0,
            window.is_causal,
            0,
            &raw const scale,
            optional(window.left.as_ref()),
            optional(window.right.as_ref()),
            ptr::null(),
            ptr::null(),
            out,
            lse,
            rng,
            unused,
            debug,
        )
    };
    let call = call(FORWARD, operands.q.device(), lengths.out_bytes());
    let [out, lse, _, _, _] = returned.adopt(&call, code)?;
    demands.check_result(&out, &lengths.out())?;
    demands.check_result(&lse, &lengths.lse())?;
    Ok((out, lse))
}

/// Gradients dq, dk, dv for the gradient `dout` of the output.
///
/// `saved` may be the merged result of a larger key set: the probabilities are then the global ones, and the gradients of
/// the parts add up.
///
/// # Shapes
/// `dout` as `q`; returns the shapes of q, k, v.
///
/// # Precision
/// As [`forward`]; gradients in the dtype of `q`. The order of sums in dq is fixed only where libtorch computes
/// deterministically.
///
/// # Errors
/// As [`forward`].
pub fn backward(
    symbols: &CudaSymbols,
    dout: &Tensor,
    operands: Operands,
    saved: Saved,
    sight: Sight,
    scale: f64,
) -> Result<[Tensor; 3], TorchError> {
    let kernel = table(symbols, BACKWARD)?.backward;
    let demands = demands(symbols, BACKWARD);
    let lengths = demands.check(operands, sight)?;
    demands.check_saved(dout, saved, operands.q.kind(), &lengths)?;
    let window = Window::new(sight);
    let absent = Tensor::new();
    let mut returned = Returned::<3>::new();
    let [dq, dk, dv] = returned.places();
    // SAFETY: as in `forward`; without sequence lengths and dropout the kernel reads none of the absent tensors.
    let code = unsafe {
        kernel(
            dout.as_ptr(),
            operands.q.as_ptr(),
            operands.k.as_ptr(),
            operands.v.as_ptr(),
            saved.out.as_ptr(),
            saved.lse.as_ptr(),
            absent.as_ptr(),
            absent.as_ptr(),
            lengths.t,
            lengths.s,
            0.0,
            window.is_causal,
            absent.as_ptr(),
            absent.as_ptr(),
            &raw const scale,
            optional(window.left.as_ref()),
            optional(window.right.as_ref()),
            dq,
            dk,
            dv,
        )
    };
    let call = call(BACKWARD, dout.device(), backward_bytes(&lengths));
    let [dq, dk, dv] = returned.adopt(&call, code)?;
    demands.check_result(&dq, &lengths.out())?;
    demands.check_result(&dk, &lengths.keys())?;
    demands.check_result(&dv, &lengths.keys())?;
    Ok([dq, dk, dv])
}

fn call(operation: &'static str, device: Device, bytes: i64) -> Call {
    Call {
        operation,
        device,
        bytes,
    }
}

/// dq, its f32 sum, and dk and dv for every query head.
fn backward_bytes(lengths: &Lengths) -> i64 {
    3 * lengths.out_bytes() + 2 * lengths.expanded_key_bytes()
}

#[cfg(test)]
mod tests;
