//! Attention on the CPU by a kernel of our own: full, streaming, or both in one pass over the keys; forward and backward.
//!
//! Start reading at `forward`. Tiles of queries and keys (`problem`) are multiplied in registers (`product`); what a tile sees is
//! asked once (`seen`), and tiles that see nothing cost nothing, so a streaming head costs its sinks and window. The queries of a
//! group are rows of one tile: a kv head's keys are read once for all of them.
//!
//! f32 inside. bf16 is widened, f64 is not taken. No scores longer than a tile exist.
//!
//! # Decisions
//! libtorch's flash attention calls a matrix product per tile that packs its operands anew each time; here they are laid out once
//! a head. Products, softmax and masks are written over pulp's registers, which the processor chooses at run time: AVX-512, AVX2,
//! NEON, or plain numbers.
//! Outputs of a bf16 layer with a gate inside (0, 1) stay f32 until they are mixed: a gate's gradient sums `dO * (O_F - O_T)`, where
//! rounding of either output weighs more the less the branches differ. On a small model of random bf16 weights its largest error
//! against f64 was 7.6e-3 of the largest gradient with rounded outputs and is 4.3e-3 with f32 ones; libtorch's flash attention has
//! 5.6e-3 (12 gates, one row of 400 tokens; `the_fused_kernels_gate_gradients_in_bf16_are_no_worse_than_libtorchs`). They take twice
//! the memory. Nothing is kept in f32 once every gate is 0 or 1.
//! `p_F` and `p_T` of a mixed head are two exponentials, not one times `exp(lse_F - lse_T)`: that factor has no bound.

mod backward;
mod buffer;
mod forward;
mod panels;
mod problem;
mod product;
mod seen;
mod share;

use super::cpu_flash::CpuFlash;
use super::{Attended, Backend, InputGrads, Mixed, Qkv, Visibility, scale};
use crate::torch::host_view::with_f32;
use backward::Saved;
use forward::Branch;
use problem::{Dense, Problem, Shares, Sizes};
use pulp::Arch;
use tch::{Device, Kind, Tensor};

/// The kernel of this module; what it does not take goes to libtorch's flash attention ([`CpuFlash`]).
#[derive(Debug, Clone, Copy)]
pub struct CpuFused {
    arch: Arch,
}

impl Default for CpuFused {
    /// With the widest registers of this processor.
    fn default() -> Self {
        Self { arch: Arch::new() }
    }
}

/// Operands as the kernel reads them: whole, f32, on the CPU.
struct Operands {
    tensors: [Tensor; 3],
    sizes: Sizes,
    kind: Kind,
    arch: Arch,
}

impl Operands {
    /// `None` for another device or dtype, or where there is nothing to attend to.
    fn new(qkv: Qkv, arch: Arch) -> Option<Self> {
        let (b, t, h, d, s, num_kv_heads) = qkv.dims().ok()?;
        let kind = qkv.q.kind();
        let is_taken = qkv.q.device() == Device::Cpu && CpuFused::takes(kind);
        if !is_taken || [b, t, h, d, s].contains(&0) {
            return None;
        }
        let size = |x: i64| usize::try_from(x).ok();
        Some(Self {
            tensors: [qkv.q, qkv.k, qkv.v].map(plain),
            sizes: Sizes {
                batch: size(b)?,
                num_queries: size(t)?,
                num_keys: size(s)?,
                num_kv_heads: size(num_kv_heads)?,
                group: size(h / num_kv_heads)?,
                head_dim: size(d)?,
            },
            kind,
            arch,
        })
    }

    /// Whether they are whole documents under a gate for each kv head: what both branches in one pass are defined for.
    fn are_whole(&self, mixed: &Mixed) -> bool {
        let sizes = self.sizes;
        let has_gates = mixed.z.len() == sizes.num_kv_heads;
        sizes.num_queries == sizes.num_keys && has_gates && mixed.is_decided()
    }

    /// Shows `solve` the problem; `extra` tensors are made plain too.
    fn solve<const N: usize, R>(
        &self,
        dense: Dense,
        mixed: &Mixed,
        extra: [&Tensor; N],
        solve: impl FnOnce(&Problem, [&[f32]; N]) -> R,
    ) -> Option<R> {
        let shares: Vec<Shares> = mixed.z.iter().map(|z| Shares::of(*z)).collect();
        let [q, k, v] = &self.tensors;
        let extra = extra.map(plain);
        with_f32([q, k, v], |[q, k, v]| {
            let problem = Problem {
                sizes: self.sizes,
                q: q.values(),
                k: k.values(),
                v: v.values(),
                dense,
                span: mixed.span,
                shares: &shares,
                scale: scale_of(self.sizes.head_dim),
                arch: self.arch,
            };
            with_f32(extra.each_ref(), |views| {
                solve(&problem, views.map(|view| view.values()))
            })
        })
        .flatten()
    }

    /// A branch as tensors, outputs in `kind`.
    fn attended(&self, branch: &Branch, kind: Kind) -> Attended {
        let [b, t, d] = [
            self.sizes.batch,
            self.sizes.num_queries,
            self.sizes.head_dim,
        ]
        .map(signed);
        let lse = Tensor::from_slice(&branch.lse).view([b, t, -1]);
        Attended {
            out: Tensor::from_slice(&branch.out)
                .view([b, t, -1, d])
                .to_kind(kind),
            lse: lse.transpose(1, 2).contiguous(),
        }
    }

    /// Gradients as tensors.
    fn grads(&self, grads: &backward::Grads) -> InputGrads {
        let like = |numbers: &[f32], x: &Tensor| {
            let grad = Tensor::from_slice(numbers).view(x.size().as_slice());
            grad.to_kind(self.kind)
        };
        let [q, k, v] = &self.tensors;
        InputGrads {
            dq: like(&grads.dq, q),
            dk: like(&grads.dk, k),
            dv: like(&grads.dv, v),
        }
    }
}

