//! Masks and scores that other programs write, and the way from their files to a sidecar (masks.md section 12).
//!
//! Each format is one file of [`crate::mask`] and one line of [`registry`]. Its reader turns bytes into [`content::Foreign`]: a
//! decision or scores over kv heads, checked against the model. [`import`] makes a sidecar of it; [`companions`] rereads what an
//! export wrote beside one. [`table`], [`fold`], [`json`] and [`sniff`] are what several readers share.
//!
//! **Invariant:** a decision is never cut again, and scores are never cut without a count or a sparsity that the user gave.

pub mod companions;
pub mod content;
pub mod fold;
pub mod import;
pub mod json;
pub mod problem;
pub mod registry;
pub mod sniff;
pub mod table;
