//! Finds which attention heads of a long-context Llama need the whole KV cache.
//!
//! Modules are listed lowest layer first; each may use only what stands before it, and its own children.

pub mod fault;
pub mod random;
pub mod real;
pub mod shape;
pub mod span;
pub mod schedule;
pub mod footprint;
pub mod mask;

#[cfg(feature = "torch")]
pub mod config;

#[cfg(feature = "torch")]
pub mod estimate;

#[cfg(feature = "torch")]
pub mod torch;
#[cfg(feature = "torch")]
pub mod cuda;

#[cfg(feature = "torch")]
pub mod profile;

#[cfg(feature = "torch")]
pub mod attention;
#[cfg(feature = "torch")]
pub mod gate;

#[cfg(feature = "torch")]
pub mod model;

#[cfg(feature = "torch")]
pub mod data;
#[cfg(feature = "torch")]
pub mod hub;
#[cfg(feature = "torch")]
pub mod checkpoint;
#[cfg(feature = "torch")]
pub mod metrics;

#[cfg(feature = "torch")]
pub mod train;
#[cfg(feature = "torch")]
pub mod infer;
#[cfg(feature = "torch")]
pub mod eval;

#[cfg(feature = "torch")]
pub mod cli;
