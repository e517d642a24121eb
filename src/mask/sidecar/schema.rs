//! The metadata of a mask file as a JSON schema, for those who read or write it in another language.
//!
//! The description is this struct: schemars makes the schema of it, its documentation becomes the schema's. `data/` holds the
//! result; a test compares the two, and the names with those that the reader knows.

use schemars::{JsonSchema, Schema};

/// The schema of the object under `__metadata__`, as text with a final line feed.
///
/// # Panics
/// Never: a schema has a JSON form.
pub fn text() -> String {
    let schema: Schema = schemars::schema_for!(Metadata);
    format!("{:#}\n", schema.as_value())
}

/// An absent key is absent: it has no null, which safetensors could not hold.
fn without_null(schema: &mut Schema) {
    let properties = schema.get_mut("properties");
    let properties = properties.and_then(serde_json::Value::as_object_mut);
    for property in properties.into_iter().flat_map(serde_json::Map::values_mut) {
        if let Some(kind) = property.get_mut("type") {
            *kind = "string".into();
        }
    }
}

/// A decimal integer: no sign, no leading zero.
#[derive(JsonSchema)]
#[schemars(inline, extend("pattern" = "^(0|[1-9][0-9]*)$"))]
struct Whole(#[expect(dead_code, reason = "described, never made")] String);

/// A decimal integer of at least 1.
#[derive(JsonSchema)]
#[schemars(inline, extend("pattern" = "^[1-9][0-9]*$"))]
struct Positive(#[expect(dead_code, reason = "described, never made")] String);

/// A number in [0, 1], in the shortest text that reads back equal.
#[derive(JsonSchema)]
#[schemars(inline, extend("pattern" = "^(0|1|0\\.[0-9]+|1\\.0+|[1-9](\\.[0-9]+)?[eE]-[0-9]+)$"))]
struct Share(#[expect(dead_code, reason = "described, never made")] String);

/// A SHA-256 in lower-case hexadecimal digits.
#[derive(JsonSchema)]
#[schemars(inline, extend("pattern" = "^[0-9a-f]{64}$"))]
struct Digest(#[expect(dead_code, reason = "described, never made")] String);

/// Any text but none.
#[derive(JsonSchema)]
#[schemars(inline, extend("minLength" = 1))]
struct Text(#[expect(dead_code, reason = "described, never made")] String);

/// `__metadata__` of `head_mask.safetensors`, format version 1. Every value is text; an unknown value has no key. Keys that are
/// not described here are kept and ignored.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "described, never made")]
#[schemars(
    title = "head_mask.safetensors, metadata",
    transform = without_null,
    extend("$id" = "prulong.head_mask.metadata/1"),
    extend("additionalProperties" = {"type": "string"}),
    extend("dependentRequired" = {"prulong.train_steps": [
        "prulong.train_sink_len", "prulong.train_window_len", "prulong.train_block_len", "prulong.train_seq_len",
        "prulong.train_seed", "prulong.train_data_id", "prulong.train_config_sha256"
    ]}),
    // PruLong, which is what an absent method means, trains towards a target.
    extend("if" = {
        "required": ["prulong.train_steps"],
        "not": {"required": ["prulong.train_method"], "properties": {"prulong.train_method": {"const": "duo-attention"}}}
    }),
    extend("then" = {"required": ["prulong.train_target_sparsity"]})
)]
struct Metadata {
    /// Hugging Face loaders look for it.
    #[schemars(rename = "format", extend("const" = "pt"))]
    format: String,
    /// Version of this description. A new meaning, a new required key or a changed dtype makes a new one.
    #[schemars(rename = "prulong.format_version", extend("const" = "1"))]
    format_version: String,
    /// The file is a mask and no checkpoint.
    #[schemars(rename = "prulong.kind", extend("const" = "kv_head_mask"))]
    kind: String,
    /// Program that wrote the file.
    #[schemars(rename = "prulong.version")]
    version: Text,
    /// What the numbers of `retrieval_mask` mean.
    #[schemars(rename = "prulong.mask_values", extend("const" = "1=retrieval,0=streaming"))]
    mask_values: String,
    /// Columns count kv heads, not query heads.
    #[schemars(rename = "prulong.head_axis", extend("const" = "kv"))]
    head_axis: String,
    /// Heads are in the row order of `k_proj` in the checkpoint.
    #[schemars(rename = "prulong.head_order", extend("const" = "checkpoint"))]
    head_order: String,
    /// Decoder blocks.
    #[schemars(rename = "prulong.num_layers")]
    num_layers: Positive,
    /// Query heads per layer.
    #[schemars(rename = "prulong.num_heads")]
    num_heads: Positive,
    /// Kv heads per layer; divides the query heads.
    #[schemars(rename = "prulong.num_kv_heads")]
    num_kv_heads: Positive,
    /// Heads that keep every key and value.
    #[schemars(rename = "prulong.num_retrieval")]
    num_retrieval: Whole,
    /// Heads that keep sinks and a window.
    #[schemars(rename = "prulong.num_streaming")]
    num_streaming: Whole,
    /// Share of streaming heads: the number to pass to other loaders.
    #[schemars(rename = "prulong.sparsity")]
    sparsity: Share,
    /// What made a count of the target.
    #[schemars(
        rename = "prulong.rounding",
        extend("enum" = ["floor-retrieval", "reference", "duo-stable", "nearest", "count", "imported"])
    )]
    rounding: String,
    /// Sparsity that was asked for.
    #[schemars(rename = "prulong.target_sparsity")]
    target_sparsity: Option<Share>,
    /// What ordered the heads.
    #[schemars(rename = "prulong.rank_source", extend("enum" = ["log_alpha", "score", "mask", "reference"]))]
    rank_source: String,
    /// `trained`, or the name of the format it was imported from.
    #[schemars(rename = "prulong.source")]
    source: Text,
    /// First tokens that a streaming head keeps.
    #[schemars(rename = "prulong.sink_len")]
    sink_len: Whole,
    /// Most recent tokens that it keeps, the query's own included.
    #[schemars(rename = "prulong.window_len")]
    window_len: Positive,
    /// Granularity of the streaming pattern, in tokens.
    #[schemars(rename = "prulong.block_len")]
    block_len: Positive,
    /// Whether the window counts the query's own token.
    #[schemars(rename = "prulong.window_includes_query", extend("const" = "true"))]
    window_includes_query: String,
    /// Rule of the streaming heads that it was evaluated with.
    #[schemars(
        rename = "prulong.streaming_rule",
        extend("enum" = ["duo-chunk", "sliding", "frozen-prompt"])
    )]
    streaming_rule: Option<String>,
    /// Prefill chunk that it was evaluated with, in tokens.
    #[schemars(rename = "prulong.chunk_len")]
    chunk_len: Option<Whole>,
    /// How the gates were trained; absent = `prulong`.
    #[schemars(rename = "prulong.train_method", extend("enum" = ["prulong", "duo-attention"]))]
    train_method: Option<String>,
    /// Sink that the gates saw in training.
    #[schemars(rename = "prulong.train_sink_len")]
    train_sink_len: Option<Whole>,
    /// Window that the gates saw in training.
    #[schemars(rename = "prulong.train_window_len")]
    train_window_len: Option<Positive>,
    /// Block of the streaming pattern in training.
    #[schemars(rename = "prulong.train_block_len")]
    train_block_len: Option<Positive>,
    /// Tokens per row of training data.
    #[schemars(rename = "prulong.train_seq_len")]
    train_seq_len: Option<Whole>,
    /// Optimizer steps that the gates have seen; says that there was a training.
    #[schemars(rename = "prulong.train_steps")]
    train_steps: Option<Whole>,
    /// Seed of the run.
    #[schemars(rename = "prulong.train_seed")]
    train_seed: Option<Whole>,
    /// Sparsity that the run ended at; DuoAttention has none.
    #[schemars(rename = "prulong.train_target_sparsity")]
    train_target_sparsity: Option<Share>,
    /// Fingerprint of the packed data.
    #[schemars(rename = "prulong.train_data_id")]
    train_data_id: Option<Text>,
    /// SHA-256 of the resolved configuration, paths left out.
    #[schemars(rename = "prulong.train_config_sha256")]
    train_config_sha256: Option<Text>,
    /// Whether the weights were trained together with the gates: then the mask belongs to those weights only.
    #[schemars(rename = "prulong.weights_modified", extend("enum" = ["true", "false"]))]
    weights_modified: String,
    /// Architecture that the mask was bound to before its model's vocabulary grew.
    #[schemars(rename = "prulong.rebased_from")]
    rebased_from: Option<Digest>,
    /// Hub name of the model, or the last component of its folder; advisory.
    #[schemars(rename = "base_model_name_or_path")]
    base_model: Text,
    /// Commit of the model on the hub.
    #[schemars(rename = "base_model_revision")]
    base_revision: Option<Text>,
    /// SHA-256 of the canonical JSON of the seven facts that make tensors fit.
    #[schemars(rename = "base_model_arch_sha256")]
    base_arch_sha256: Digest,
    /// Canonical JSON of those facts, the rotary embedding and the longest position.
    #[schemars(rename = "base_model_config", extend("pattern" = "^\\{.*\\}$"))]
    base_config: String,
    /// SHA-256 over dtype name and bytes of every layer's `k_proj.weight`, in layer order.
    #[schemars(rename = "base_weights_sha256")]
    base_weights_sha256: Option<Digest>,
}

#[cfg(test)]
mod tests;
