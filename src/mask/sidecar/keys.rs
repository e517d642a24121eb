//! Names and fixed values of the metadata, shared by writer and reader.

pub(super) const FORMAT: &str = "format";
pub(super) const FORMAT_VERSION: &str = "prulong.format_version";
pub(super) const KIND: &str = "prulong.kind";
pub(super) const PROGRAM_VERSION: &str = "prulong.version";
pub(super) const MASK_VALUES: &str = "prulong.mask_values";
pub(super) const HEAD_AXIS: &str = "prulong.head_axis";
pub(super) const HEAD_ORDER: &str = "prulong.head_order";
pub(super) const NUM_LAYERS: &str = "prulong.num_layers";
pub(super) const NUM_HEADS: &str = "prulong.num_heads";
pub(super) const NUM_KV_HEADS: &str = "prulong.num_kv_heads";
pub(super) const NUM_RETRIEVAL: &str = "prulong.num_retrieval";
pub(super) const NUM_STREAMING: &str = "prulong.num_streaming";
pub(super) const SPARSITY: &str = "prulong.sparsity";
pub(super) const ROUNDING: &str = "prulong.rounding";
pub(super) const TARGET_SPARSITY: &str = "prulong.target_sparsity";
pub(super) const RANK_SOURCE: &str = "prulong.rank_source";
pub(super) const SOURCE: &str = "prulong.source";
pub(super) const SINK_LEN: &str = "prulong.sink_len";
pub(super) const WINDOW_LEN: &str = "prulong.window_len";
pub(super) const BLOCK_LEN: &str = "prulong.block_len";
pub(super) const WINDOW_INCLUDES_QUERY: &str = "prulong.window_includes_query";
pub(super) const STREAMING_RULE: &str = "prulong.streaming_rule";
pub(super) const CHUNK_LEN: &str = "prulong.chunk_len";
pub(super) const TRAIN_METHOD: &str = "prulong.train_method";
pub(super) const TRAIN_SINK_LEN: &str = "prulong.train_sink_len";
pub(super) const TRAIN_WINDOW_LEN: &str = "prulong.train_window_len";
pub(super) const TRAIN_BLOCK_LEN: &str = "prulong.train_block_len";
pub(super) const TRAIN_SEQ_LEN: &str = "prulong.train_seq_len";
pub(super) const TRAIN_STEPS: &str = "prulong.train_steps";
pub(super) const TRAIN_SEED: &str = "prulong.train_seed";
pub(super) const TRAIN_TARGET_SPARSITY: &str = "prulong.train_target_sparsity";
pub(super) const TRAIN_DATA_ID: &str = "prulong.train_data_id";
pub(super) const TRAIN_CONFIG_SHA256: &str = "prulong.train_config_sha256";
pub(super) const WEIGHTS_MODIFIED: &str = "prulong.weights_modified";
pub(super) const REBASED_FROM: &str = "prulong.rebased_from";
pub(super) const BASE_MODEL: &str = "base_model_name_or_path";
pub(super) const BASE_REVISION: &str = "base_model_revision";
pub(super) const BASE_ARCH_SHA256: &str = "base_model_arch_sha256";
pub(super) const BASE_CONFIG: &str = "base_model_config";
pub(super) const BASE_WEIGHTS_SHA256: &str = "base_weights_sha256";

/// Every key above: whatever else a file holds is kept untouched.
pub(super) const KNOWN: [&str; 40] = [
    FORMAT,
    FORMAT_VERSION,
    KIND,
    PROGRAM_VERSION,
    MASK_VALUES,
    HEAD_AXIS,
    HEAD_ORDER,
    NUM_LAYERS,
    NUM_HEADS,
    NUM_KV_HEADS,
    NUM_RETRIEVAL,
    NUM_STREAMING,
    SPARSITY,
    ROUNDING,
    TARGET_SPARSITY,
    RANK_SOURCE,
    SOURCE,
    SINK_LEN,
    WINDOW_LEN,
    BLOCK_LEN,
    WINDOW_INCLUDES_QUERY,
    STREAMING_RULE,
    CHUNK_LEN,
    TRAIN_METHOD,
    TRAIN_SINK_LEN,
    TRAIN_WINDOW_LEN,
    TRAIN_BLOCK_LEN,
    TRAIN_SEQ_LEN,
    TRAIN_STEPS,
    TRAIN_SEED,
    TRAIN_TARGET_SPARSITY,
    TRAIN_DATA_ID,
    TRAIN_CONFIG_SHA256,
    WEIGHTS_MODIFIED,
    REBASED_FROM,
    BASE_MODEL,
    BASE_REVISION,
    BASE_ARCH_SHA256,
    BASE_CONFIG,
    BASE_WEIGHTS_SHA256,
];

/// The only version so far.
pub(super) const VERSION_VALUE: &str = "1";
pub(super) const KIND_VALUE: &str = "kv_head_mask";
pub(super) const MASK_VALUES_VALUE: &str = "1=retrieval,0=streaming";
pub(super) const HEAD_AXIS_VALUE: &str = "kv";
pub(super) const HEAD_ORDER_VALUE: &str = "checkpoint";

pub(super) const RETRIEVAL_MASK: &str = "retrieval_mask";
pub(super) const RETRIEVAL_RANK: &str = "retrieval_rank";
pub(super) const LOG_ALPHA: &str = "log_alpha";
pub(super) const GATE_SCORE: &str = "gate_score";

/// A float as the shortest text that reads back equal, with a point or an exponent.
pub(super) fn float_text(value: f64) -> String {
    format!("{value:?}")
}
