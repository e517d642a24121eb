//! How the heads of one layer mix full and streaming attention, over the documents of a packed row.
//!
//! ```text
//! gated       O = z O_F + (1 - z) O_T     both branches over the layer's own q, k, v (PruLong)
//! distilled   O = g O_A + (1 - g) O_T     O_A: what the teacher's attention gave, a constant (DuoAttention)
//! ```
//!
//! A distilled head's gradient is `dg = sum over rows and the group's heads of dO (O_A - O_T)`, at the bounds too: its gate is
//! clamped, and clamping passes the gradient there.
//!
//! # Decisions
//! `dg` needs the streaming output of every head, so none is skipped forward, not even where `g = 1` gives it no weight. Backward
//! it is skipped exactly there: its output gradient is `(1 - g) dO = 0`. Nothing goes back into the teacher.

use super::gated::{GatedAttention, Wanted};
use super::heads::{HeadSet, scale_heads};
use super::packed::{Documents, PackedBranches, PackedGrads};
use super::{InputGrads, Qkv, wide};
use crate::profile::recorder;
use crate::profile::span::Part;
use crate::torch::dims::dims;
use tch::{Device, Kind, Tensor};

/// The gates of one layer, and what they mix.
#[derive(Debug, Clone, Copy)]
pub enum HeadMix<'a> {
    /// One gate `z` per kv head; gates at 0 and 1 skip a branch and have no gradient.
    Gated(&'a [f64]),
    /// One gate `g` per kv head, with a gradient everywhere.
    Distilled {
        /// In [0, 1].
        gates: &'a [f64],
        /// The teacher's attention output `[T, H, D]`; `None` = full attention over the layer's own q, k, v in its place.
        teacher: Option<&'a Tensor>,
    },
}

/// What the backward pass needs of the forward pass.
#[derive(Debug)]
pub struct MixBranches {
    /// Gated: both branches over their active heads. Distilled: the streaming branch of every head.
    branches: PackedBranches,
    /// Distilled without a teacher's output: full attention of every head.
    full: Option<PackedBranches>,
}

impl MixBranches {
    /// The same with every tensor replaced by what `place` makes of it.
    ///
    /// # Shapes
    /// `place` keeps them.
    #[must_use]
    pub fn map(self, place: &impl Fn(&Tensor) -> Tensor) -> Self {
        Self {
            branches: self.branches.map(place),
            full: self.full.map(|branches| branches.map(place)),
        }
    }
}

/// A row's documents, and who solves their attention.
#[derive(Clone, Copy)]
pub struct MixedRow<'a> {
    /// Where documents end.
    pub documents: &'a Documents,
    /// Backend and span.
    pub attention: GatedAttention<'a>,
}

impl MixedRow<'_> {
    /// The mixed output, and what [`Self::backward`] needs.
    ///
    /// # Shapes
    /// `qkv` `[T, H | K, D]`; returns `[T, H, D]`.
    pub fn forward(&self, qkv: Qkv, mix: HeadMix) -> (Tensor, MixBranches) {
        match mix {
            HeadMix::Gated(z) => {
                let (out, branches) = self.documents.forward(&self.attention, qkv, z);
                let full = None;
                (out, MixBranches { branches, full })
            }
            HeadMix::Distilled { gates, teacher } => {
                let (streaming, branches) = self.every_head(qkv, gates, 0.0);
                let own = teacher.is_none().then(|| self.every_head(qkv, gates, 1.0));
                let (own_out, full) = own.unzip();
                let Some(open) = teacher.or(own_out.as_ref()) else {
                    unreachable!("without a teacher's output there is an own one")
                };
                let out = recorder::forward(Part::Mix, &[qkv.q], || blend(open, &streaming, gates));
                (out, MixBranches { branches, full })
            }
        }
    }

    /// The output of [`Self::forward`] again.
    ///
    /// # Shapes
    /// `q` `[T, H, D]` -> the same; only its shape, dtype and device count.
    pub fn mixed(&self, q: &Tensor, mix: HeadMix, saved: &MixBranches) -> Tensor {
        match mix {
            HeadMix::Gated(z) => self.documents.mixed(&self.attention, q, z, &saved.branches),
            HeadMix::Distilled { gates, teacher } => {
                let [open, streaming] = self.ends(q, gates, teacher, saved);
                recorder::forward(Part::Mix, &[q], || blend(&open, &streaming, gates))
            }
        }
    }

    /// Gradients of [`Self::forward`] for `dout` `[T, H, D]`.
    ///
    /// # Shapes
    /// As [`Self::forward`].
    pub fn backward(
        &self,
        dout: &Tensor,
        qkv: Qkv,
        (mix, saved): (HeadMix, &MixBranches),
        wanted: Wanted,
    ) -> PackedGrads {
        let (gates, teacher) = match mix {
            HeadMix::Gated(z) => {
                let saved = (z, &saved.branches);
                return self
                    .documents
                    .backward(&self.attention, dout, qkv, saved, wanted);
            }
            HeadMix::Distilled { gates, teacher } => (gates, teacher),
        };
        let dz = recorder::backward(Part::Mix, &[dout], || {
            let [open, streaming] = self.ends(dout, gates, teacher, saved);
            gate_grads(dout, [&open, &streaming], gates.len())
        });
        if wanted == Wanted::Gates {
            return PackedGrads { inputs: None, dz };
        }
        let streaming = Branch {
            saved: &saved.branches,
            z: 0.0,
        };
        let full = saved.full.as_ref().map(|saved| Branch { saved, z: 1.0 });
        let branches = std::iter::once(streaming).chain(full);
        let parts = branches.filter_map(|branch| self.back(dout, qkv, branch, gates));
        let inputs = Some(combine(qkv, parts.collect()));
        PackedGrads { inputs, dz }
    }

    /// One branch of every head: streaming for `z = 0`, full for `z = 1`.
    fn every_head(&self, qkv: Qkv, gates: &[f64], z: f64) -> (Tensor, PackedBranches) {
        let z = vec![z; gates.len()];
        self.documents.forward(&self.attention, qkv, &z)
    }

    /// What a gate at 1 and one at 0 let through.
    fn ends(
        &self,
        q: &Tensor,
        gates: &[f64],
        teacher: Option<&Tensor>,
        saved: &MixBranches,
    ) -> [Tensor; 2] {
        let again = |z: f64, branches: &PackedBranches| {
            let z = vec![z; gates.len()];
            self.documents.mixed(&self.attention, q, &z, branches)
        };
        let open = match (teacher, &saved.full) {
            (Some(teacher), _) => teacher.shallow_clone(),
            (None, Some(full)) => again(1.0, full),
            (None, None) => unreachable!("without a teacher's output there is an own one"),
        };
        [open, again(0.0, &saved.branches)]
    }

    /// What goes back through one branch, and through which heads: those to which the gates give it weight.
    fn back(
        &self,
        dout: &Tensor,
        qkv: Qkv,
        branch: Branch,
        gates: &[f64],
    ) -> Option<(HeadSet, InputGrads)> {
        let share = |gate: f64| if branch.z > 0.0 { gate } else { 1.0 - gate };
        let heads = HeadSet::of(gates, dout.device(), |gate| share(gate) > 0.0);
        if heads.is_empty() {
            return None;
        }
        let select = |x: &Tensor| heads.select(&x.unsqueeze(0)).squeeze_dim(0);
        let (q, k, v) = (select(qkv.q), select(qkv.k), select(qkv.v));
        let selected = heads.select(&dout.unsqueeze(0));
        let weights = heads.weights(|head| share(gates[head]), &selected);
        let dout = scale_heads(&selected, &weights).squeeze_dim(0);
        let saved = branch.saved.select(&heads);
        let z = vec![branch.z; heads.heads().len()];
        let qkv = Qkv {
            q: &q,
            k: &k,
            v: &v,
        };
        let wanted = Wanted::GatesAndInputs;
        let grads = self
            .documents
            .backward(&self.attention, &dout, qkv, (&z, &saved), wanted);
        grads.inputs.map(|inputs| (heads, inputs))
    }
}

