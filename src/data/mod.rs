//! Text, tokens and packed rows: where documents come from, how they become MDS rows, in which order training reads them.
//!
//! Start reading at [`source`] (documents).
//!
//! **Invariant:** nothing is ever written into a user's data folder.

pub mod error;
pub mod generate;
pub mod mds;
pub mod source;
pub mod tokenizer;
