//! Head masks: which kv heads are retrieval heads, how a mask is cut from ranks, and the files masks travel in.
//!
//! One file per format. Start at [`head_mask`]; [`rank`] and [`rounding`] cut it from gates, [`sidecar`] stores it, [`duo`] and its
//! neighbours are what other engines read, [`foreign`] lists them and is the way in, [`heatmap_svg`] is what a person sees.
//!
//! **Invariant:** pure vocabulary; no libtorch, no clock, no environment; files only through readers and writers the caller
//! hands in.

pub mod agreement;
pub mod arch;
pub mod canonical;
pub mod card;
pub mod duo;
pub mod duo_gates;
pub mod duo_rank;
pub mod engines;
pub mod error;
pub mod export;
pub mod foreign;
pub mod gate_method;
pub mod head_mask;
pub mod head_scores;
pub mod headkv_json;
pub mod heatmap_svg;
mod json_pairs;

pub mod provenance;
pub mod prulong_tsv;
pub mod rank;
pub mod reference_order;
pub mod rlkv;
pub mod rounding;
pub mod rtp_llm;
pub mod sidecar;
pub mod soft_gate;
pub mod tensor_file;
