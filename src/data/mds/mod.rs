//! MDS, the packed format on disk: shards of rows with typed columns and one `index.json` (MosaicML streaming, version 2).
//!
//! Start at [`dataset`] (reading) or [`writer`] (writing). A shard is `u32 n`, `u32 offsets[n + 1]`, a JSON header, then the
//! rows; a row is one `u32` size per variable-size column and the payloads of all columns.
//!
//! **Invariant:** bytes read from a dataset are foreign: every length is checked before it is used, nothing panics, nothing is
//! allocated beyond what the file really holds. Nothing here knows tokens, spans or training.
//!
//! # Decisions
//! - Rows are read with positional reads, not through a memory map: mapping is unsafe (a file that shrinks kills the process),
//!   and a row of 64K tokens is one read of 256 KB.
//! - Compressed shards are decompressed into memory, never next to the data, where the Python reader would take the result for
//!   its own and delete it.
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)
)]

pub mod array;
pub mod cache;
pub mod codec;
pub mod column;
pub mod dataset;
pub mod decode;
pub mod dtype;
pub mod encode;
pub mod error;
pub mod hash;
pub mod index;
pub mod json_text;
pub mod publish;
pub mod shard;
pub mod value;
pub mod writer;
