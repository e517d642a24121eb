//! KV footprint, KV peak and critical KV footprint as formulas (inference.md sections 16 to 18).
//!
//! - KV footprint: of all causal (query, key) pairs of prefill and decode, the share whose entry is still held.
//! - KV peak: the largest number of KV entries held at once, as a share of the total length.
//! - Critical KV footprint: the smallest footprint that keeps a share of the full-attention score.
//!
//! Start at [`holdings::Holdings`], what a method holds; [`tally`] has the accounts of one kv head, [`rent`] says which query
//! pays for what, [`workload`] what is generated, [`eviction`] and [`locret`] what is left of a chunk, [`gap`] what a figure
//! leaves out; [`critical`] reads curves, and [`paired`] says how sure it is.
//!
//! **Invariant:** these are predictions. What a report calls measured is counted from real caches, and must agree.

pub mod critical;
pub mod eviction;
pub mod gap;
pub mod holdings;
pub mod locret;
pub mod paired;
pub mod predict;
pub mod rent;
pub mod tally;
pub mod workload;
