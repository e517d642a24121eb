//! What inference has to do and to move at least: FLOPs of reading a prompt, bytes that a decoded token reads.
//!
//! A product of `[m, k]` and `[k, n]` counts `2 m k n`; attention `4 D` for each head and each (query, key) pair attended. Norms,
//! rotations and activation functions are not counted, nor logits of the prompt: none are computed.

use super::sizes::ModelSizes;
use crate::real::real;

/// FLOPs of a prompt's prefill.
///
/// # Units
/// FLOPs.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Prefill {
    /// Weight products of all layers.
    pub products: f64,
    /// Attention of all layers.
    pub attention: f64,
}

impl Prefill {
    /// Counts `num_tokens` prefilled, whose queries attended to `num_pairs` keys, summed over query heads of all layers.
    pub fn new(model: &ModelSizes, num_tokens: usize, num_pairs: f64) -> Self {
        let layers = real(model.shape.num_layers);
        Self {
            products: 2.0 * real(num_tokens) * layers * model.layer_params(),
            attention: 4.0 * real(model.shape.head_dim) * num_pairs,
        }
    }

    /// All of it.
    pub fn total(&self) -> f64 {
        self.products + self.attention
    }
}

/// Seconds below which no decoded token can stay that reads `weight_bytes` and `kv_bytes` at `bytes_per_s`.
pub fn decode_roof_s(weight_bytes: f64, kv_bytes: f64, bytes_per_s: f64) -> f64 {
    (weight_bytes + kv_bytes) / bytes_per_s
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::estimate::known;

    /// Sparsity, then PFLOP of the prefill, GB of keys and values, ms a token at 4.8 TB/s; a streaming head keeps 1,152 tokens.
    const GOLDEN: [(f64, &str, &str, &str); 3] = [
        (0.0, "6.33", "17.18", "6.71"),
        (0.5, "4.12", "8.67", "4.93"),
        (0.7, "3.24", "5.26", "4.22"),
    ];

    #[test]
    fn the_published_shape_costs_what_the_golden_table_says() {
        let model = known::sizes("llama-3.1-8b").unwrap();
        let (num_tokens, kept) = (131_072, 1152.0);
        let n = real(num_tokens);
        let gates = real(model.shape.num_gates());
        // A decoded token reads every weight but the embeddings of other tokens.
        let weight_bytes = 2.0 * (model.num_params() - model.head_params());
        assert_eq!(format!("{:.1}", weight_bytes / 1e9), "15.0");
        for (sparsity, flops, kv, ms) in GOLDEN {
            let of = |full: f64, streaming: f64| (1.0 - sparsity) * full + sparsity * streaming;
            let group = real(model.shape.group_size());
            let pairs = gates * group * of(n * n / 2.0, n * kept);
            let prefill = Prefill::new(&model, num_tokens, pairs);
            assert_eq!(format!("{:.2}", prefill.total() / 1e15), flops);
            let kv_bytes = gates * 2.0 * real(model.shape.head_dim) * 2.0 * of(n, kept);
            assert_eq!(format!("{:.2}", kv_bytes / 1e9), kv);
            let roof = decode_roof_s(weight_bytes, kv_bytes, 4.8e12);
            assert_eq!(format!("{:.2}", roof * 1e3), ms);
        }
    }
}
