//! libtorch's flash attention for the CPU: O(T) memory, forward and backward, f32, bf16 and f64.
//!
//! The kernel knows neither groups nor bottom-right causality. Groups go into the batch dimension: queries become
//! `[G, B * K, T, D]`, and keys a view `[G, B * K, S, D]` whose first stride is 0, so that nothing is repeated in memory.
//! Its causal mask is aligned at the top left, equal to ours only for `T = S`; any other causal case gets an explicit mask:
//!
//! ```text
//! top left, T = 2, S = 4      bottom right (ours)
//!   x . . .                     x x x .
//!   x x . .                     x x x x
//! ```
//!
//! One query of f32 over all keys, as in decoding, is not the kernel's but ours (`single_query.rs`).
//!
//! Where its bf16 backward is slow ([`bf16::is_slow`]) the operands are converted to f32 for it; the forward is not slow.
//!
//! # Decisions
//! The kernel reads every key once per batch entry, so one query per head, as in decoding, would read a kv head's keys once for
//! each head of its group. There the heads of a group stand as further queries of one head (`fold_group_into_queries`): all
//! keys are visible, so rows need not know which token they are. On one thread (AVX-512, f32) that took 0.61 of the time at 16
//! heads of 32 over 8 kv heads and 0.34 at 12 heads of 64 over 3, both at 16,384 keys.

use super::{
    Attended, Backend, InputGrads, Qkv, Visibility,
    reference::{causal_mask, window_mask},
    scale, single_query,
};
use crate::torch::bf16;
use crate::torch::dims::dims;
use tch::{Kind, Tensor};

/// The CPU flash kernel.
#[derive(Debug, Clone, Copy)]
pub struct CpuFlash;

/// How the kernel is told what is visible.
struct KernelMask {
    is_causal: bool,
    additive: Option<Tensor>,
}

impl KernelMask {
    fn new(qkv: Qkv, visibility: Visibility) -> Self {
        let [_, t, _, _] = dims(qkv.q);
        let [_, s, _, _] = dims(qkv.k);
        match visibility {
            Visibility::All => Self::none(),
            Visibility::Causal if t == s => Self {
                is_causal: true,
                additive: None,
            },
            Visibility::Causal => Self::explicit(&causal_mask(t, s, qkv.q.device()), qkv.q),
            Visibility::Window(window_len) => {
                Self::explicit(&window_mask(t, s, window_len, qkv.q.device()), qkv.q)
            }
            Visibility::Masked(mask) => Self::explicit(mask, qkv.q),
        }
    }

    fn none() -> Self {
        Self {
            is_causal: false,
            additive: None,
        }
    }

    fn explicit(mask: &Tensor, q: &Tensor) -> Self {
        let zeros = Tensor::zeros(mask.size(), (q.kind(), q.device()));
        let additive = zeros.masked_fill(&mask.logical_not(), f64::NEG_INFINITY);
        Self {
            is_causal: false,
            additive: Some(additive),
        }
    }
}

/// `[B, T, K * G, D] -> [G, B * K, T, D]`; a view where the batch is 1.
fn fold_queries(x: &Tensor, num_kv_heads: i64) -> Tensor {
    let [b, t, num_heads, d] = dims(x);
    let group = num_heads / num_kv_heads;
    x.view([b, t, num_kv_heads, group, d])
        .permute([3, 0, 2, 1, 4])
        .reshape([group, b * num_kv_heads, t, d])
}

/// `[G, B * K, T, D] -> [B, T, K * G, D]`.
fn unfold_queries(x: &Tensor, batch: i64) -> Tensor {
    let [group, rows, t, d] = dims(x);
    let num_kv_heads = rows / batch;
    x.view([group, batch, num_kv_heads, t, d])
        .permute([1, 3, 2, 0, 4])
        .reshape([batch, t, num_kv_heads * group, d])
}

/// `[B, S, K, D] -> [G, B * K, S, D]` with stride 0 over the group.
fn fold_keys(x: &Tensor, group: i64) -> Tensor {
    let [b, s, num_kv_heads, d] = dims(x);
    let folded = x.transpose(1, 2).reshape([1, b * num_kv_heads, s, d]);
    folded.expand([group, -1, -1, -1], false)
}

/// Gradients of folded keys, summed over the group: `[G, B * K, S, D] -> [B, S, K, D]`.
fn unfold_keys(x: &Tensor, like: &Tensor) -> Tensor {
    let [b, s, num_kv_heads, d] = dims(like);
    let [group, _, _, _] = dims(x);
    let summed = if group == 1 {
        x.squeeze_dim(0)
    } else {
        x.sum_dim_intlist(0, false, None)
    };
    summed
        .view([b, num_kv_heads, s, d])
        .transpose(1, 2)
        .contiguous()
}

