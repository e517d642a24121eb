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

/// [`causal_mask`] without the keys before the `window_len` most recent ones, `[T, S]`, true = visible.
///
/// # Shapes
/// Returns `[T, S]`.
pub fn window_mask(
    num_queries: i64,
    num_keys: i64,
    window_len: i64,
    device: tch::Device,
) -> Tensor {
    causal_mask(num_queries, num_keys, device).triu(num_keys - num_queries - window_len + 1)
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
        Visibility::Window(window_len) => window_mask(t, s, window_len, qkv.q.device()),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attention::testing::{Naive, normal};
    use crate::cuda::streaming_decode;
    use crate::cuda::testing::on_every_device;

    /// One query per head over every row: out `[H, D]` and lse `[H]`.
    fn decoded([q, k, v]: &[Tensor; 3]) -> [Tensor; 2] {
        let [q, k, v] =
            [q.unsqueeze(0), k.shallow_clone(), v.shallow_clone()].map(|x| x.unsqueeze(0));
        let qkv = Qkv {
            q: &q,
            k: &k,
            v: &v,
        };
        let attended = Reference.forward(qkv, Visibility::All);
        let lse = attended.lse.squeeze();
        [attended.out.squeeze_dim(0).squeeze_dim(0), lse.view([-1])]
    }

    #[test]
    fn the_decode_kernel_is_as_good_as_the_reference() {
        on_every_device(|kernels, device| {
            // Rows: one, whole splits, one more and less. Heads: narrow, odd, wide; groups of one piece and of several.
            for (num_rows, num_kv_heads, group, head_dim) in [
                (1, 1, 1, 1),
                (127, 2, 1, 7),
                (128, 1, 4, 64),
                (129, 2, 3, 32),
                (300, 3, 2, 17),
                (40, 1, 20, 8),
                (9, 1, 3, 2048),
            ] {
                let rows = [num_rows + 5, num_kv_heads + 1, head_dim];
                let part = |x: Tensor| x.narrow(0, 2, num_rows).narrow(1, 1, num_kv_heads);
                let exact = [
                    normal(1, &[num_kv_heads * group, head_dim]),
                    part(normal(2, &rows)),
                    part(normal(3, &rows)),
                ];
                for kind in [Kind::Float, Kind::BFloat16] {
                    let what =
                        format!("{num_rows} rows, {num_kv_heads} x {group} x {head_dim} {kind:?}");
                    let naive = Naive::new(&exact, kind, device, decoded);
                    // Rows and heads of a larger cache, as a ring gives them.
                    let [q, k, v] = &naive.inputs;
                    let [k, v] = [k, v].map(|x| {
                        let around = Tensor::full(rows, f64::NAN, (kind, device));
                        part(around.shallow_clone()).copy_(x);
                        part(around)
                    });
                    let found = streaming_decode::attend(kernels, q, &k, &v).unwrap();
                    naive.assert_no_worse(0, &found.out, &format!("out of {what}"));
                    naive.assert_no_worse(1, &found.lse, &format!("lse of {what}"));
                }
            }
        });
    }
}
