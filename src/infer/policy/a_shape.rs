//! A-shape (`MInference`, arXiv 2407.02490): while the prompt is read, every head attends to sinks and a window.
//!
//! The `sliding` pattern of a streaming head, but everything is kept, and decoding reads everything.

use crate::infer::cache::pattern::{Call, Part, Pattern};
use crate::span::Span;

/// The pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct AShape {
    span: Span,
}

impl AShape {
    /// Published sink, in tokens.
    pub const SINK_LEN: usize = 128;
    /// Published window, in tokens.
    pub const WINDOW_LEN: usize = 3968;

    /// Attends to the sinks and windows of `span`.
    pub fn new(span: Span) -> Self {
        Self { span }
    }

    /// Sink and window.
    pub fn span(&self) -> Span {
        self.span
    }
}

impl Pattern for AShape {
    fn attend(&self, call: &Call) -> Part {
        call.attend_span(&self.span)
    }
}
