//! The sizes of a Llama, and how many weights they make.

use crate::real::real;
use crate::shape::AttentionShape;

/// Everything that decides how large a Llama is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct ModelSizes {
    /// Layers, heads, kv heads, width of a head.
    pub shape: AttentionShape,
    /// Width `C` of the residual stream.
    pub hidden_size: usize,
    /// Width `I` of the feed-forward's inner layer.
    pub intermediate_size: usize,
    /// Embedding rows `V`.
    pub vocab_size: usize,
    /// Whether the output projection is the embedding matrix.
    pub is_tied: bool,
}

impl ModelSizes {
    /// Width of all query heads.
    pub fn query_width(&self) -> f64 {
        real(self.shape.num_heads * self.shape.head_dim)
    }

    /// Width of all keys of a token; values are as wide.
    pub fn key_width(&self) -> f64 {
        real(self.shape.num_kv_heads * self.shape.head_dim)
    }

    /// Weights of one layer's projections to queries, keys and values.
    pub fn qkv_params(&self) -> f64 {
        real(self.hidden_size) * (self.query_width() + 2.0 * self.key_width())
    }

    /// Weights of one layer's projection after attention.
    pub fn output_params(&self) -> f64 {
        real(self.hidden_size) * self.query_width()
    }

    /// Weights of one of the three matrices of a layer's feed-forward.
    pub fn mlp_matrix_params(&self) -> f64 {
        real(self.hidden_size) * real(self.intermediate_size)
    }

    /// Weights of one layer's matrices.
    pub fn layer_params(&self) -> f64 {
        self.qkv_params() + self.output_params() + 3.0 * self.mlp_matrix_params()
    }

    /// Weights of the output projection.
    pub fn head_params(&self) -> f64 {
        real(self.hidden_size) * real(self.vocab_size)
    }

    /// All weights, norms included; tied matrices count once.
    pub fn num_params(&self) -> f64 {
        let (layers, hidden) = (real(self.shape.num_layers), real(self.hidden_size));
        let matrices = if self.is_tied { 1.0 } else { 2.0 };
        layers * (self.layer_params() + 2.0 * hidden) + hidden + matrices * self.head_params()
    }
}
