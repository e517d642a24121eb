//! `[attention]`: what a streaming head sees, and who computes it.

use crate::config::error::{Bad, Problem};
use crate::span::{Span, SpanError};

/// What replaces full attention in a closed gate.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Branch {
    /// Sinks and a recent window.
    Streaming,
    /// The window alone, exact to the token: neither sinks nor blocks.
    Local,
}

/// `[attention]` as written.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AttentionFile {
    /// Leading tokens of a document that every query sees; a multiple of `block_len`.
    pub sink_len: usize,
    /// Most recent tokens, including the query's own; a multiple of `block_len`.
    pub window_len: usize,
    /// Granularity of the pattern: 1 is exact to the token, 128 the reference's kernel. No default: it changes the masks.
    pub block_len: usize,
    /// The other branch of the mix. Streaming: what the method's published masks are trained with.
    #[serde(default = "streaming")]
    pub branch: Branch,
    /// Kernel that solves dense attention; `auto` picks the fastest for the device and logs its choice.
    #[serde(default = "auto")]
    pub backend: String,
}

/// `[attention]`, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttentionSettings {
    /// Sink, window and block; a `local` branch has sink 0 and block 1.
    pub span: Span,
    /// The other branch of the mix.
    pub branch: Branch,
    /// Name of an attention backend, or `auto`.
    pub backend: String,
}

fn streaming() -> Branch {
    Branch::Streaming
}

fn auto() -> String {
    "auto".to_owned()
}

impl AttentionFile {
    pub(super) fn check(&self) -> Result<AttentionSettings, Bad> {
        if self.branch == Branch::Local && (self.sink_len, self.block_len) != (0, 1) {
            let reason = "= \"local\" needs `sink_len = 0` and `block_len = 1`: it has neither sinks nor blocks";
            return Err(super::check::conflict("attention.branch", reason));
        }
        let span = Span::new(self.sink_len, self.window_len, self.block_len)
            .map_err(|source| span_error("attention", source))?;
        let (branch, backend) = (self.branch, self.backend.clone());
        Ok(AttentionSettings {
            span,
            branch,
            backend,
        })
    }
}

/// Places a span's error at the key it complains about, in `section`.
pub(super) fn span_error(section: &str, why: SpanError) -> Bad {
    let (SpanError::Zero { field } | SpanError::Block { field, .. }) = why;
    Bad::new(&format!("{section}.{field}"), Problem::Span { why })
}