impl Shares {
    /// A share that f32 would round to nothing stays a share: which branches a head has is decided by the gate.
    #[expect(clippy::cast_possible_truncation, reason = "a factor of f32 products")]
    fn of(z: f64) -> Self {
        let share = |share: f64| match share as f32 {
            rounded if share > 0.0 => rounded.max(f32::MIN_POSITIVE),
            _ => 0.0,
        };
        Self {
            full: share(z),
            streaming: share(1.0 - z),
        }
    }
}

/// The tensor whole and in f32.
fn plain(x: &Tensor) -> Tensor {
    x.to_kind(Kind::Float).contiguous()
}

#[expect(clippy::cast_possible_truncation, reason = "a factor of f32 products")]
fn scale_of(head_dim: usize) -> f32 {
    scale(signed(head_dim)) as f32
}

fn signed(size: usize) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

/// The visibility of a dense problem, if the kernel knows it.
fn dense(visibility: Visibility, sizes: &Sizes) -> Option<Dense> {
    match visibility {
        Visibility::All => Some(Dense::All),
        Visibility::Causal if sizes.num_queries <= sizes.num_keys => Some(Dense::Causal),
        Visibility::Window(len) if sizes.num_queries <= sizes.num_keys => {
            Some(Dense::Window(usize::try_from(len).ok()?))
        }
        Visibility::Causal | Visibility::Window(_) | Visibility::Masked(_) => None,
    }
}

/// Every kv head with the full branch alone.
fn only_full(num_kv_heads: usize) -> Vec<f64> {
    vec![1.0; num_kv_heads]
}

impl CpuFused {
    /// Whether it computes in `kind`.
    pub fn takes(kind: Kind) -> bool {
        [Kind::Float, Kind::BFloat16].contains(&kind)
    }

    fn dense_forward(self, qkv: Qkv, visibility: Visibility) -> Option<Attended> {
        let operands = Operands::new(qkv, self.arch)?;
        let dense = dense(visibility, &operands.sizes)?;
        let mixed = Mixed {
            z: &only_full(operands.sizes.num_kv_heads),
            span: None,
        };
        let [full, _] =
            operands.solve(dense, &mixed, [], |problem, []| forward::forward(problem))?;
        Some(operands.attended(&full?, operands.kind))
    }

    fn dense_backward(
        self,
        dout: &Tensor,
        qkv: Qkv,
        attended: &Attended,
        visibility: Visibility,
    ) -> Option<InputGrads> {
        let operands = Operands::new(qkv, self.arch)?;
        let dense = dense(visibility, &operands.sizes)?;
        let mixed = Mixed {
            z: &only_full(operands.sizes.num_kv_heads),
            span: None,
        };
        let extra = [dout, &attended.out, &attended.lse];
        let grads = operands.solve(dense, &mixed, extra, |problem, [dout, out, lse]| {
            backward::backward(problem, dout, [Some(Saved { out, lse }), None])
        })?;
        Some(operands.grads(&grads))
    }
}

impl Backend for CpuFused {
    fn name(&self) -> &'static str {
        "cpu-fused"
    }

    fn forward(&self, qkv: Qkv, visibility: Visibility) -> Attended {
        let one_query = qkv.q.size().get(1) == Some(&1);
        let ours = || self.dense_forward(qkv, visibility);
        let found = if one_query { None } else { ours() };
        found.unwrap_or_else(|| CpuFlash.forward(qkv, visibility))
    }

    fn backward(
        &self,
        dout: &Tensor,
        qkv: Qkv,
        attended: &Attended,
        visibility: Visibility,
    ) -> InputGrads {
        self.dense_backward(dout, qkv, attended, visibility)
            .unwrap_or_else(|| CpuFlash.backward(dout, qkv, attended, visibility))
    }

    fn forward_mixed(&self, qkv: Qkv, mixed: &Mixed) -> Option<[Option<Attended>; 2]> {
        let operands =
            Operands::new(qkv, self.arch).filter(|operands| operands.are_whole(mixed))?;
        let branches = operands.solve(Dense::Causal, mixed, [], |problem, []| {
            forward::forward(problem)
        })?;
        let is_inside = |z: &f64| *z > 0.0 && *z < 1.0;
        let kind = if mixed.z.iter().any(is_inside) {
            Kind::Float
        } else {
            operands.kind
        };
        Some(branches.map(|branch| branch.map(|branch| operands.attended(&branch, kind))))
    }

    fn backward_mixed(
        &self,
        dout: &Tensor,
        qkv: Qkv,
        mixed: &Mixed,
        [full, streaming]: [Option<&Attended>; 2],
    ) -> Option<InputGrads> {
        let operands =
            Operands::new(qkv, self.arch).filter(|operands| operands.are_whole(mixed))?;
        // A branch that no head has stands as the other one: nothing reads it.
        let [some_full, some_streaming] = [full.or(streaming)?, streaming.or(full)?];
        let extra = [
            dout,
            &some_full.out,
            &some_full.lse,
            &some_streaming.out,
            &some_streaming.lse,
        ];
        let grads = operands.solve(
            Dense::Causal,
            mixed,
            extra,
            |problem, [dout, out, lse, out_t, lse_t]| {
                let full = full.map(|_| Saved { out, lse });
                let streaming = streaming.map(|_| Saved {
                    out: out_t,
                    lse: lse_t,
                });
                backward::backward(problem, dout, [full, streaming])
            },
        )?;
        Some(operands.grads(&grads))
    }
}

#[cfg(test)]
mod tests;
