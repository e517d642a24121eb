//! cuDNN's attention in libtorch: `_scaled_dot_product_cudnn_attention` and its backward.
//!
//! It works on `[B, H, T, D]` of any strides, so views of our `[B, T, H, D]` go in and come out; kv heads stay grouped. Its
//! causal mask is aligned at the top left, which is ours only for as many keys as queries:
//!
//! ```text
//! top left, T = 2, S = 4      bottom right (ours)
//!   x . . .                     x x x .
//!   x x . .                     x x x x
//! ```
//!
//! # Decisions
//! The conditions here are narrower than cuDNN's own, because of its defects: NaN in dq on Hopper with a mask, lengths that
//! are not a multiple of 128 and rows of very negative lse (pytorch#196678); a mask of another dtype read as something else
//! (pytorch PR 191612); NaN in dk and dv for one query row (cudnn-frontend#1072). So: no mask and no bias ever, lengths
//! that are multiples of [`ROW_STEP`], causal only for square problems. Padding to that length is the caller's, because
//! only the caller knows that padded rows are ignored.
#![expect(unsafe_code, reason = "calls functions that were looked up by name")]

use crate::torch::attention_operands::{Demands, Lengths, Operands, Saved, Sight};
use crate::torch::cuda_symbols::{CudaSymbols, CudnnSymbols};
use crate::torch::error::TorchError;
use crate::torch::handle::{Call, Returned};
use std::ptr;
use tch::{Kind, Tensor};

/// Widest head the kernel takes.
pub const MAX_HEAD_DIM: i64 = 128;

/// Numbers of queries and of keys must be multiples of this.
pub const ROW_STEP: i64 = 128;

const FORWARD: &str = "cuDNN's attention";
const BACKWARD: &str = "cuDNN's attention backward";

fn table(symbols: &CudaSymbols, operation: &'static str) -> Result<CudnnSymbols, TorchError> {
    symbols
        .cudnn
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

/// Lengths of a problem that none of the known defects touches.
fn check(demands: &Demands, operands: Operands, sight: Sight) -> Result<Lengths, TorchError> {
    let lengths = demands.check(operands, sight)?;
    let wrong = |tensor, expected: String, found: String| TorchError::Operand {
        operation: demands.operation,
        tensor,
        expected,
        found,
    };
    for (name, len) in [("q", lengths.t), ("k", lengths.s)] {
        if len % ROW_STEP != 0 {
            let expected = format!("of a multiple of {ROW_STEP} tokens");
            return Err(wrong(name, expected, format!("of {len} tokens")));
        }
    }
    match sight {
        Sight::Causal if lengths.t != lengths.s => Err(wrong(
            "k",
            format!("of as many tokens as q ({})", lengths.t),
            format!("of {} tokens", lengths.s),
        )),
        Sight::Window(window) => Err(wrong(
            "window",
            "absent".to_owned(),
            format!("{window} tokens long"),
        )),
        Sight::All | Sight::Causal => Ok(lengths),
    }
}

/// Attention output and lse.
///
/// # Shapes
/// As [`Operands`], `T` and `S` multiples of [`ROW_STEP`]; returns `[B, T, H, D]` and `[B, H, T]`.
///
/// # Precision
/// bf16 or f16 in, accumulated in f32; the output in the dtype of `q`, the lse in f32, natural log.
///
/// # Errors
/// [`TorchError::Operand`] for what the kernel does not take or computes wrongly, [`TorchError::Operator`] if it cannot be
/// called or fails.
pub fn forward(
    symbols: &CudaSymbols,
    operands: Operands,
    sight: Sight,
    scale: f64,
) -> Result<(Tensor, Tensor), TorchError> {
    let kernel = table(symbols, FORWARD)?.forward;
    let demands = demands(symbols, FORWARD);
    let lengths = check(&demands, operands, sight)?;
    let [q, k, v] = [operands.q, operands.k, operands.v].map(|x| x.transpose(1, 2));
    let (mut max_q, mut max_k) = (0, 0);
    let mut returned = Returned::<7>::new();
    let [out, lse, cum_q, cum_k, seed, offset, debug] = returned.places();
    // SAFETY: all handles live through the call and have passed the kernel's own conditions; the bias is absent; every
    // place is live.
    let code = unsafe {
        kernel(
            q.as_ptr(),
            k.as_ptr(),
            v.as_ptr(),
            ptr::null(),
            1,
            0.0,
            i32::from(sight == Sight::Causal),
            0,
            &raw const scale,
            out,
            lse,
            cum_q,
            cum_k,
            &raw mut max_q,
            &raw mut max_k,
            seed,
            offset,
            debug,
        )
    };
    let call = Call {
        operation: FORWARD,
        device: q.device(),
        bytes: lengths.out_bytes(),
    };
    let [out, lse, ..] = returned.adopt(&call, code)?;
    let out = out.transpose(1, 2);
    demands.check_result(&out, &lengths.out())?;
    demands.check_result(&lse, &[lengths.b, lengths.h, lengths.t, 1])?;
    Ok((out, lse.squeeze_dim(-1).contiguous()))
}

/// Gradients dq, dk, dv for the gradient `dout` of the output.
///
/// `saved` may be the merged result of a larger key set: the probabilities are then the global ones, and the gradients of
/// the parts add up. Rows whose `dout` is 0 add nothing, whatever else stands in them, as long as it is finite.
///
/// # Shapes
/// `dout` as `q`; returns the shapes of q, k, v.
///
/// # Precision
/// As [`forward`]; gradients in the dtype of `q`. The order of sums in dq is not fixed.
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
    let lengths = check(&demands, operands, sight)?;
    demands.check_saved(dout, saved, operands.q.kind(), &lengths)?;
    let [dout, q, k, v, out] =
        [dout, operands.q, operands.k, operands.v, saved.out].map(|x| x.transpose(1, 2));
    let lse = saved.lse.unsqueeze(-1);
    let absent = Tensor::new();
    // Read on some devices although nothing is dropped.
    let no_seed = Tensor::zeros([0_i64; 0], (Kind::Int64, q.device()));
    let mut returned = Returned::<3>::new();
    let [dq, dk, dv] = returned.places();
    // SAFETY: as in `forward`; bias and sequence lengths are undefined tensors, which the kernel takes as absent.
    let code = unsafe {
        kernel(
            dout.as_ptr(),
            q.as_ptr(),
            k.as_ptr(),
            v.as_ptr(),
            out.as_ptr(),
            lse.as_ptr(),
            no_seed.as_ptr(),
            no_seed.as_ptr(),
            absent.as_ptr(),
            absent.as_ptr(),
            absent.as_ptr(),
            lengths.t,
            lengths.s,
            0.0,
            i32::from(sight == Sight::Causal),
            &raw const scale,
            dq,
            dk,
            dv,
        )
    };
    let call = Call {
        operation: BACKWARD,
        device: q.device(),
        bytes: 3 * lengths.out_bytes() + 2 * lengths.expanded_key_bytes(),
    };
    let grads = returned.adopt(&call, code)?.map(|x| x.transpose(1, 2));
    demands.check_result(&grads[0], &lengths.out())?;
    demands.check_result(&grads[1], &lengths.keys())?;
    demands.check_result(&grads[2], &lengths.keys())?;
    Ok(grads)
}

#[cfg(test)]
mod tests;
