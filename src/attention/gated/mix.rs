//! The mix itself and what goes back through it: the gates' gradients, by a kernel where one is in use, else by operators.

use super::{ActiveHeads, Branches, Wanted};
use crate::attention::heads::scale_heads;
use crate::attention::{Attended, wide};
use crate::cuda::active;
use crate::cuda::gate_mix::{self, BranchGrads};
use crate::cuda::runner::Kernels;
use tch::{Device, Kind, Tensor};

/// `z O_F + (1 - z) O_T`, `[B, T, H, D]` in the dtype and on the device of `q`.
pub(super) fn mix(branches: &Branches, active: &ActiveHeads, q: &Tensor, z: &[f64]) -> Tensor {
    match (&branches.full, &branches.streaming) {
        (Some(only), None) | (None, Some(only)) => only.out.to_kind(q.kind()),
        _ => match kernels(q, z) {
            Some(kernels) => {
                active::done(branches.with_outputs(|outputs| gate_mix::mix(kernels, outputs, z, q)))
            }
            None => mix_by_operators(branches, active, q, z),
        },
    }
}

/// The kernels in use on `x`, if they take gates for so many heads.
fn kernels(x: &Tensor, z: &[f64]) -> Option<&'static Kernels> {
    active::kernels(x).filter(|_| gate_mix::takes(z.len()))
}

fn mix_by_operators(branches: &Branches, active: &ActiveHeads, q: &Tensor, z: &[f64]) -> Tensor {
    let saved = branches.full.as_ref().or(branches.streaming.as_ref());
    let kind = saved.map_or(q.kind(), |branch| branch.out.kind());
    let out = Tensor::zeros(q.size(), (kind, q.device()));
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
    out.to_kind(q.kind())
}

impl Branches {
    /// Shows `read` the branches' outputs as kernels take them.
    fn with_outputs<R>(&self, read: impl FnOnce(gate_mix::Branches) -> R) -> R {
        let output = |branch: &Option<Attended>| branch.as_ref().map(|part| part.out.contiguous());
        let (full, streaming) = (output(&self.full), output(&self.streaming));
        read(gate_mix::Branches {
            full: full.as_ref(),
            streaming: streaming.as_ref(),
        })
    }
}

/// What a backward pass starts with: the gates' gradients, and each branch's output gradient where a kernel gave it along.
pub(super) struct Shares {
    pub(super) dz: Vec<f64>,
    pub(super) full: Option<Tensor>,
    pub(super) streaming: Option<Tensor>,
}

impl Shares {
    pub(super) fn new(
        dout: &Tensor,
        z: &[f64],
        branches: &Branches,
        active: &ActiveHeads,
        wanted: Wanted,
    ) -> Self {
        if let Some(known) = Self::of_ends(dout, z, branches, wanted) {
            return known;
        }
        let Some(kernels) = kernels(dout, z) else {
            return Self {
                dz: gate_grads(dout, z, branches, active),
                full: None,
                streaming: None,
            };
        };
        let wanted = match wanted {
            Wanted::Gates => BranchGrads::Unwanted,
            Wanted::GatesAndInputs => BranchGrads::Wanted,
        };
        let grads = branches.with_outputs(|outputs| {
            gate_mix::backward(kernels, &dout.contiguous(), outputs, z, wanted)
        });
        let grads = active::done(grads);
        Self {
            dz: grads.dz,
            full: grads.dfull,
            streaming: grads.dstreaming,
        }
    }

