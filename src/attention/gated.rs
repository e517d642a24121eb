//! The gated mix of full and streaming attention, with exact head skipping.
//!
//! `O = z * O_F + (1 - z) * O_T` per kv head (PruLong, arXiv 2506.17121). With `D_X = rowsum(dO * O_X)`:
//! `dz = sum over rows and the group's heads of (D_F - D_T)`; branch F is an ordinary backward with `z * dO`, branch T with
//! `(1 - z) * dO`.
//!
//! # Decisions
//! A head with `z = 0` needs neither forward nor backward of the full branch and one with `z = 1` neither of the streaming
//! branch, and the clamp's derivative makes `dz` irrelevant there: those heads are skipped, and their `dz` is reported as 0.
//! A test compares with the unskipped mix.

use super::heads::{HeadSet, scale_heads};
use super::{Attended, Backend, InputGrads, Qkv, Visibility, streaming, wide};
use crate::span::Span;
use tch::{Device, Kind, Tensor};

/// What stays the same for every layer of a run.
#[derive(Clone, Copy)]
pub struct GatedAttention<'a> {
    /// Solves the dense problems.
    pub backend: &'a dyn Backend,
    /// What streaming heads see; `None` if every head is a retrieval head.
    pub span: Option<&'a Span>,
}

/// Outputs of the two branches over their active heads, kept for the backward pass.
#[derive(Debug, Default)]
pub struct Branches {
    full: Option<Attended>,
    streaming: Option<Attended>,
}

/// Which gradients a backward pass has to produce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Gates only: nothing below this layer trains.
    Gates,
    /// Gates, and queries, keys and values.
    GatesAndInputs,
}

/// Gradients of a gated attention.
#[derive(Debug)]
pub struct GatedGrads {
    /// Gradients of q, k, v, if wanted.
    pub inputs: Option<InputGrads>,
    /// dL/dz per kv head, `[K]`, f64 on the host; exactly 0 for gates at 0 or 1.
    pub dz: Vec<f64>,
}

struct ActiveHeads {
    full: HeadSet,
    streaming: HeadSet,
}

impl ActiveHeads {
    fn new(z: &[f64], device: Device) -> Self {
        Self {
            full: HeadSet::of(z, device, |z| z > 0.0),
            streaming: HeadSet::of(z, device, |z| z < 1.0),
        }
    }
}

impl GatedAttention<'_> {
    /// Mixed attention output `[B, T, H, D]` of whole documents, and what [`Self::backward`] needs.
    ///
    /// # Shapes
    /// `qkv` `[B, T, H | K, D]`, every batch entry one document; `z`: one gate in [0, 1] per kv head.
    pub fn forward(&self, qkv: Qkv, z: &[f64]) -> (Tensor, Branches) {
        let active = ActiveHeads::new(z, qkv.q.device());
        let branches = Branches {
            full: run(&active.full, qkv, |part| {
                self.backend.forward(part, Visibility::Causal)
            }),
            streaming: run(&active.streaming, qkv, |part| self.stream(part)),
        };
        (mix(&branches, &active, qkv.q, z), branches)
    }

    /// Gradients for the gradient `dout` `[B, T, H, D]` of the mixed output.
    ///
    /// # Shapes
    /// As [`Self::forward`], with the same `z` and the branches it returned.
    pub fn backward(
        &self,
        dout: &Tensor,
        qkv: Qkv,
        z: &[f64],
        branches: &Branches,
        wanted: Wanted,
    ) -> GatedGrads {
        let active = ActiveHeads::new(z, dout.device());
        let dz = gate_grads(dout, z, branches, &active);
        if wanted == Wanted::Gates {
            return GatedGrads { inputs: None, dz };
        }
        let full = branches.full.as_ref().map(|saved| {
            let part = scaled_part(&active.full, dout, qkv, |head| z[head]);
            self.backend
                .backward(&part.dout, part.qkv(), saved, Visibility::Causal)
        });
        let streaming = branches.streaming.as_ref().map(|saved| {
            let part = scaled_part(&active.streaming, dout, qkv, |head| 1.0 - z[head]);
            match self.span {
                Some(span) => {
                    streaming::backward(self.backend, &part.dout, part.qkv(), saved, span)
                }
                None => self
                    .backend
                    .backward(&part.dout, part.qkv(), saved, Visibility::Causal),
            }
        });
        let inputs = combine(qkv, &[(&active.full, full), (&active.streaming, streaming)]);
        GatedGrads {
            inputs: Some(inputs),
            dz,
        }
    }

    fn stream(&self, part: Qkv) -> Attended {
        match self.span {
            Some(span) => streaming::forward(self.backend, part, span),
            None => self.backend.forward(part, Visibility::Causal),
        }
    }
}

