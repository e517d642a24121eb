//! FlashAttention-2 as libtorch carries it: CUDA of compute capability 8.0 and newer, bf16 and f16, O(T) memory.
//!
//! The kernel's conventions are ours: `[B, T, H, D]`, grouped kv heads, causal masks aligned at the bottom right, natural
//! log. It knows windows but no masks, so streaming attention comes in its causal form, and what still needs a mask (a
//! policy that picks keys during prefill) is computed by the reference, in small dense problems.
//!
//! Heads whose width is not a multiple of 8 are padded with zeros, which adds nothing to a score or an output.

use super::reference::Reference;
use super::{Attended, Backend, InputGrads, Qkv, StreamingForm, Visibility, scale};
use crate::torch::attention_operands::{Operands, Saved, Sight};
use crate::torch::cuda_symbols::CudaSymbols;
use crate::torch::dims::dims;
use crate::torch::error::TorchError;
use crate::torch::flash_attention;
use tch::Tensor;

/// The kernel reads heads in pieces of this many numbers.
const HEAD_DIM_STEP: i64 = 8;

/// FlashAttention-2.
#[derive(Debug, Clone, Copy)]
pub struct Flash {
    symbols: &'static CudaSymbols,
}

impl Flash {
    /// Calls the functions of `symbols`, which must have them.
    pub fn new(symbols: &'static CudaSymbols) -> Self {
        Self { symbols }
    }

    fn attend(self, qkv: Qkv, sight: Sight) -> Attended {
        let [_, _, _, head_dim] = dims(qkv.q);
        let padded = Padded::new(qkv);
        let (out, lse) = solved(flash_attention::forward(
            self.symbols,
            padded.operands(),
            sight,
            scale(head_dim),
        ));
        Attended {
            out: out.narrow(3, 0, head_dim),
            lse,
        }
    }

    fn attend_back(self, dout: &Tensor, qkv: Qkv, attended: &Attended, sight: Sight) -> InputGrads {
        let [_, _, _, head_dim] = dims(qkv.q);
        let padded = Padded::new(qkv);
        let (dout, out) = (whole_heads(dout), whole_heads(&attended.out));
        let lse = attended.lse.contiguous();
        let saved = Saved {
            out: &out,
            lse: &lse,
        };
        let grads = flash_attention::backward(
            self.symbols,
            &dout,
            padded.operands(),
            saved,
            sight,
            scale(head_dim),
        );
        let [dq, dk, dv] = solved(grads).map(|x| x.narrow(3, 0, head_dim));
        InputGrads { dq, dk, dv }
    }
}

/// The kernel's word for what is visible; none for a mask.
fn sight(visibility: Visibility) -> Option<Sight> {
    match visibility {
        Visibility::All => Some(Sight::All),
        Visibility::Causal => Some(Sight::Causal),
        Visibility::Window(window_len) => Some(Sight::Window(window_len)),
        Visibility::Masked(_) => None,
    }
}

/// Operands as the kernel takes them.
struct Padded {
    q: Tensor,
    k: Tensor,
    v: Tensor,
}

impl Padded {
    fn new(qkv: Qkv) -> Self {
        Self {
            q: whole_heads(qkv.q),
            k: whole_heads(qkv.k),
            v: whole_heads(qkv.v),
        }
    }

    fn operands(&self) -> Operands<'_> {
        Operands {
            q: &self.q,
            k: &self.k,
            v: &self.v,
        }
    }
}

/// `x` `[B, T, n, D]` with whole rows and a width that the kernel reads in whole pieces.
pub(super) fn whole_heads(x: &Tensor) -> Tensor {
    let [_, _, _, head_dim] = dims(x);
    let missing = (HEAD_DIM_STEP - head_dim % HEAD_DIM_STEP) % HEAD_DIM_STEP;
    if missing > 0 {
        return x.constant_pad_nd([0, missing]);
    }
    match x.stride().last() {
        Some(1) => x.shallow_clone(),
        _ => x.contiguous(),
    }
}

/// The result of a call whose operands a backend vouches for.
///
/// # Panics
/// If it failed all the same: our bug, or memory ran out, which the text says.
#[expect(
    clippy::panic,
    reason = "arithmetic panics like tch's own methods; memory is told apart by the text where a sequence begins"
)]
pub(super) fn solved<T>(result: Result<T, TorchError>) -> T {
    result.unwrap_or_else(|error| panic!("{error}"))
}

impl Backend for Flash {
    fn name(&self) -> &'static str {
        "flash"
    }

    fn streaming_form(&self) -> StreamingForm {
        StreamingForm::Causal
    }

    fn is_watched(&self) -> bool {
        true
    }

    fn max_head_dim(&self) -> Option<i64> {
        Some(flash_attention::MAX_HEAD_DIM)
    }

    fn forward(&self, qkv: Qkv, visibility: Visibility) -> Attended {
        match sight(visibility) {
            Some(sight) => self.attend(qkv, sight),
            None => Reference.forward(qkv, visibility),
        }
    }

    fn backward(
        &self,
        dout: &Tensor,
        qkv: Qkv,
        attended: &Attended,
        visibility: Visibility,
    ) -> InputGrads {
        match sight(visibility) {
            Some(sight) => self.attend_back(dout, qkv, attended, sight),
            None => Reference.backward(dout, qkv, attended, visibility),
        }
    }
}