    /// Where every gate is 0 or 1 there is nothing to sum; one branch alone has the mix's gradient.
    fn of_ends(dout: &Tensor, z: &[f64], branches: &Branches, wanted: Wanted) -> Option<Self> {
        let has = [&branches.full, &branches.streaming].map(Option::is_some);
        let is_alone = has[0] != has[1];
        let is_needed = z.iter().any(|z| *z > 0.0 && *z < 1.0) || wanted != Wanted::Gates;
        let of = |has: bool| (is_alone && has).then(|| dout.shallow_clone());
        (is_alone || !is_needed).then(|| Self {
            dz: vec![0.0; z.len()],
            full: of(has[0]),
            streaming: of(has[1]),
        })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attention::gated::scaled;
    use crate::attention::testing::{Naive, normal, relative_error};
    use crate::cuda::testing::{allowing, on_every_device, started};

    /// Gates of every kind, and how many heads serve each.
    const LAYERS: [(&[f64], i64); 5] = [
        (&[0.3], 1),
        (&[0.0, 1.0, 0.25], 2),
        (&[0.999_999_999, 0.5, 0.0, 0.75], 3),
        (&[1.0, 1.0, 0.5], 1),
        (&[0.0, 0.0], 4),
    ];

    /// A layer between its branches' outputs and its mixed output, `[B, T, H, D]`.
    struct Layer {
        z: &'static [f64],
        group: i64,
        size: [i64; 4],
    }

    impl Layer {
        fn count(&self, pick: impl Fn(f64) -> bool) -> i64 {
            let picked = self.z.iter().filter(|z| pick(**z)).count();
            i64::try_from(picked).unwrap() * self.group
        }

        /// Outputs of the two branches, and a gradient of their mix.
        fn exact(&self) -> [Tensor; 3] {
            let [batch, num_tokens, num_heads, head_dim] = self.size;
            let heads = [self.count(|z| z > 0.0), self.count(|z| z < 1.0), num_heads];
            [0, 1, 2].map(|index: usize| {
                normal(index as u64, &[batch, num_tokens, heads[index], head_dim])
            })
        }

        /// Everything that this file computes of them: mix, output gradients of both branches, dz.
        fn of(&self, [full, streaming, dout]: &[Tensor; 3]) -> [Tensor; 4] {
            let branch = |out: &Tensor| {
                (out.numel() > 0).then(|| Attended {
                    out: out.shallow_clone(),
                    lse: Tensor::new(),
                })
            };
            let branches = Branches {
                full: branch(full),
                streaming: branch(streaming),
            };
            let active = ActiveHeads::new(self.z, dout.device());
            let wanted = Wanted::GatesAndInputs;
            let shares = Shares::new(dout, self.z, &branches, &active, wanted);
            let gates_only = Shares::new(dout, self.z, &branches, &active, Wanted::Gates);
            assert_eq!(gates_only.dz, shares.dz);
            let grad =
                |given: Option<Tensor>, out: &Tensor, heads, share: &dyn Fn(usize) -> f64| {
                    if out.numel() == 0 {
                        assert!(given.is_none());
                        return out.zeros_like();
                    }
                    given.unwrap_or_else(|| scaled(heads, dout, share))
                };
            let full = grad(shares.full, full, &active.full, &|head| self.z[head]);
            let rest = |head: usize| 1.0 - self.z[head];
            let streaming = grad(shares.streaming, streaming, &active.streaming, &rest);
            let out = mix(&branches, &active, dout, self.z);
            [out, full, streaming, Tensor::from_slice(&shares.dz)]
        }
    }

    #[test]
    fn the_kernels_are_as_good_as_libtorchs_operators() {
        on_every_device(|kernels, device| {
            for (z, group) in LAYERS {
                let num_heads = i64::try_from(z.len()).unwrap() * group;
                // Whole packs and not; batches; more rows than thread blocks and than a strip.
                for (batch, num_tokens, head_dim) in [(1, 5, 16), (2, 3, 7), (1, 130, 8)] {
                    let size = [batch, num_tokens, num_heads, head_dim];
                    let layer = Layer { z, group, size };
                    for kind in [Kind::Float, Kind::BFloat16] {
                        let what = |name: &str| format!("{name} {z:?} {size:?} {kind:?}");
                        let naive = Naive::new(&layer.exact(), kind, device, |x| layer.of(x));
                        let found = allowing(kernels, || layer.of(&naive.inputs));
                        // One branch alone is the mix.
                        let is_alone = z.iter().all(|gate| *gate == 0.0);
                        assert_eq!(started().is_empty(), is_alone, "{}", what("kernels"));
                        for ((index, found), name) in
                            (0..3).zip(&found).zip(["mix", "full", "streaming"])
                        {
                            naive.assert_no_worse(index, found, &what(name));
                        }
                        // Products in f32 and their sum in f64, here as there; the order differs.
                        let [_, _, _, same_sums] = layer.of(&naive.inputs);
                        let error = relative_error(&found[3], &same_sums);
                        assert!(error <= 1e-10, "{}: {error:e}", what("dz"));
                    }
                }
            }
        });
    }
}
