//! One recorded piece of work: what it was, when it began and ended, inside which other piece.

/// What a span is about: a frame around others, or one operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// One optimizer step.
    Step,
    /// Loss and gradients of one packed row.
    MicroBatch,
    /// One decoder layer.
    Layer,
    /// Waiting for the next row.
    Data,
    /// Looking up embeddings.
    Embed,
    /// `RMSNorm` before attention, or the last one; the feed-forward's own is part of it.
    Norm,
    /// Projections to queries, keys and values.
    Qkv,
    /// Rotary embedding of queries and keys.
    Rope,
    /// Full attention of the heads whose gate is above 0.
    Full,
    /// Streaming attention of the heads whose gate is below 1.
    Streaming,
    /// Both branches in one pass of a fused kernel.
    Fused,
    /// Mixing the two branches by the gates, and the gates' gradients.
    Mix,
    /// The projection after attention.
    Output,
    /// Feed-forward with its norm and residual.
    Mlp,
    /// Copies of what a layer keeps, to host memory and back.
    Offload,
    /// Logits and cross-entropy, or the distance of two streams' hidden states.
    Loss,
    /// Updates of gates, multipliers and weights.
    Optimizer,
}

impl Part {
    /// Its name in traces and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Step => "step",
            Self::MicroBatch => "micro-batch",
            Self::Layer => "layer",
            Self::Data => "data wait",
            Self::Embed => "embed",
            Self::Norm => "norm",
            Self::Qkv => "qkv",
            Self::Rope => "rope",
            Self::Full => "attention full",
            Self::Streaming => "attention streaming",
            Self::Fused => "attention fused",
            Self::Mix => "attention mix",
            Self::Output => "o",
            Self::Mlp => "mlp",
            Self::Offload => "offload",
            Self::Loss => "loss",
            Self::Optimizer => "optimizer",
        }
    }

    /// Whether it only holds other spans; its own time is what they leave over.
    pub fn is_frame(self) -> bool {
        matches!(self, Self::Step | Self::MicroBatch | Self::Layer)
    }
}

/// In which direction of a step a span lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pass {
    /// Towards the loss.
    Forward,
    /// Towards the gradients.
    Backward,
    /// Forward work that the backward pass does again, because its result was not kept.
    Recompute,
    /// Both directions in one visit.
    Both,
    /// Neither: data, updates, frames of a whole step.
    Outside,
}

impl Pass {
    /// Its name: the category of a trace event.
    pub fn name(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Backward => "backward",
            Self::Recompute => "recompute",
            Self::Both => "forward+backward",
            Self::Outside => "step",
        }
    }
}

/// A finished piece of work.
///
/// # Units
/// Nanoseconds since the recording began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// What it was.
    pub part: Part,
    /// In which direction.
    pub pass: Pass,
    /// Which one: the step, micro-batch or layer of a frame.
    pub index: Option<u64>,
    /// Position of the span around it among all spans.
    pub parent: Option<usize>,
    /// Shapes of the tensors it worked on.
    pub shapes: Vec<Vec<i64>>,
    /// Beginning.
    pub start_ns: u64,
    /// End.
    pub end_ns: u64,
}

/// Adds a later recording to `spans`, behind its end.
pub fn append(spans: &mut Vec<Span>, later: Vec<Span>) {
    let offset = spans.len();
    let shift = spans.iter().map(|span| span.end_ns).max().unwrap_or(0);
    spans.extend(later.into_iter().map(|span| Span {
        parent: span.parent.map(|parent| parent + offset),
        start_ns: span.start_ns + shift,
        end_ns: span.end_ns + shift,
        ..span
    }));
}

impl Span {
    /// How long it took, in nanoseconds.
    pub fn len_ns(&self) -> u64 {
        self.end_ns.saturating_sub(self.start_ns)
    }
}
