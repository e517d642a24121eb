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
pub mod cudnn;
mod exponential;
pub mod flash;
pub mod fused;
pub mod gated;
pub mod head_mix;
pub mod heads;
pub mod merge;
pub mod packed;
pub mod reference;
mod single_query;
pub mod streaming;

use crate::fault::{Coded, Kind};
use crate::span::Span;
use tch::Tensor;

/// Which keys a query sees in one dense problem.
#[derive(Debug, Clone, Copy)]
pub enum Visibility<'a> {
    /// Every key.
    All,
    /// Causal, aligned at the bottom right: query `i` of `T` sees keys `0 ..= i + S - T`.
    Causal,
    /// The most recent of [`Self::Causal`]'s keys: this many tokens including the query's own.
    Window(i64),
    /// Where the boolean mask `[T, S]` is true; every row must see at least one key.
    Masked(&'a Tensor),
}

/// How streaming attention is put to a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamingForm {
    /// Tiles of queries over gathered keys, under one mask that all tiles share.
    MaskedTiles,
    /// Problems that need no mask: tiles of one block, causal; one token's granularity as a window and the sinks, merged.
    Causal,
}

/// An attention output and its normaliser.
#[derive(Debug)]
pub struct Attended {
    /// `[B, T, H, D]`, in the dtype of the queries.
    pub out: Tensor,
    /// `[B, H, T]`, f32 (f64 for f64 queries), natural log.
    pub lse: Tensor,
}

impl Attended {
    /// The same with every tensor replaced by what `place` makes of it.
    ///
    /// # Shapes
    /// `place` keeps them.
    #[must_use]
    pub fn map(self, place: &impl Fn(&Tensor) -> Tensor) -> Self {
        Self {
            out: place(&self.out),
            lse: place(&self.lse),
        }
    }
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

/// The gates of a layer and what its streaming heads see: a problem of two branches.
#[derive(Debug, Clone, Copy)]
pub struct Mixed<'a> {
    /// One gate in [0, 1] per kv head: heads above 0 have the full branch, heads below 1 the streaming one.
    pub z: &'a [f64],
    /// What streaming heads see; `None` if every head is a retrieval head.
    pub span: Option<&'a Span>,
}

impl Mixed<'_> {
    /// Whether every streaming head knows what it sees.
    fn is_decided(&self) -> bool {
        self.span.is_some() || self.z.iter().all(|z| *z >= 1.0)
    }
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
        "there is no attention backend `{backend}`: known are `auto`, {}",
        choose::BACKENDS.map(|name| format!("`{name}`")).join(", ")
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

    /// How it wants streaming attention; the result is the same.
    fn streaming_form(&self) -> StreamingForm {
        StreamingForm::MaskedTiles
    }

    /// Whether defects known of the kernel call for looking at its gradients during training.
    fn is_watched(&self) -> bool {
        false
    }

    /// Widest head it computes, if there is one.
    fn max_head_dim(&self) -> Option<i64> {
        None
    }

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

    /// The full and the streaming branch of whole documents, each over the kv heads that have it, where the backend solves them
    /// together; `None` where they are to be solved one after the other.
    ///
    /// # Shapes
    /// As [`Qkv`] with `S = T`, every batch entry one document; as many gates as kv heads.
    fn forward_mixed(&self, _qkv: Qkv, _mixed: &Mixed) -> Option<[Option<Attended>; 2]> {
        None
    }

    /// Gradients of what [`Self::forward_mixed`] returned, mixed by the gates, for the mixed output's gradient `dout`; `None` as
    /// there.
    ///
    /// # Shapes
    /// `dout` `[B, T, H, D]`.
    fn backward_mixed(
        &self,
        _dout: &Tensor,
        _qkv: Qkv,
        _mixed: &Mixed,
        _attended: [Option<&Attended>; 2],
    ) -> Option<InputGrads> {
        None
    }
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
mod cuda_tests;
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
