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

mod mix;

use super::heads::{HeadSet, scale_heads};
use super::{Attended, Backend, InputGrads, Mixed, Qkv, Visibility, streaming};
use crate::profile::recorder;
use crate::profile::span::{Part, Pass};
use crate::span::Span;
use mix::{Shares, mix};
use tch::{Device, Tensor};

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

impl Branches {
    /// The same with every tensor replaced by what `place` makes of it.
    ///
    /// # Shapes
    /// `place` keeps them.
    #[must_use]
    pub fn map(self, place: &impl Fn(&Tensor) -> Tensor) -> Self {
        Self {
            full: self.full.map(|attended| attended.map(place)),
            streaming: self.streaming.map(|attended| attended.map(place)),
        }
    }
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

impl Branches {
    /// Some of the heads of branches that have all of them.
    pub(super) fn select(&self, heads: &HeadSet) -> Self {
        let part = |branch: &Option<Attended>| {
            branch.as_ref().map(|attended| Attended {
                // Some backends return a transposed view.
                out: heads.select(&attended.out.contiguous()),
                lse: heads.select_lse(&attended.lse),
            })
        };
        Self {
            full: part(&self.full),
            streaming: part(&self.streaming),
        }
    }
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
        let mixed = Mixed { z, span: self.span };
        let together = recorder::tried(Part::Fused, Pass::Forward, &[qkv.q, qkv.k], || {
            self.backend.forward_mixed(qkv, &mixed)
        });
        let branches = match together {
            Some([full, streaming]) => Branches { full, streaming },
            None => self.forward_in_turn(qkv, &active),
        };
        let out = recorder::forward(Part::Mix, &[qkv.q], || mix(&branches, &active, qkv.q, z));
        (out, branches)
    }

    /// The mixed output again, from the branches that [`Self::forward`] returned.
    ///
    /// # Shapes
    /// As there; of `q` only shape, dtype and device count.
    pub fn mixed(&self, q: &Tensor, z: &[f64], branches: &Branches) -> Tensor {
        let active = ActiveHeads::new(z, q.device());
        recorder::forward(Part::Mix, &[q], || mix(branches, &active, q, z))
    }

    /// One branch after the other.
    fn forward_in_turn(&self, qkv: Qkv, active: &ActiveHeads) -> Branches {
        Branches {
            full: run(Part::Full, &active.full, qkv, |part| {
                self.backend.forward(part, Visibility::Causal)
            }),
            streaming: run(Part::Streaming, &active.streaming, qkv, |part| {
                self.stream(part)
            }),
        }
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
        let Shares {
            dz,
            full,
            streaming,
        } = recorder::backward(Part::Mix, &[dout], || {
            Shares::new(dout, z, branches, &active, wanted)
        });
        if wanted == Wanted::Gates {
            return GatedGrads { inputs: None, dz };
        }
        let mixed = Mixed { z, span: self.span };
        let attended = [&branches.full, &branches.streaming].map(Option::as_ref);
        let together = recorder::tried(Part::Fused, Pass::Backward, &[dout, qkv.k], || {
            self.backend.backward_mixed(dout, qkv, &mixed, attended)
        });
        let inputs = together.unwrap_or_else(|| {
            let douts = (dout, [full, streaming]);
            self.backward_in_turn(douts, qkv, z, (branches, &active))
        });
        GatedGrads {
            inputs: Some(inputs),
            dz,
        }
    }

    /// One branch after the other; each scales its heads of `dout` where that has not been done.
    fn backward_in_turn(
        &self,
        (dout, [full, streaming]): (&Tensor, [Option<Tensor>; 2]),
        qkv: Qkv,
        z: &[f64],
        (branches, active): (&Branches, &ActiveHeads),
    ) -> InputGrads {
        let full = branches.full.as_ref().map(|saved| {
            recorder::backward(Part::Full, &[&saved.out], || {
                let computed = || scaled(&active.full, dout, |head| z[head]);
                let part = BranchInputs::new(&active.full, qkv, full, computed);
                self.backend
                    .backward(&part.dout, part.qkv(), saved, Visibility::Causal)
            })
        });
        let streaming = branches.streaming.as_ref().map(|saved| {
            recorder::backward(Part::Streaming, &[&saved.out], || {
                let computed = || scaled(&active.streaming, dout, |head| 1.0 - z[head]);
                let part = BranchInputs::new(&active.streaming, qkv, streaming, computed);
                self.stream_back(&part, saved)
            })
        });
        recorder::backward(Part::Mix, &[dout], || {
            combine(qkv, &[(&active.full, full), (&active.streaming, streaming)])
        })
    }

    fn stream_back(&self, part: &BranchInputs, saved: &Attended) -> InputGrads {
        match self.span {
            Some(span) => streaming::backward(self.backend, &part.dout, part.qkv(), saved, span),
            None => self
                .backend
                .backward(&part.dout, part.qkv(), saved, Visibility::Causal),
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
fn run(part: Part, heads: &HeadSet, qkv: Qkv, solve: impl Fn(Qkv) -> Attended) -> Option<Attended> {
    if heads.is_empty() {
        return None;
    }
    let attended = recorder::forward(part, &[qkv.q, qkv.k], || {
        let (q, k, v) = (
            heads.select(qkv.q),
            heads.select(qkv.k),
            heads.select(qkv.v),
        );
        solve(Qkv {
            q: &q,
            k: &k,
            v: &v,
        })
    });
    Some(attended)
}

/// One branch's inputs: its heads of q, k, v and of the output gradient scaled by the branch's share.
struct BranchInputs {
    dout: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
}

impl BranchInputs {
    fn qkv(&self) -> Qkv<'_> {
        Qkv {
            q: &self.q,
            k: &self.k,
            v: &self.v,
        }
    }
}

impl BranchInputs {
    /// The heads of `qkv`, and their output gradient: `given`, or what `computed` makes.
    fn new(
        heads: &HeadSet,
        qkv: Qkv,
        given: Option<Tensor>,
        computed: impl FnOnce() -> Tensor,
    ) -> Self {
        Self {
            dout: given.unwrap_or_else(computed),
            q: heads.select(qkv.q),
            k: heads.select(qkv.k),
            v: heads.select(qkv.v),
        }
    }
}

/// The heads of `dout`, each times its share.
fn scaled(heads: &HeadSet, dout: &Tensor, share: impl Fn(usize) -> f64) -> Tensor {
    let dout = heads.select(dout);
    let weights = heads.weights(share, &dout);
    scale_heads(&dout, &weights)
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
