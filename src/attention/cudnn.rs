//! cuDNN's attention through libtorch: about twice FlashAttention-2's published speed on Hopper, with defects to keep away
//! from.
//!
//! It gets what it computes rightly and nothing else: square causal problems, and problems without a mask whose keys are a
//! multiple of 128, both of more than one query. Queries are padded to a multiple of 128 with rows that are ignored and
//! whose output gradient is 0, so they add nothing to any gradient; in a square causal problem padded keys come last, where
//! no real query sees them. Everything else (windows, decoding, unequal lengths) is FlashAttention-2's.

use super::flash::{Flash, solved, whole_heads};
use super::{Attended, Backend, InputGrads, Qkv, StreamingForm, Visibility, scale};
use crate::torch::attention_operands::{Operands, Saved, Sight};
use crate::torch::cuda_symbols::CudaSymbols;
use crate::torch::cudnn_attention::{self, MAX_HEAD_DIM, ROW_STEP};
use crate::torch::dims::dims;
use tch::Tensor;

/// cuDNN's attention, and FlashAttention-2 where that has to step in.
#[derive(Debug, Clone, Copy)]
pub struct Cudnn {
    symbols: &'static CudaSymbols,
    flash: Flash,
}

impl Cudnn {
    /// Calls the functions of `symbols`, which must have both families.
    pub fn new(symbols: &'static CudaSymbols) -> Self {
        Self {
            symbols,
            flash: Flash::new(symbols),
        }
    }
}

/// A problem that cuDNN computes, and how it is padded.
struct Padding {
    sight: Sight,
    queries: i64,
    keys: i64,
}

impl Padding {
    /// `None` for a problem that is not cuDNN's.
    fn of(qkv: Qkv, visibility: Visibility) -> Option<Self> {
        let [_, t, _, head_dim] = dims(qkv.q);
        let [_, s, _, _] = dims(qkv.k);
        if t == 1 || head_dim > MAX_HEAD_DIM {
            return None;
        }
        let missing = |len: i64| (ROW_STEP - len % ROW_STEP) % ROW_STEP;
        match visibility {
            Visibility::Causal if t == s => Some(Self {
                sight: Sight::Causal,
                queries: missing(t),
                keys: missing(t),
            }),
            Visibility::All if missing(s) == 0 => Some(Self {
                sight: Sight::All,
                queries: missing(t),
                keys: 0,
            }),
            _ => None,
        }
    }

    fn operands(&self, qkv: Qkv) -> [Tensor; 3] {
        [
            rows(qkv.q, self.queries),
            rows(qkv.k, self.keys),
            rows(qkv.v, self.keys),
        ]
    }
}

/// `x` `[B, T, n, D]` with `missing` rows of zeros after its own.
fn rows(x: &Tensor, missing: i64) -> Tensor {
    let x = whole_heads(x);
    if missing == 0 {
        return x;
    }
    x.constant_pad_nd([0, 0, 0, 0, 0, missing])
}

/// `lse` `[B, H, T]` likewise.
///
/// The value is free: with queries and output gradients of 0 every probability of such a row is finite and multiplied by 0.
fn lse_rows(lse: &Tensor, missing: i64) -> Tensor {
    if missing == 0 {
        return lse.contiguous();
    }
    lse.constant_pad_nd([0, missing])
}

fn operands([q, k, v]: &[Tensor; 3]) -> Operands<'_> {
    Operands { q, k, v }
}

impl Backend for Cudnn {
    fn name(&self) -> &'static str {
        "cudnn"
    }

    fn streaming_form(&self) -> StreamingForm {
        StreamingForm::Causal
    }

    fn is_watched(&self) -> bool {
        true
    }

    /// Wider heads than cuDNN's own limit are FlashAttention-2's.
    fn max_head_dim(&self) -> Option<i64> {
        Some(crate::torch::flash_attention::MAX_HEAD_DIM)
    }

    fn forward(&self, qkv: Qkv, visibility: Visibility) -> Attended {
        let Some(padding) = Padding::of(qkv, visibility) else {
            return self.flash.forward(qkv, visibility);
        };
        let [_, t, _, head_dim] = dims(qkv.q);
        let padded = padding.operands(qkv);
        let (out, lse) = solved(cudnn_attention::forward(
            self.symbols,
            operands(&padded),
            padding.sight,
            scale(head_dim),
        ));
        Attended {
            out: out.narrow(1, 0, t).narrow(3, 0, head_dim),
            lse: lse.narrow(2, 0, t).contiguous(),
        }
    }

    fn backward(
        &self,
        dout: &Tensor,
        qkv: Qkv,
        attended: &Attended,
        visibility: Visibility,
    ) -> InputGrads {
        let Some(padding) = Padding::of(qkv, visibility) else {
            return self.flash.backward(dout, qkv, attended, visibility);
        };
        let [_, t, _, head_dim] = dims(qkv.q);
        let [_, s, _, _] = dims(qkv.k);
        let padded = padding.operands(qkv);
        let lse = lse_rows(&attended.lse, padding.queries);
        let out = rows(&attended.out, padding.queries);
        let saved = Saved {
            out: &out,
            lse: &lse,
        };
        let [dq, dk, dv] = solved(cudnn_attention::backward(
            self.symbols,
            &rows(dout, padding.queries),
            operands(&padded),
            saved,
            padding.sight,
            scale(head_dim),
        ));
        let own = |x: &Tensor, len: i64| x.narrow(1, 0, len).narrow(3, 0, head_dim);
        InputGrads {
            dq: own(&dq, t),
            dk: own(&dk, s),
            dv: own(&dv, s),
        }
    }
}
