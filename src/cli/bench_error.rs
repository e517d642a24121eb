//! Why `prulong bench` cannot measure.

use crate::fault::{Coded, Kind};

/// Why nothing can be measured.
#[derive(Debug, thiserror::Error)]
pub(super) enum BenchError {
    #[error("a named shape has no weights to load")]
    NoWeights,
    #[error("the loss or a gate's gradient is not finite")]
    NotFinite,
    #[error("memory ran out: {detail}")]
    OutOfMemory {
        /// libtorch's line about it.
        detail: String,
        /// What to try.
        way_out: &'static str,
    },
    #[error(
        "a share of {sparsity} of the gates at 0 and of {between} between 0 and 1 is more than 1"
    )]
    TooManyGates { sparsity: f64, between: f64 },
    #[error("`{word}` is listed twice in `{flag}`")]
    Twice { flag: &'static str, word: String },
    #[error("`{flag}` needs `mask` among `--methods`")]
    NoMask { flag: &'static str },
    #[error("`--mask` needs the model that the mask was made for")]
    MaskWithoutModel,
}

impl Coded for BenchError {
    fn code(&self) -> &'static str {
        match self {
            Self::NoWeights => "bench.weights",
            Self::NotFinite => "bench.not_finite",
            Self::OutOfMemory { .. } => "bench.out_of_memory",
            Self::TooManyGates { .. } => "bench.gates",
            Self::Twice { .. } | Self::NoMask { .. } | Self::MaskWithoutModel => "bench.methods",
        }
    }
    fn kind(&self) -> Kind {
        match self {
            Self::NotFinite => Kind::Numerical,
            Self::OutOfMemory { .. } => Kind::Environment,
            _ => Kind::Input,
        }
    }
    fn hint(&self) -> Option<String> {
        let text = match self {
            Self::NoWeights => "add `--random-weights`, or give a folder with `--model`",
            Self::NotFinite => return None,
            Self::OutOfMemory { way_out, .. } => way_out,
            Self::TooManyGates { .. } => "lower `--between` or the largest of `--sparsities`",
            Self::Twice { .. } => "name every one once",
            Self::NoMask { .. } => "add `mask`, or leave the flag out",
            Self::MaskWithoutModel => {
                "give its folder with `--model`; `--sparsities` makes random masks for any shape"
            }
        };
        Some(text.to_owned())
    }
}
