//! Attention alone, forward and backward, by each backend of the CPU: what the fused kernel gains over libtorch's.

use super::{Amount, Measured};
use prulong::attention::Qkv;
use prulong::attention::choose::{Case, choose};
use prulong::attention::gated::{GatedAttention, Wanted};
use prulong::span::Span;
use tch::{Device, Kind, Tensor};

/// Backends that are compared.
const BACKENDS: [&str; 2] = ["cpu-fused", "cpu-flash"];
/// kv heads, and query heads of each.
const HEADS: (i64, i64) = (2, 2);

/// One backend's case.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AttentionCase {
    num_tokens: i64,
    head_dim: i64,
    gates: Gates,
    backend: &'static str,
}

/// Gates of both kv heads.
#[derive(Debug, Clone, Copy)]
enum Gates {
    Full,
    Mixed,
    Streaming,
}

impl Gates {
    fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Mixed => "mixed",
            Self::Streaming => "streaming",
        }
    }

    fn z(self) -> [f64; 2] {
        match self {
            Self::Full => [1.0; 2],
            Self::Mixed => [0.5; 2],
            Self::Streaming => [0.0; 2],
        }
    }
}

impl AttentionCase {
    /// Every backend side by side.
    pub(crate) fn all(quick: bool) -> Vec<Self> {
        let (lens, head_dims): (&[i64], &[i64]) = if quick {
            (&[200], &[32])
        } else {
            (&[4096, 16384], &[32, 64, 128])
        };
        let mut cases = Vec::new();
        for num_tokens in lens {
            for head_dim in head_dims {
                for gates in [Gates::Full, Gates::Mixed, Gates::Streaming] {
                    cases.extend(BACKENDS.map(|backend| Self {
                        num_tokens: *num_tokens,
                        head_dim: *head_dim,
                        gates,
                        backend,
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
            backend,
        } = self;
        format!(
            "attention/{head_dim}/{num_tokens}/{}/{backend}",
            gates.name()
        )
    }

    /// # Panics
    /// If the backend cannot be had: this is a benchmark.
    pub(crate) fn measure(&self, repeat: usize) -> Measured {
        let _guard = tch::no_grad_guard();
        tch::manual_seed(1);
        let (num_kv_heads, group) = HEADS;
        let rows = |num_heads: i64| {
            let shape = [1, self.num_tokens, num_heads, self.head_dim];
            Tensor::randn(shape, (Kind::Float, Device::Cpu))
        };
        let [q, dout] = [0, 1].map(|_| rows(num_kv_heads * group));
        let [k, v] = [0, 1].map(|_| rows(num_kv_heads));
        let case = Case::on_cpu(Kind::Float);
        let choice = choose(self.backend, case).unwrap_or_else(|error| panic!("{error}"));
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
        let z = self.gates.z();
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
