//! Scores of kv heads without training: how much a head looks further than a streaming head could.
//!
//! One file per score; all are `[layers, kv_heads]`, row-major, higher = retrieval. They are starting points for gates
//! (`gates.init`) and baselines for trained masks.
//!
//! **Invariant:** a score is a function of model, rows and span; nothing is drawn here but the needles, from the seed given.

pub mod loss_slope;
pub mod needle_mass;
pub mod outside_mass;
mod sums;
