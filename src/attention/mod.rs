//! Attention, forward and backward: full causal, streaming, and the gated mix of both.
//!
//! A [`Backend`] solves one dense problem. Streaming ([`streaming`]), merging ([`merge`]), exact head skipping and the
//! gated mix ([`gated`]) and documents packed into one row ([`packed`]) are written once above it, so a new kernel is one
//! file. Start reading at [`mod@reference`]: it is the oracle of everything else.
//!
//! Letters: `B` batch, `T` query tokens, `S` key tokens, `H` heads, `K` kv heads, `G = H / K` group, `D` head_dim. Layout
//! `[B, T, H, D]`; kv head `j` serves heads `jG .. jG + G - 1`. `lse` is the natural-log sum of exponentials of the
//! scaled scores. The softmax scale is `1 / sqrt(D)` everywhere.
//!
//! **Invariant:** K and V are never repeated to query heads. Nothing here knows gates' distributions, models or caches.

pub mod choose;
pub mod cpu_flash;
pub mod gated;
pub mod heads;
pub mod merge;
pub mod packed;
pub mod reference;
pub mod streaming;

use crate::fault::{Coded, Kind};
use tch::Tensor;

/// Which keys a query sees in one dense problem.
#[derive(Debug, Clone, Copy)]
pub enum Visibility<'a> {
    /// Every key.
    All,
    /// Causal, aligned at the bottom right: query `i` of `T` sees keys `0 ..= i + S - T`.
    Causal,
    /// Where the boolean mask `[T, S]` is true; every row must see at least one key.
    Masked(&'a Tensor),
}

/// An attention output and its normaliser.
#[derive(Debug)]
pub struct Attended {
    /// `[B, T, H, D]`, in the dtype of the queries.
    pub out: Tensor,
    /// `[B, H, T]`, f32 (f64 for f64 queries), natural log.
    pub lse: Tensor,
}

/// Gradients of one attention problem.
#[derive(Debug)]
pub struct InputGrads {
    /// `[B, T, H, D]`.
    pub dq: Tensor,
    /// `[B, S, K, D]`.
    pub dk: Tensor,
    /// `[B, S, K, D]`.
    pub dv: Tensor,
}

/// Queries, keys and values of one problem, borrowed.
#[derive(Debug, Clone, Copy)]
pub struct Qkv<'a> {
    /// `[B, T, H, D]`, rotated.
    pub q: &'a Tensor,
    /// `[B, S, K, D]`, rotated.
    pub k: &'a Tensor,
    /// `[B, S, K, D]`.
    pub v: &'a Tensor,
}

/// Why an attention problem was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttentionError {
    /// Tensors do not fit together.
    #[error("attention inputs do not fit: {detail}")]
    Shape {
        /// Names and shapes.
        detail: String,
    },
    /// No backend has this name.
    #[error(
        "there is no attention backend `{backend}`: known are `auto`, `reference` and `cpu-flash`"
    )]
    Unknown {
        /// The name as given.
        backend: String,
    },
    /// The requested backend cannot run this case.
    #[error("attention backend `{backend}` cannot run: {reason}")]
    Unavailable {
        /// The backend's name.
        backend: String,
        /// Why not.
        reason: String,
    },
}

impl Coded for AttentionError {
    fn code(&self) -> &'static str {
        match self {
            Self::Shape { .. } => "attention.shape",
            Self::Unknown { .. } => "attention.unknown",
            Self::Unavailable { .. } => "attention.unavailable",
        }
    }
    fn kind(&self) -> Kind {
        match self {
            Self::Shape { .. } | Self::Unknown { .. } => Kind::Input,
            Self::Unavailable { .. } => Kind::Environment,
        }
    }
    fn hint(&self) -> Option<String> {
        match self {
            Self::Shape { .. } | Self::Unknown { .. } => None,
            Self::Unavailable { .. } => Some("use `attention.backend = \"auto\"`".to_owned()),
        }
    }
}

/// One way to solve a dense attention problem.
pub trait Backend: Send + Sync {
    /// Stable word for logs, results and settings.
    fn name(&self) -> &'static str;

    /// Attention output and lse.
    ///
    /// # Shapes
    /// As [`Qkv`]; returns [`Attended`].
    fn forward(&self, qkv: Qkv, visibility: Visibility) -> Attended;

    /// Gradients for an output gradient `dout` `[B, T, H, D]`.
    ///
    /// `attended` may be the merged result of a larger key set: then the probabilities are the global ones and the parts'
    /// gradients add up.
    fn backward(
        &self,
        dout: &Tensor,
        qkv: Qkv,
        attended: &Attended,
        visibility: Visibility,
    ) -> InputGrads;
}

impl Qkv<'_> {
    /// `(B, T, H, D, S, K)` after checking that the three tensors fit.
    ///
    /// # Errors
    /// [`AttentionError::Shape`] naming the shapes.
    pub fn dims(&self) -> Result<(i64, i64, i64, i64, i64, i64), AttentionError> {
        let shapes = (self.q.size4(), self.k.size4(), self.v.size4());
        if let (Ok((b, t, h, d)), Ok((kb, s, kv_heads, kd)), Ok(v_shape)) = shapes
            && kb == b
            && kd == d
            && v_shape == (kb, s, kv_heads, kd)
            && kv_heads > 0
            && h % kv_heads == 0
        {
            return Ok((b, t, h, d, s, kv_heads));
        }
        let detail = format!(
            "q {:?}, k {:?}, v {:?}",
            self.q.size(),
            self.k.size(),
            self.v.size()
        );
        Err(AttentionError::Shape { detail })
    }
}

/// The softmax scale.
#[expect(clippy::cast_precision_loss, reason = "head widths are tiny")]
pub(crate) fn scale(head_dim: i64) -> f64 {
    1.0 / (head_dim as f64).sqrt()
}

/// The dtype of statistics for inputs of `kind`: f64 stays, everything else is f32.
pub(crate) fn wide(kind: tch::Kind) -> tch::Kind {
    if kind == tch::Kind::Double {
        kind
    } else {
        tch::Kind::Float
    }
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    reason = "tiny test shapes"
)]
mod tests;
