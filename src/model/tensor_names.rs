//! The tensors of a Llama: their Hugging Face names and exact shapes.

use super::config::ModelConfig;
use std::collections::BTreeMap;

/// The embedding matrix, `[V, C]`; also the output projection of a tied model.
pub const EMBEDDING: &str = "model.embed_tokens.weight";
/// Scale of the last norm, `[C]`.
pub const FINAL_NORM: &str = "model.norm.weight";
/// The output projection of an untied model, `[V, C]`.
pub const LM_HEAD: &str = "lm_head.weight";

/// Name of a tensor of one decoder block, e.g. `layer(3, "self_attn.q_proj")`.
pub fn layer(index: usize, part: &str) -> String {
    format!("model.layers.{index}.{part}.weight")
}

/// Every tensor the model needs, by name, with its shape; linear weights are `[outputs, inputs]`.
pub fn expected(config: &ModelConfig) -> BTreeMap<String, Vec<usize>> {
    let (hidden, inner) = (config.hidden_size, config.intermediate_size);
    let shape = &config.shape;
    let q_rows = shape.num_heads.saturating_mul(shape.head_dim);
    let kv_rows = shape.num_kv_heads.saturating_mul(shape.head_dim);
    let parts = [
        ("input_layernorm", vec![hidden]),
        ("self_attn.q_proj", vec![q_rows, hidden]),
        ("self_attn.k_proj", vec![kv_rows, hidden]),
        ("self_attn.v_proj", vec![kv_rows, hidden]),
        ("self_attn.o_proj", vec![hidden, q_rows]),
        ("post_attention_layernorm", vec![hidden]),
        ("mlp.gate_proj", vec![inner, hidden]),
        ("mlp.up_proj", vec![inner, hidden]),
        ("mlp.down_proj", vec![hidden, inner]),
    ];
    let embedding = vec![config.vocab_size, hidden];
    let mut tensors = BTreeMap::from([
        (EMBEDDING.to_owned(), embedding.clone()),
        (FINAL_NORM.to_owned(), vec![hidden]),
    ]);
    if !config.tie_word_embeddings {
        tensors.insert(LM_HEAD.to_owned(), embedding);
    }
    for index in 0..shape.num_layers {
        for (part, sizes) in &parts {
            tensors.insert(layer(index, part), sizes.clone());
        }
    }
    tensors
}

/// Whether a tensor is the matrix of a linear layer of every Llama, or its embedding.
pub(super) fn is_matrix(name: &str) -> bool {
    let is_projection = name.ends_with("_proj.weight") && !name.ends_with(".g_proj.weight");
    is_projection || name == EMBEDDING || name == LM_HEAD
}

/// The gates that a model trained with native sparse attention carries besides, one per layer: three for each head.
pub fn branch_gates(config: &ModelConfig) -> Vec<(String, Vec<usize>)> {
    let rows = config.shape.num_heads.saturating_mul(3);
    let name = |index| layer(index, "self_attn.g_proj");
    (0..config.shape.num_layers)
        .map(|index| (name(index), vec![rows, config.hidden_size]))
        .collect()
}

/// Buffers that old checkpoints carry and nobody reads: the rotary frequencies.
pub(super) fn is_ignored_buffer(name: &str) -> bool {
    name.ends_with("rotary_emb.inv_freq")
}
