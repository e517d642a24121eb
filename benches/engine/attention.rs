//! Attention alone, forward and backward, by each backend of the CPU: what the fused kernel gains over libtorch's.

use super::{Amount, Measured};
use prulong::attention::Qkv;
use prulong::attention::choose::{Case, choose};
use prulong::attention::gated::{GatedAttention, Wanted};
use prulong::span::Span;
use tch::{Device, Kind, Tensor};

/// Query heads per kv head.
const GROUP: i64 = 2;

/// Who computes.
#[derive(Debug, Clone, Copy)]
enum Solver {
    /// A backend, which skips the branch that a gate at its end switches off.
    Backend(&'static str),
    /// libtorch's flash attention without that: both branches of every head, as one writes it first.
    FlashUnskipped,
}

/// One solver's case.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AttentionCase {
    num_tokens: i64,
    head_dim: i64,
    gates: Gates,
    solver: Solver,
}

/// Gates of all kv heads.
#[derive(Debug, Clone, Copy)]
enum Gates {
    Full,
    Mixed,
    Streaming,
    /// As a step draws them in the middle of training: a third open, a third between, a third closed.
    Sampled,
}

impl Gates {
    fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Mixed => "mixed",
            Self::Streaming => "streaming",
            Self::Sampled => "sampled",
        }
    }

    /// One a kv head.
    fn z(self) -> &'static [f64] {
        match self {
            Self::Full => &[1.0; 2],
            Self::Mixed => &[0.5; 2],
            Self::Streaming => &[0.0; 2],
            Self::Sampled => &[1.0, 0.5, 0.0],
        }
    }

    /// Who is compared.
    fn solvers(self) -> &'static [Solver] {
        const FUSED: Solver = Solver::Backend("cpu-fused");
        const FLASH: Solver = Solver::Backend("cpu-flash");
        match self {
            Self::Sampled => &[FUSED, FLASH, Solver::FlashUnskipped],
            Self::Full | Self::Mixed | Self::Streaming => &[FUSED, FLASH],
        }
    }
}

impl Solver {
    fn name(self) -> &'static str {
        match self {
            Self::Backend(name) => name,
            Self::FlashUnskipped => "cpu-flash-unskipped",
        }
    }

    fn backend(self) -> &'static str {
        match self {
            Self::Backend(name) => name,
            Self::FlashUnskipped => "cpu-flash",
        }
    }

    /// The gates that it computes with: one between 0 and 1 takes both branches.
    fn gates(self, gates: Gates) -> Vec<f64> {
        let skips = matches!(self, Self::Backend(_));
        let z = gates.z().iter();
        z.map(|z| if skips { *z } else { 0.5 }).collect()
    }
}

impl AttentionCase {
    /// All who are compared, side by side.
    pub(crate) fn all(quick: bool) -> Vec<Self> {
        let (lens, head_dims): (&[i64], &[i64]) = if quick {
            (&[200], &[32])
        } else {
            (&[4096, 16384], &[32, 64, 128])
        };
        let mut cases = Vec::new();
        for num_tokens in lens {
            for head_dim in head_dims {
                for gates in [Gates::Full, Gates::Mixed, Gates::Streaming, Gates::Sampled] {
                    cases.extend(gates.solvers().iter().map(|solver| Self {
                        num_tokens: *num_tokens,
                        head_dim: *head_dim,
                        gates,
                        solver: *solver,
                    }));
                }
            }
        }
        cases
    }

    pub(crate) fn name(&self) -> String {
        let Self {
            num_tokens,
            head_dim,
            gates,
            solver,
        } = self;
        let (gates, solver) = (gates.name(), solver.name());
        format!("attention/{head_dim}/{num_tokens}/{gates}/{solver}")
    }

    /// # Panics
    /// If the backend cannot be had: this is a benchmark.
    pub(crate) fn measure(&self, repeat: usize) -> Measured {
        let _guard = tch::no_grad_guard();
        tch::manual_seed(1);
        let z = self.solver.gates(self.gates);
        let num_kv_heads = i64::try_from(z.len()).unwrap_or(0);
        let rows = |num_heads: i64| {
            let shape = [1, self.num_tokens, num_heads, self.head_dim];
            Tensor::randn(shape, (Kind::Float, Device::Cpu))
        };
        let [q, dout] = [0, 1].map(|_| rows(num_kv_heads * GROUP));
        let [k, v] = [0, 1].map(|_| rows(num_kv_heads));
        let case = Case::on_cpu(Kind::Float);
        let choice = choose(self.solver.backend(), case).unwrap_or_else(|error| panic!("{error}"));
        let backend = choice.backend;
        let span = Span::new(128, 1024, 128).unwrap_or_else(|error| panic!("{error}"));
        let attention = GatedAttention {
            backend: &*backend,
            span: Some(&span),
        };
        let qkv = Qkv {
            q: &q,
            k: &k,
            v: &v,
        };
        Measured::new(self.name(), repeat, Some(backend.name()), || {
            let (_, branches) = attention.forward(qkv, &z);
            attention.backward(&dout, qkv, &z, &branches, Wanted::GatesAndInputs);
            Amount {
                tokens: usize::try_from(self.num_tokens).unwrap_or(0),
                bytes: None,
            }
        })
    }
}
