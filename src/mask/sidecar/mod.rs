//! The mask artefact: `head_mask.safetensors`, one self-describing file (masks.md sections 6 to 8).
//!
//! Start at [`content`], what a sidecar holds. [`cut`] makes one from trained gates or from another sidecar, [`mod@write`] gives its
//! bytes, [`read`] checks foreign bytes in the order of [`check`], [`fit`] compares it with a model and a use, [`rebase`] binds it
//! to a model with added tokens, [`schema`] describes its metadata to other languages.
//!
//! **Invariant:** equal content gives equal bytes; nothing depends on time, host, user or path.
//!
//! # The format
//!
//! What follows is all that a reader or writer in another language needs. A file is a safetensors file of at most 16 MiB, with a
//! header of at most 1 MiB, for at most 4096 layers of at most 4096 kv heads.
//!
//! ```text
//! 8 bytes     length of the header, unsigned, little-endian
//! header      one JSON object, padded with spaces to a multiple of 8 bytes
//! data        the tensors, without gaps
//! ```
//!
//! ## Tensors
//!
//! All are `[num_layers, num_kv_heads]`, row-major, little-endian. Rows are decoder blocks from 0, columns kv heads in the row
//! order of `k_proj` in the checkpoint. Kv head j serves query heads jG ... jG + G - 1, with G = heads / kv heads.
//!
//! | tensor | dtype | required | meaning |
//! |---|---|---|---|
//! | `retrieval_mask` | U8 | yes | 1 = retrieval head (keeps every key and value), 0 = streaming head (keeps sinks and a window) |
//! | `retrieval_rank` | I32 | yes | a permutation of 0 ... n - 1, 0 = most retrieval-like; `rank < num_retrieval` is the mask, `rank < m` the mask with m retrieval heads |
//! | `log_alpha` | F32 | trained | learned gate parameters, finite |
//! | `gate_score` | F32 | no | trained: sigmoid(1.2 `log_alpha`); imported: the foreign score. It saturates: never derive an order from it |
//!
//! ## Metadata
//!
//! `__metadata__` maps text to text. Integers are decimal without sign and leading zeros, floats the shortest text that reads
//! back equal, booleans `true` and `false`. An unknown value has no key. `prulong mask schema` prints this table as a JSON schema.
//!
//! | key | value | required |
//! |---|---|---|
//! | `format` | `pt` | yes; Hugging Face loaders look for it |
//! | `prulong.format_version` | `1` | yes |
//! | `prulong.kind` | `kv_head_mask` | yes |
//! | `prulong.version` | program that wrote the file | yes |
//! | `prulong.mask_values` | `1=retrieval,0=streaming` | yes |
//! | `prulong.head_axis` | `kv` | yes |
//! | `prulong.head_order` | `checkpoint` | yes |
//! | `prulong.num_layers`, `prulong.num_heads`, `prulong.num_kv_heads` | counts, the last two per layer | yes |
//! | `prulong.num_retrieval`, `prulong.num_streaming` | counts over the model | yes |
//! | `prulong.sparsity` | streaming heads / all heads, in f64 | yes |
//! | `prulong.rounding` | `floor-retrieval`, `reference`, `duo-stable`, `nearest`, `count` or `imported` | yes |
//! | `prulong.target_sparsity` | sparsity that was asked for | no |
//! | `prulong.rank_source` | `log_alpha`, `score`, `mask` or `reference`: what ordered the heads | yes |
//! | `prulong.source` | `trained`, or the format it was imported from | yes |
//! | `prulong.sink_len`, `prulong.window_len`, `prulong.block_len` | span to deploy with, in tokens; window and block at least 1, sink and window multiples of the block | yes |
//! | `prulong.window_includes_query` | `true`: the window counts the query's own token | yes |
//! | `prulong.streaming_rule`, `prulong.chunk_len` | `duo-chunk`, `sliding` or `frozen-prompt`, and the prefill chunk it was evaluated with | no |
//! | `prulong.train_sink_len`, `prulong.train_window_len`, `prulong.train_block_len`, `prulong.train_seq_len`, `prulong.train_steps`, `prulong.train_seed`, `prulong.train_data_id`, `prulong.train_config_sha256` | how the gates were trained | all, if `train_steps` is there |
//! | `prulong.train_method` | `prulong` or `duo-attention` | no: absent = `prulong` |
//! | `prulong.train_target_sparsity` | sparsity that its gates were trained for | if `prulong` trained it |
//! | `prulong.weights_modified` | `true` if the weights were trained together with the gates: the mask belongs to those weights only | yes |
//! | `base_model_name_or_path` | hub name, or last component of a folder | yes |
//! | `base_model_revision` | commit on the hub | no |
//! | `base_model_arch_sha256` | SHA-256 of the canonical JSON of the seven facts below | yes |
//! | `base_model_config` | canonical JSON of these facts, `max_position_embeddings` and `rope_parameters` | yes |
//! | `base_weights_sha256` | SHA-256 over dtype name and stored bytes of every layer's `k_proj.weight`, in layer order | no |
//! | `prulong.rebased_from` | `base_model_arch_sha256` of before the model's vocabulary grew | no |
//!
//! The seven facts are `model_type`, `num_hidden_layers`, `num_attention_heads`, `num_key_value_heads` (absent from a model's
//! configuration: as many as heads), `head_dim` (absent: hidden / heads), `hidden_size` and `vocab_size`. For Llama-3.1-8B (`llama`,
//! 32, 32, 8, 128, 4096, 128256) the digest is `79d52bbf991018e332361c8e28caa7a3b5b1d581c6501804f2251f5803f89e19`.
//!
//! ## Bytes
//!
//! The header and everything that is hashed is *canonical JSON*: keys sorted by code point, `,` and `:` without spaces, ASCII
//! only with lower-case `\uXXXX` escapes (surrogate pairs above U+FFFF), integers without exponent, nothing twice, no NaN. Tensors of
//! 4-byte elements come first, by name, then `retrieval_mask`, so that each is aligned. That is how files are written; readers go
//! by the offsets and do not rely on the order, but refuse names that occur twice.
//!
//! ## Reading
//!
//! In the order of [`check::Check`], stopping at the first that fails: a reader that cannot use a mask says so, and falls back to
//! no other. A mask with `rank_source` = `log_alpha` is ordered by descending `log_alpha`, ties by (layer, kv head).
//!
//! ## Versions
//!
//! `prulong.format_version` is one integer. New optional keys and tensors do not change it; a new meaning, a new required key or a
//! changed dtype does. Readers refuse a larger number, read all smaller ones, ignore keys they do not know and keep them when they
//! write the mask again. One golden file per version stays in `tests/golden/mask` for ever.

pub mod check;
pub mod container;
pub mod content;
pub mod cut;
pub mod fit;
mod keys;
mod lookup;
pub mod read;
pub mod rebase;
pub mod schema;
pub mod write;

#[cfg(test)]
mod tests;