/// `[B, 1, K * G, D] -> [B, K, G, D]`: `G` queries of `K` heads that need no group.
fn fold_group_into_queries(x: &Tensor, num_kv_heads: i64) -> Tensor {
    let [b, _, num_heads, d] = dims(x);
    x.reshape([b, num_kv_heads, num_heads / num_kv_heads, d])
}

/// One query per head over every key, each key read once, by the kernel: what `single_query.rs` leaves to it.
fn one_query(qkv: Qkv) -> Attended {
    let [batch, _, num_heads, head_dim] = dims(qkv.q);
    let [_, _, num_kv_heads, _] = dims(qkv.k);
    let (out, lse) = kernel(
        [
            &fold_group_into_queries(qkv.q, num_kv_heads),
            &qkv.k.transpose(1, 2),
            &qkv.v.transpose(1, 2),
        ],
        &KernelMask::none(),
    );
    Attended {
        out: out.reshape([batch, 1, num_heads, head_dim]),
        lse: lse.reshape([batch, num_heads, 1]),
    }
}

/// Calls the kernel on `[.., heads, rows, D]`.
fn kernel([q, k, v]: [&Tensor; 3], mask: &KernelMask) -> (Tensor, Tensor) {
    let [_, _, _, head_dim] = dims(q);
    Tensor::internal_scaled_dot_product_flash_attention_for_cpu(
        q,
        k,
        v,
        0.0,
        mask.is_causal,
        mask.additive.as_ref(),
        scale(head_dim),
    )
}

impl Backend for CpuFlash {
    fn name(&self) -> &'static str {
        "cpu-flash"
    }

    fn forward(&self, qkv: Qkv, visibility: Visibility) -> Attended {
        let [batch, t, num_heads, _] = dims(qkv.q);
        if t == 1 && matches!(visibility, Visibility::All) {
            return single_query::attend(qkv).unwrap_or_else(|| one_query(qkv));
        }
        let [_, _, num_kv_heads, _] = dims(qkv.k);
        let group = num_heads / num_kv_heads;
        let mask = KernelMask::new(qkv, visibility);
        let (out, lse) = kernel(
            [
                &fold_queries(qkv.q, num_kv_heads),
                &fold_keys(qkv.k, group),
                &fold_keys(qkv.v, group),
            ],
            &mask,
        );
        let lse = lse
            .reshape([group, batch, num_kv_heads, t])
            .permute([1, 2, 0, 3]);
        let lse = lse.reshape([batch, num_kv_heads * group, t]);
        Attended {
            out: unfold_queries(&out, batch),
            lse,
        }
    }

    fn backward(
        &self,
        dout: &Tensor,
        qkv: Qkv,
        attended: &Attended,
        visibility: Visibility,
    ) -> InputGrads {
        if bf16::is_slow(qkv.q) {
            return backward_in_f32(dout, qkv, attended, visibility);
        }
        let [batch, t, num_heads, head_dim] = dims(qkv.q);
        let [_, _, num_kv_heads, _] = dims(qkv.k);
        let group = num_heads / num_kv_heads;
        let mask = KernelMask::new(qkv, visibility);
        let lse = attended
            .lse
            .view([batch, num_kv_heads, group, t])
            .permute([2, 0, 1, 3]);
        let (dq, dk, dv) = Tensor::internal_scaled_dot_product_flash_attention_for_cpu_backward(
            &fold_queries(dout, num_kv_heads),
            &fold_queries(qkv.q, num_kv_heads),
            &fold_keys(qkv.k, group),
            &fold_keys(qkv.v, group),
            &fold_queries(&attended.out, num_kv_heads),
            &lse.reshape([group, batch * num_kv_heads, t])
                .transpose(1, 2)
                .contiguous()
                .transpose(1, 2),
            0.0,
            mask.is_causal,
            mask.additive.as_ref(),
            scale(head_dim),
        );
        InputGrads {
            dq: unfold_queries(&dq, batch),
            dk: unfold_keys(&dk, qkv.k),
            dv: unfold_keys(&dv, qkv.v),
        }
    }
}

/// [`CpuFlash::backward`] with operands in f32 and results in the dtype of the queries.
fn backward_in_f32(
    dout: &Tensor,
    qkv: Qkv,
    attended: &Attended,
    visibility: Visibility,
) -> InputGrads {
    let [dout, q, k, v, out] =
        [dout, qkv.q, qkv.k, qkv.v, &attended.out].map(|x| x.to_kind(Kind::Float));
    let wide = Qkv {
        q: &q,
        k: &k,
        v: &v,
    };
    let lse = attended.lse.shallow_clone();
    let grads = CpuFlash.backward(&dout, wide, &Attended { out, lse }, visibility);
    let stored = |x: Tensor| x.to_kind(qkv.q.kind());
    InputGrads {
        dq: stored(grads.dq),
        dk: stored(grads.dk),
        dv: stored(grads.dv),
    }
}
