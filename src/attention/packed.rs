//! Documents packed into one row: attention never crosses from one into another.
//!
//! Neighbouring documents of equal length form one batch, by views of the row.

use super::gated::{Branches, GatedAttention, Wanted};
use super::heads::HeadSet;
use super::{InputGrads, Qkv};
use tch::Tensor;

/// Lengths of the documents of one packed row, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Documents {
    runs: Vec<Run>,
    num_tokens: i64,
}

/// Neighbouring documents of one length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    start: i64,
    count: i64,
    len: i64,
}

/// What each run of documents keeps for the backward pass.
#[derive(Debug, Default)]
pub struct PackedBranches(Vec<Branches>);

impl PackedBranches {
    /// Some of the heads of branches that have all of them.
    pub(super) fn select(&self, heads: &HeadSet) -> Self {
        Self(self.0.iter().map(|part| part.select(heads)).collect())
    }

    /// The same with every tensor replaced by what `place` makes of it.
    ///
    /// # Shapes
    /// `place` keeps them.
    #[must_use]
    pub fn map(self, place: &impl Fn(&Tensor) -> Tensor) -> Self {
        Self(self.0.into_iter().map(|saved| saved.map(place)).collect())
    }
}

/// Gradients over the whole row.
#[derive(Debug)]
pub struct PackedGrads {
    /// `dq` `[T, H, D]`, `dk`, `dv` `[T, K, D]`, if wanted.
    pub inputs: Option<InputGrads>,
    /// dL/dz per kv head.
    pub dz: Vec<f64>,
}

impl Documents {
    /// Documents of `lens` tokens each, one after the other; empty documents are ignored.
    pub fn new(lens: &[usize]) -> Self {
        let mut documents = Self {
            runs: Vec::new(),
            num_tokens: 0,
        };
        for len in lens
            .iter()
            .filter_map(|len| i64::try_from(*len).ok())
            .filter(|len| *len > 0)
        {
            match documents.runs.last_mut() {
                Some(run) if run.len == len => run.count += 1,
                _ => documents.runs.push(Run {
                    start: documents.num_tokens,
                    count: 1,
                    len,
                }),
            }
            documents.num_tokens += len;
        }
        documents
    }

    /// Tokens of all documents.
    pub fn num_tokens(&self) -> i64 {
        self.num_tokens
    }

    /// Shows `visit` every document: neighbours of one length together, as a batch.
    ///
    /// # Shapes
    /// `qkv` `[T, H | K, D]` with `T` = [`Self::num_tokens`]; `visit` is given `[B, len, H | K, D]`.
    pub fn visit(&self, qkv: Qkv, visit: &mut dyn FnMut(Qkv)) {
        for run in &self.runs {
            visit(run.of(qkv).qkv());
        }
    }

    /// Gated attention of every document.
    ///
    /// # Shapes
    /// `qkv` `[T, H | K, D]` with `T` = [`Self::num_tokens`]; returns `[T, H, D]`.
    pub fn forward(
        &self,
        attention: &GatedAttention,
        qkv: Qkv,
        z: &[f64],
    ) -> (Tensor, PackedBranches) {
        let mut outputs = Vec::with_capacity(self.runs.len());
        let mut branches = Vec::with_capacity(self.runs.len());
        for run in &self.runs {
            let part = run.of(qkv);
            let (out, saved) = attention.forward(part.qkv(), z);
            outputs.push(out.flatten(0, 1));
            branches.push(saved);
        }
        (joined(outputs), PackedBranches(branches))
    }

    /// The output of [`Self::forward`] again, from the branches it returned.
    ///
    /// # Shapes
    /// `q` `[T, H, D]` -> the same; only its shape, dtype and device count.
    pub fn mixed(
        &self,
        attention: &GatedAttention,
        q: &Tensor,
        z: &[f64],
        branches: &PackedBranches,
    ) -> Tensor {
        let runs = self.runs.iter().zip(&branches.0);
        let outputs = runs.map(|(run, saved)| {
            let out = attention.mixed(&run.batch(q), z, saved);
            out.flatten(0, 1)
        });
        joined(outputs.collect())
    }

    /// Gradients of [`Self::forward`] for `dout` `[T, H, D]`.
    ///
    /// # Shapes
    /// As [`Self::forward`].
    pub fn backward(
        &self,
        attention: &GatedAttention,
        dout: &Tensor,
        qkv: Qkv,
        (z, branches): (&[f64], &PackedBranches),
        wanted: Wanted,
    ) -> PackedGrads {
        let mut dz = vec![0.0; z.len()];
        let mut parts = Vec::new();
        for (run, saved) in self.runs.iter().zip(&branches.0) {
            let part = run.of(qkv);
            let grads = attention.backward(&run.batch(dout), part.qkv(), z, saved, wanted);
            for (total, share) in dz.iter_mut().zip(&grads.dz) {
                *total += share;
            }
            parts.extend(grads.inputs);
        }
        let inputs = (wanted == Wanted::GatesAndInputs).then(|| join_grads(parts));
        PackedGrads { inputs, dz }
    }
}

/// One run's view of the row.
struct RunInputs {
    q: Tensor,
    k: Tensor,
    v: Tensor,
}

impl RunInputs {
    fn qkv(&self) -> Qkv<'_> {
        Qkv {
            q: &self.q,
            k: &self.k,
            v: &self.v,
        }
    }
}

impl Run {
    /// `[T, n, D] -> [count, len, n, D]`.
    fn batch(&self, x: &Tensor) -> Tensor {
        let dims = x.size();
        x.narrow(0, self.start, self.count * self.len)
            .view([self.count, self.len, dims[1], dims[2]])
    }

    fn of(&self, qkv: Qkv) -> RunInputs {
        RunInputs {
            q: self.batch(qkv.q),
            k: self.batch(qkv.k),
            v: self.batch(qkv.v),
        }
    }
}

fn joined(mut parts: Vec<Tensor>) -> Tensor {
    if parts.len() == 1 {
        parts.remove(0)
    } else {
        Tensor::cat(&parts, 0)
    }
}

fn join_grads(parts: Vec<InputGrads>) -> InputGrads {
    let (mut dq, mut dk, mut dv) = (Vec::new(), Vec::new(), Vec::new());
    for part in parts {
        dq.push(part.dq.flatten(0, 1));
        dk.push(part.dk.flatten(0, 1));
        dv.push(part.dv.flatten(0, 1));
    }
    InputGrads {
        dq: joined(dq),
        dk: joined(dk),
        dv: joined(dv),
    }
}
