//! Llama from a Hugging Face folder: configuration, weights, block forward and backward.
//!
//! Start reading at [`config`] (what a model is) and [`weights`] (where its tensors come from).

pub mod config;
pub mod error;
mod features;
mod json;
pub mod kv;
pub mod rope_config;
