//! Text to token ids and back, and how this project's own byte-level tokenizer is trained.
//!
//! Start reading at [`Tokenizer`]. **Invariant:** the `tokenizers` crate is named in this folder only.

mod load;
mod special;
pub mod train;

pub use load::Tokenizer;
