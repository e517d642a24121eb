//! Chunked prefill and greedy decode over real per-head caches.
//!
//! [`policy`] says what a method keeps, [`cache`] keeps it, [`model_cache`] puts one cache per layer behind the trait the
//! model calls, [`generate`] runs a prompt of token ids, [`completion`] one of text. Start reading at [`generate`].
//!
//! **Invariant:** what is reported about memory is counted from the caches here; the closed formula lives in
//! `footprint` and must agree.

pub mod cache;
pub mod completion;
pub mod counter;
pub mod decode;
pub mod error;
pub mod generate;
mod int;
pub mod model_cache;
pub mod policy;
pub mod prefill;
pub mod score;
pub mod task;
mod text_stream;
pub mod windows;

#[cfg(test)]
mod tests;
