//! Attention written out: scores, mask, softmax, product. Slow, obvious, any float dtype: the oracle.

use super::{Attended, Backend, InputGrads, Qkv, Visibility, scale, wide};
use crate::torch::dims::dims;
use tch::{Kind, Tensor};

/// Plain matrix products over the whole score matrix. Statistics in f32 (f64 for f64 inputs).
#[derive(Debug, Clone, Copy)]
pub struct Reference;

/// `[B, T, K * G, D] -> [B, K, G, T, D]` in the wide dtype.
fn grouped(x: &Tensor, num_kv_heads: i64) -> Tensor {
    let (b, t, h, d) = (x.size4()).unwrap_or((0, 0, 0, 0));
    let x = x
        .to_kind(wide(x.kind()))
        .view([b, t, num_kv_heads, h / num_kv_heads, d]);
    x.permute([0, 2, 3, 1, 4])
}

/// `[B, K, G, T, D] -> [B, T, K * G, D]`.
fn ungrouped(x: &Tensor) -> Tensor {
    let [b, num_kv_heads, group, t, d] = dims(x);
    x.permute([0, 3, 1, 2, 4])
        .reshape([b, t, num_kv_heads * group, d])
}

/// Causal mask aligned at the bottom right, `[T, S]`, true = visible.
///
/// # Shapes
/// Returns `[T, S]`.
pub fn causal_mask(num_queries: i64, num_keys: i64, device: tch::Device) -> Tensor {
    Tensor::ones([num_queries, num_keys], (Kind::Bool, device)).tril(num_keys - num_queries)
}

/// Scaled scores `[B, K, G, T, S]` with hidden keys at minus infinity.
fn scores(qkv: Qkv, visibility: Visibility) -> Tensor {
    let [_, t, _, head_dim] = dims(qkv.q);
    let [_, s, num_kv_heads, _] = dims(qkv.k);
    let q = grouped(qkv.q, num_kv_heads);
    let k = grouped(qkv.k, num_kv_heads);
    let scores = q.matmul(&k.transpose(-2, -1)) * scale(head_dim);
    let mask = match visibility {
        Visibility::All => return scores,
        Visibility::Causal => causal_mask(t, s, qkv.q.device()),
        Visibility::Masked(mask) => mask.shallow_clone(),
    };
    scores.masked_fill(&mask.logical_not(), f64::NEG_INFINITY)
}

impl Backend for Reference {
    fn name(&self) -> &'static str {
        "reference"
    }

    fn forward(&self, qkv: Qkv, visibility: Visibility) -> Attended {
        let [_, _, num_kv_heads, _] = dims(qkv.v);
        let scores = scores(qkv, visibility);
        let lse = scores.logsumexp([-1], true);
        let out = (scores - &lse).exp().matmul(&grouped(qkv.v, num_kv_heads));
        let lse = lse.squeeze_dim(-1).flatten(1, 2);
        Attended {
            out: ungrouped(&out).to_kind(qkv.q.kind()),
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
        let scores = scores(qkv, visibility);
        let [b, num_kv_heads, group, t, _] = dims(&scores);
        let lse = attended.lse.view([b, num_kv_heads, group, t, 1]);
        let p = (scores - lse).exp();
        let dout = grouped(dout, num_kv_heads);
        let (q, k, v) = (
            grouped(qkv.q, num_kv_heads),
            grouped(qkv.k, num_kv_heads),
            grouped(qkv.v, num_kv_heads),
        );
        let [_, _, _, head_dim] = dims(qkv.q);
        let d = (&dout * grouped(&attended.out, num_kv_heads)).sum_dim_intlist(-1, true, None);
        let ds = (dout.matmul(&v.transpose(-2, -1)) - d) * &p * scale(head_dim);
        let over_group =
            |x: Tensor| ungrouped(&x.sum_dim_intlist(2, true, None)).to_kind(qkv.k.kind());
        InputGrads {
            dq: ungrouped(&ds.matmul(&k)).to_kind(qkv.q.kind()),
            dk: over_group(ds.transpose(-2, -1).matmul(&q)),
            dv: over_group(p.transpose(-2, -1).matmul(&dout)),
        }
    }
}
