//! Finds which attention heads of a long-context Llama need the whole KV cache.
//!
//! Modules are listed lowest layer first; each may use only what stands before it, and its own children.

pub mod fault;
pub mod random;
pub mod shape;
pub mod span;
pub mod schedule;
pub mod footprint;
pub mod mask;

pub mod config;

pub mod torch;

pub mod attention;
pub mod gate;

pub mod model;

pub mod data;
pub mod checkpoint;
pub mod metrics;

pub mod train;
pub mod infer;
pub mod eval;

pub mod cli;
