//! `[export]`: the span for which a run's mask is meant, when it differs from the one it trains with.

use crate::config::attention::span_error;
use crate::config::error::Bad;
use crate::span::{Span, StreamingRule};

/// `[export]` as written.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExportFile {
    /// Sink tokens of streaming heads at inference.
    pub sink_len: usize,
    /// Window of streaming heads at inference, in tokens.
    pub window_len: usize,
    /// What a streaming head sees of a chunk. Duo-chunk: what the published numbers use.
    #[serde(default = "duo_chunk")]
    pub rule: StreamingRule,
}

/// `[export]`, checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deployment {
    /// Sink and window at inference; inference has no blocks, so its block is 1.
    pub span: Span,
    /// What a streaming head sees of a chunk.
    pub rule: StreamingRule,
}

fn duo_chunk() -> StreamingRule {
    StreamingRule::DuoChunk
}

impl ExportFile {
    /// What a run exports for when its file says nothing: the lengths it trains with.
    pub(super) fn matching(sink_len: usize, window_len: usize) -> Self {
        let rule = duo_chunk();
        Self {
            sink_len,
            window_len,
            rule,
        }
    }

    pub(super) fn check(&self) -> Result<Deployment, Bad> {
        let span = Span::new(self.sink_len, self.window_len, 1)
            .map_err(|source| span_error("export", source))?;
        let rule = self.rule;
        Ok(Deployment { span, rule })
    }
}