/// One branch over its heads, or nothing if it has none.
fn run(heads: &HeadSet, qkv: Qkv, solve: impl Fn(Qkv) -> Attended) -> Option<Attended> {
    if heads.is_empty() {
        return None;
    }
    let (q, k, v) = (
        heads.select(qkv.q),
        heads.select(qkv.k),
        heads.select(qkv.v),
    );
    Some(solve(Qkv {
        q: &q,
        k: &k,
        v: &v,
    }))
}

fn mix(branches: &Branches, active: &ActiveHeads, q: &Tensor, z: &[f64]) -> Tensor {
    match (&branches.full, &branches.streaming) {
        (Some(only), None) | (None, Some(only)) => only.out.shallow_clone(),
        _ => {
            let out = Tensor::zeros(q.size(), (q.kind(), q.device()));
            let parts = [
                (&active.full, &branches.full),
                (&active.streaming, &branches.streaming),
            ];
            for (is_streaming, (heads, part)) in parts.into_iter().enumerate() {
                if let Some(part) = part {
                    let share = |head: usize| {
                        if is_streaming == 1 {
                            1.0 - z[head]
                        } else {
                            z[head]
                        }
                    };
                    let weights = heads.weights(share, &part.out);
                    heads.add_into(&out, &scale_heads(&part.out, &weights));
                }
            }
            out
        }
    }
}

/// `sum(D_F - D_T)` for the gates strictly inside (0, 1).
fn gate_grads(dout: &Tensor, z: &[f64], branches: &Branches, active: &ActiveHeads) -> Vec<f64> {
    let mut dz = vec![0.0; z.len()];
    if !z.iter().any(|z| *z > 0.0 && *z < 1.0) {
        return dz;
    }
    let parts = [
        (1.0, &active.full, &branches.full),
        (-1.0, &active.streaming, &branches.streaming),
    ];
    for (sign, heads, part) in parts {
        let Some(part) = part else { continue };
        let products = row_products(&heads.select(dout), &part.out, heads.heads().len());
        for (head, product) in heads.heads().iter().zip(products) {
            let Ok(head) = usize::try_from(*head) else {
                continue;
            };
            if z[head] > 0.0 && z[head] < 1.0 {
                dz[head] += sign * product;
            }
        }
    }
    dz
}

/// `sum(dO * O)` per kv head, in f32 or wider, then f64.
fn row_products(dout: &Tensor, out: &Tensor, num_heads: usize) -> Vec<f64> {
    let kind = wide(dout.kind());
    let dims = dout.size();
    let num_heads = i64::try_from(num_heads).unwrap_or(1);
    let product = dout.to_kind(kind) * out.to_kind(kind);
    let product = product.reshape([dims[0], dims[1], num_heads, -1]);
    let sums = product.sum_dim_intlist([0, 1, 3].as_slice(), false, Kind::Double);
    Vec::<f64>::try_from(sums.to_device(Device::Cpu)).unwrap_or_default()
}

/// One branch's inputs: its heads of q, k, v and of the output gradient scaled by the branch's share.
struct Part {
    dout: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
}

impl Part {
    fn qkv(&self) -> Qkv<'_> {
        Qkv {
            q: &self.q,
            k: &self.k,
            v: &self.v,
        }
    }
}

fn scaled_part(heads: &HeadSet, dout: &Tensor, qkv: Qkv, share: impl Fn(usize) -> f64) -> Part {
    let dout = heads.select(dout);
    let weights = heads.weights(share, &dout);
    Part {
        dout: scale_heads(&dout, &weights),
        q: heads.select(qkv.q),
        k: heads.select(qkv.k),
        v: heads.select(qkv.v),
    }
}

/// Adds both branches' gradients into full-size tensors.
fn combine(qkv: Qkv, parts: &[(&HeadSet, Option<InputGrads>); 2]) -> InputGrads {
    if let [(heads, Some(only)), (_, None)] | [(_, None), (heads, Some(only))] = parts
        && heads.is_all()
    {
        return InputGrads {
            dq: only.dq.shallow_clone(),
            dk: only.dk.shallow_clone(),
            dv: only.dv.shallow_clone(),
        };
    }
    let zeros = |x: &Tensor| Tensor::zeros(x.size(), (x.kind(), x.device()));
    let sum = InputGrads {
        dq: zeros(qkv.q),
        dk: zeros(qkv.k),
        dv: zeros(qkv.v),
    };
    for (heads, grads) in parts {
        if let Some(grads) = grads {
            heads.add_into(&sum.dq, &grads.dq);
            heads.add_into(&sum.dk, &grads.dk);
            heads.add_into(&sum.dv, &grads.dv);
        }
    }
    sum
}