/// One branch of every head, and the gate that selects it alone.
#[derive(Clone, Copy)]
struct Branch<'a> {
    saved: &'a PackedBranches,
    z: f64,
}

/// The sum of the branches' gradients over all heads.
fn combine(qkv: Qkv, mut parts: Vec<(HeadSet, InputGrads)>) -> InputGrads {
    let is_whole = parts.len() == 1 && parts[0].0.is_all();
    if let Some((_, only)) = parts.pop_if(|_| is_whole) {
        return only;
    }
    let zeros = |x: &Tensor| Tensor::zeros(x.size(), (x.kind(), x.device()));
    let sum = InputGrads {
        dq: zeros(qkv.q),
        dk: zeros(qkv.k),
        dv: zeros(qkv.v),
    };
    for (heads, part) in parts {
        let add = |sum: &Tensor, part: &Tensor| {
            heads.add_into(&sum.unsqueeze(0), &part.unsqueeze(0));
        };
        add(&sum.dq, &part.dq);
        add(&sum.dk, &part.dk);
        add(&sum.dv, &part.dv);
    }
    sum
}

/// `g open + (1 - g) streaming`, `[T, H, D]`, in the wide dtype, then rounded once.
fn blend(open: &Tensor, streaming: &Tensor, gates: &[f64]) -> Tensor {
    if gates.iter().all(|gate| *gate >= 1.0) {
        return open.shallow_clone();
    }
    let weights = Tensor::from_slice(gates)
        .to_kind(wide(open.kind()))
        .to_device(open.device())
        .view([1, -1, 1]);
    let [open_by_head, streaming_by_head] = [open, streaming].map(|x| by_head(x, gates.len()));
    let rest: Tensor = 1.0 - &weights;
    let mixed = open_by_head * weights + streaming_by_head * rest;
    mixed.to_kind(open.kind()).view_as(open)
}

/// `sum(dO (open - streaming))` per kv head, terms in f32 or wider, the sum in f64.
fn gate_grads(dout: &Tensor, [open, streaming]: [&Tensor; 2], num_kv_heads: usize) -> Vec<f64> {
    let [dout, open, streaming] = [dout, open, streaming].map(|x| by_head(x, num_kv_heads));
    let products = dout * (open - streaming);
    let sums = products.sum_dim_intlist([0, 2].as_slice(), false, Kind::Double);
    Vec::<f64>::try_from(sums.to_device(Device::Cpu)).unwrap_or_default()
}

/// `[T, H, D] -> [T, K, G * D]`, wide.
fn by_head(x: &Tensor, num_kv_heads: usize) -> Tensor {
    let [num_tokens, _, _] = dims(x);
    let num_kv_heads = i64::try_from(num_kv_heads).unwrap_or(1);
    x.to_kind(wide(x.kind()))
        .reshape([num_tokens, num_kv_heads, -1])
}

#[cfg(test)]
mod tests;
