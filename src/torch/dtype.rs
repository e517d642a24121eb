//! The dtypes this project computes in.

use serde::{Deserialize, Serialize};
use std::fmt;
use tch::Kind;

/// A dtype of weights and activations.
///
/// Gates, multipliers, optimizer state and every sum over tokens are f32 or wider whatever is chosen here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// 32-bit float.
    F32,
    /// Brain float: 8 bits of exponent, 7 of mantissa.
    Bf16,
    /// 64-bit float: oracles.
    F64,
}

impl Dtype {
    /// The stable word for configurations, logs and results.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F64 => "f64",
        }
    }

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

    /// Bytes per element.
    pub fn size_bytes(self) -> usize {
        match self {
            Self::Bf16 => 2,
            Self::F32 => 4,
            Self::F64 => 8,
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_kinds_and_sizes_agree() {
        for (dtype, name) in [
            (Dtype::F32, "f32"),
            (Dtype::Bf16, "bf16"),
            (Dtype::F64, "f64"),
        ] {
            assert_eq!(serde_json::to_value(dtype).unwrap(), name);
            assert_eq!(serde_json::from_value::<Dtype>(name.into()).unwrap(), dtype);
            assert_eq!(dtype.to_string(), name);
            assert_eq!(Dtype::of(dtype.kind()), Some(dtype));
            assert_eq!(dtype.kind().elt_size_in_bytes(), dtype.size_bytes());
        }
        assert_eq!(Dtype::of(Kind::Half), None);
    }
}
