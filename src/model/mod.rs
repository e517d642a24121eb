//! Llama from a Hugging Face folder: configuration, weights, block forward and backward.
//!
//! Start reading at [`config`] (what a model is) and [`block`] (one layer, both ways).

pub mod block;
pub mod config;
pub mod error;
mod features;
mod json;
pub mod kv;
pub mod linear;
pub mod llama;
pub mod loss;
pub mod mlp;
pub mod norm;
pub mod rope;
pub mod rope_config;
pub mod rotation;
pub mod train_pass;

#[cfg(test)]
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    reason = "tiny test shapes"
)]
mod tests;
