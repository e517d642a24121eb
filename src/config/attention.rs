//! `[attention]`: what a streaming head sees, and who computes it.

use crate::config::error::{Bad, Problem};
use crate::span::{Span, SpanError};

/// `[attention]` as written.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AttentionFile {
    /// Leading tokens of a document that every query sees; a multiple of `block_len`. 0: the window alone, which the
    /// reference calls `local`.
    pub sink_len: usize,
    /// Most recent tokens, including the query's own; a multiple of `block_len`.
    pub window_len: usize,
    /// Granularity of the pattern: 1 is exact to the token, 128 the reference's kernel. No default: it changes the masks.
    pub block_len: usize,
    /// Kernel that solves dense attention. `auto`: `cpu-fused` on the CPU; on CUDA `cudnn` from compute capability 9.0 on,
    /// else `flash`, both for bf16 and f16 only, else `reference`; the choice and its reason are logged. A kernel named here
    /// that cannot run is an error.
    #[serde(default = "auto")]
    pub backend: String,
}

/// `[attention]`, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttentionSettings {
    /// Sink, window and block.
    pub span: Span,
    /// Name of an attention backend, or `auto`.
    pub backend: String,
}

fn auto() -> String {
    "auto".to_owned()
}

impl AttentionFile {
    pub(super) fn check(&self) -> Result<AttentionSettings, Bad> {
        let span = Span::new(self.sink_len, self.window_len, self.block_len)
            .map_err(|source| span_error("attention", source))?;
        let backend = self.backend.clone();
        Ok(AttentionSettings { span, backend })
    }
}

/// Places a span's error at the key it complains about, in `section`.
pub(super) fn span_error(section: &str, why: SpanError) -> Bad {
    let (SpanError::Zero { field }
    | SpanError::Block { field, .. }
    | SpanError::Long { field, .. }) = why;
    Bad::new(&format!("{section}.{field}"), Problem::Span { why })
}
