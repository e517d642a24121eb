//! The dtypes this project computes in, as libtorch knows them, and which of them a device computes fastest in.
//!
//! # Decisions
//! `auto` is bf16 on a GPU. On the CPU it is what a short probe of one product says, not what the processor's instructions promise:
//! on a Xeon with AVX512-BF16 and without AMX a training step in bf16 takes 1.12 (tiny model) and 1.43 times (three layers of the 124m
//! shape) the CPU time of one in f32 at 4,096 tokens, 1.22 and 1.66 at 1,024 (medians of 5 pairs, one thread: `cargo bench --bench
//! engine -- step/`); prefill and decoding of 2,048 + 64 tokens by the tiny model take 1.13 and 1.17 times (6 pairs: `cargo run
//! --release --example infer`). On an AMD Zen 4 with AVX512-BF16 the probe says bf16, and such a step takes 0.84 (tiny model) and 0.60
//! times (three layers) the CPU time of one in f32 at 4,096 tokens (medians of 5 and 3 pairs, two threads).

use super::products;
use crate::config::dtype::{Dtype, DtypeRequest};
use std::fmt;
use std::sync::OnceLock;
use tch::{Device, Kind};

impl Dtype {
    /// libtorch's name for it.
    pub fn kind(self) -> Kind {
        match self {
            Self::F32 => Kind::Float,
            Self::Bf16 => Kind::BFloat16,
            Self::F64 => Kind::Double,
        }
    }

    /// The dtype of a tensor of this kind, if it is one of ours.
    pub fn of(kind: Kind) -> Option<Self> {
        match kind {
            Kind::Float => Some(Self::F32),
            Kind::BFloat16 => Some(Self::Bf16),
            Kind::Double => Some(Self::F64),
            _ => None,
        }
    }
}

/// How much faster products of bf16 must be than those of f32: a step is more than products, and widens and rounds around them.
const CLEARLY: f64 = 1.5;

/// A dtype, chosen once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DtypeChoice {
    /// The dtype.
    pub dtype: Dtype,
    /// Why this one.
    pub reason: &'static str,
}

impl fmt::Display for DtypeChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { dtype, reason } = self;
        write!(f, "{dtype} ({reason})")
    }
}

impl DtypeChoice {
    /// What `request` means on `device`; threads and the library of products are chosen before.
    pub fn new(request: DtypeRequest, device: Device) -> Self {
        let (dtype, reason) = match (request.named(), device) {
            (Some(dtype), _) => (dtype, "asked for"),
            (None, Device::Cpu) => on_cpu(),
            (None, _) => (Dtype::Bf16, "a GPU"),
        };
        Self { dtype, reason }
    }
}

/// The choice of this process.
fn on_cpu() -> (Dtype, &'static str) {
    static CHOSEN: OnceLock<(Dtype, &'static str)> = OnceLock::new();
    *CHOSEN.get_or_init(|| {
        if !has_bf16() {
            (Dtype::F32, "the processor has no products of bf16")
        } else if products::bf16_gain() < CLEARLY {
            (Dtype::F32, "products of bf16 are not clearly faster here")
        } else {
            (Dtype::Bf16, "products of bf16 are clearly faster here")
        }
    })
}

/// Whether the processor has instructions for products of bf16: those of AVX-512, which every processor with AMX has too.
fn has_bf16() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("avx512bf16");
    #[cfg(not(target_arch = "x86_64"))]
    return false;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_and_sizes_agree() {
        for dtype in [Dtype::F32, Dtype::Bf16, Dtype::F64] {
            assert_eq!(Dtype::of(dtype.kind()), Some(dtype));
            assert_eq!(dtype.kind().elt_size_in_bytes(), dtype.size_bytes());
        }
        assert_eq!(Dtype::of(Kind::Half), None);
    }

    #[test]
    fn a_named_dtype_is_taken_everywhere_and_auto_looks_at_the_device() {
        for device in [Device::Cpu, Device::Cuda(0)] {
            for request in [DtypeRequest::F32, DtypeRequest::Bf16, DtypeRequest::F64] {
                let choice = DtypeChoice::new(request, device);
                assert_eq!(Some(choice.dtype), request.named());
            }
        }
        let auto = |device| DtypeChoice::new(DtypeRequest::Auto, device);
        assert_eq!(auto(Device::Cuda(0)).dtype, Dtype::Bf16);
        assert!(auto(Device::Cpu).dtype == Dtype::F32 || has_bf16());
        assert_eq!(auto(Device::Cpu), auto(Device::Cpu));
    }
}
