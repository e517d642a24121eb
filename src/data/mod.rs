//! Text, tokens and packed rows: where documents come from, how they become MDS rows, in which order training reads them.
//!
//! Start reading at [`source`] (documents) or [`loader`] (rows for training).
//!
//! **Invariant:** nothing is ever written into a user's data folder.

pub mod chat_template;
pub mod collate;
pub mod error;
pub mod generate;
pub mod identity;
pub mod loader;
pub mod manifest;
pub mod mds;
pub mod mixture;
pub mod order;
pub mod pack;
pub mod ranks;
pub mod rows;
pub mod source;
pub mod stats;
pub mod tokenizer;
