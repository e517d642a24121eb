//! Head masks: which kv heads are retrieval heads, how a mask is cut from ranks, and the files masks travel in.
//!
//! One file per format. Start at [`head_mask`]; [`rank`] and [`rounding`] cut it from gates, [`sidecar`] stores it, [`duo`] is
//! what other engines read, [`heatmap_svg`] what a person sees.
//!
//! **Invariant:** pure vocabulary; no libtorch, no clock, no environment; files only through readers and writers the caller
//! hands in.

pub mod agreement;
pub mod arch;
pub mod canonical;
pub mod duo;
pub mod error;
pub mod export;
pub mod head_mask;
pub mod heatmap_svg;
pub mod provenance;
pub mod rank;
pub mod reference_order;
pub mod rounding;
pub mod sidecar;
pub mod soft_gate;
