//! The binary mask itself.

/// Retrieval or streaming, for every kv head of a model. Row-major `[layers, kv_heads]` in checkpoint order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadMask {
    num_layers: usize,
    num_kv_heads: usize,
    retrieval: Vec<bool>,
}

impl HeadMask {
    /// Wraps row-major flags, `true` = retrieval; `None` if their number is not `num_layers * num_kv_heads`.
    pub fn new(num_layers: usize, num_kv_heads: usize, retrieval: Vec<bool>) -> Option<Self> {
        (retrieval.len() == num_layers * num_kv_heads).then_some(Self {
            num_layers,
            num_kv_heads,
            retrieval,
        })
    }

    /// A mask with every head of the same kind.
    pub fn uniform(num_layers: usize, num_kv_heads: usize, retrieval: HeadKind) -> Self {
        let flag = retrieval == HeadKind::Retrieval;
        Self {
            num_layers,
            num_kv_heads,
            retrieval: vec![flag; num_layers * num_kv_heads],
        }
    }

    /// Decoder blocks covered.
    pub fn num_layers(&self) -> usize {
        self.num_layers
    }

    /// Kv heads per layer.
    pub fn num_kv_heads(&self) -> usize {
        self.num_kv_heads
    }

    /// One layer's flags, `true` = retrieval.
    pub fn layer(&self, layer: usize) -> &[bool] {
        &self.retrieval[layer * self.num_kv_heads..(layer + 1) * self.num_kv_heads]
    }

    /// All flags, row-major.
    pub fn flags(&self) -> &[bool] {
        &self.retrieval
    }

    /// Number of retrieval heads.
    pub fn num_retrieval(&self) -> usize {
        self.retrieval.iter().filter(|flag| **flag).count()
    }

    /// Number of streaming heads.
    pub fn num_streaming(&self) -> usize {
        self.retrieval.len() - self.num_retrieval()
    }

    /// Share of streaming heads, in [0, 1].
    #[expect(clippy::cast_precision_loss, reason = "head counts are far below 2^52")]
    pub fn sparsity(&self) -> f64 {
        self.num_streaming() as f64 / self.retrieval.len() as f64
    }
}

/// The two kinds of kv head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadKind {
    /// Keeps every key and value.
    Retrieval,
    /// Keeps sinks and a recent window.
    Streaming,
}
